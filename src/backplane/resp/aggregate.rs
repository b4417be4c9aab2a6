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

/// Elements that memory is taken for before they have arrived.
const MAX_AHEAD: usize = 16;

/// What has arrived of an aggregate.
#[derive(Debug)]
pub(super) struct Aggregate {
    kind: AggregateKind,
    count: usize,
    pub(super) elements: Vec<Value>,
}

impl Aggregate {
    pub(super) fn new(kind: AggregateKind, count: usize) -> Self {
        Self {
            kind,
            count,
            elements: Vec::with_capacity(count.min(MAX_AHEAD)),
        }
    }

    pub(super) fn push(&mut self, element: Value) {
        self.elements.push(element);
    }

    /// Whether all elements have arrived.
    pub(super) fn is_whole(&self) -> bool {
        self.elements.len() == self.count
    }

    /// Its value; an attribute is none.
    pub(super) fn finish(self) -> Option<Value> {
        match self.kind {
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
            AggregateKind::Attribute => None,
        }
    }
}
