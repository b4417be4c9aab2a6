//! An aggregate whose elements arrive one by one.

use super::value::Value;

/// What an aggregate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AggregateKind {
    Array,
    Set,
    Push,
    Map,
    /// A map about the value that follows. Nobody here wants to know.
    Attribute,
}

impl AggregateKind {
    /// Elements for each one that the head counts: a map counts pairs.
    pub(super) fn elements_per_count(self) -> usize {
        match self {
            Self::Array | Self::Set | Self::Push => 1,
            Self::Map | Self::Attribute => 2,
        }
    }
}

/// Why nothing more of an aggregate is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// It has too many elements: [`Value::Null`] stands in its place.
    TooMany,
    /// The value that it is in has no room for more of it: [`Value::Omitted`] ends it.
    NoRoom,
}

/// The most elements of an aggregate that is passed over. Redis takes no command that is longer
/// than 1 GiB, and each takes six bytes there.
pub(super) const MAX_PASSED: usize = 256 * 1024 * 1024;

/// Elements that memory is taken for before they have arrived.
const MAX_AHEAD: usize = 16;

/// What has arrived of an aggregate.
#[derive(Debug)]
pub(super) struct Aggregate {
    kind: AggregateKind,
    count: usize,
    /// How many have arrived.
    arrived: usize,
    /// These, unless they are passed over.
    pub(super) elements: Vec<Value>,
    passed: Option<Passed>,
}

impl Aggregate {
    pub(super) fn new(kind: AggregateKind, count: usize, passed: Option<Passed>) -> Self {
        let ahead = if passed.is_none() { MAX_AHEAD } else { 0 };
        Self {
            kind,
            count,
            arrived: 0,
            elements: Vec::with_capacity(count.min(ahead)),
            passed,
        }
    }

    pub(super) fn push(&mut self, element: Value) {
        self.arrived += 1;
        if self.passed.is_none() {
            self.elements.push(element);
        }
    }

    /// What is to come is not kept.
    pub(super) fn cut(&mut self) {
        self.passed = Some(Passed::NoRoom);
        self.elements.push(Value::Omitted);
    }

    /// Why nothing more of it is kept, if that is so.
    pub(super) fn passed(&self) -> Option<Passed> {
        self.passed
    }

    /// Whether all elements have arrived.
    pub(super) fn is_whole(&self) -> bool {
        self.arrived == self.count
    }

    /// Its value; an attribute is none.
    pub(super) fn finish(self) -> Option<Value> {
        match self.kind {
            AggregateKind::Attribute => None,
            _ if self.passed == Some(Passed::TooMany) => Some(Value::Null),
            AggregateKind::Array => Some(Value::Array(self.elements)),
            AggregateKind::Set => Some(Value::Set(self.elements)),
            AggregateKind::Push => Some(Value::Push(self.elements)),
            AggregateKind::Map => {
                let mut pairs = Vec::with_capacity(self.count / 2);
                let mut elements = self.elements.into_iter();
                while let (Some(key), Some(value)) = (elements.next(), elements.next()) {
                    pairs.push((key, value));
                }
                Some(Value::Map(pairs))
            }
        }
    }
}
