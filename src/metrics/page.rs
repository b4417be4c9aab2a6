//! What Prometheus reads: the text format, version 0.0.4.

use std::fmt::{Display, Write};

use super::histogram::Histogram;

/// What a metric is, for those who read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It only grows.
    Counter,
    /// How something is.
    Gauge,
    /// How long something took.
    Histogram,
}

impl Kind {
    /// The word for it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// The text, while it is written. Writing to a String cannot fail.
pub(crate) struct Page<'t> {
    /// What all names begin with, and the table leaves out.
    prefix: &'static str,
    /// All metrics: name, type and help.
    table: &'static [(&'static str, Kind, &'static str)],
    text: &'t mut String,
}

impl<'t> Page<'t> {
    /// Goes on behind what stands in `text`. What is written is in the table, whose names leave out
    /// what all of them begin with.
    pub(crate) fn new(
        prefix: &'static str,
        table: &'static [(&'static str, Kind, &'static str)],
        text: &'t mut String,
    ) -> Self {
        Self {
            prefix,
            table,
            text,
        }
    }

    /// What a metric is, ahead of its samples.
    pub(crate) fn head(&mut self, name: &str) {
        let (_, kind, help) = self
            .table
            .iter()
            .find(|(listed, ..)| *listed == name)
            .expect("what is written is in the table");
        let (kind, full) = (kind.name(), format!("{}{name}", self.prefix));
        let _ = writeln!(self.text, "# HELP {full} {help}\n# TYPE {full} {kind}");
    }

    /// One value, of these labels: `{route="healthz"}`.
    pub(crate) fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = writeln!(self.text, "{}{name}{labels} {value}", self.prefix);
    }

    /// A metric without labels.
    pub(crate) fn value(&mut self, name: &str, value: impl Display) {
        self.head(name);
        self.sample(name, "", value);
    }

    /// A metric with one label, and its value for each that this may be.
    pub(crate) fn values<'l>(
        &mut self,
        name: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'l str, impl Display)>,
    ) {
        self.head(name);
        for (which, value) in values {
            self.sample(name, &format!("{{{label}=\"{which}\"}}"), value);
        }
    }

    /// How long something took.
    pub(crate) fn histogram(&mut self, name: &str, histogram: &Histogram) {
        self.head(name);
        let full = format!("{}{name}", self.prefix);
        histogram.write_samples(&full, self.text);
    }
}
