//! What stands for the bridge to other servers where there is none: nobody can have one.

use std::time::Instant;

use mio::Registry;
use mio::event::Event;

use crate::hub::{Hub, Supplement};

#[derive(Debug)]
pub(super) enum Bridge {}

impl Bridge {
    pub(super) fn note_event(&mut self, _: usize, _: &Event) {
        match *self {}
    }

    pub(super) fn receive(&mut self, _: &Registry, _: &mut [u8], _: Instant) {
        match *self {}
    }

    pub(super) fn relay(&mut self, _: &mut Hub, _: Instant) {
        match *self {}
    }

    pub(super) fn deliver(&mut self, _: &mut Hub, _: Instant) {
        match *self {}
    }

    pub(super) fn act(&mut self, _: &Registry, _: Instant) {
        match *self {}
    }

    pub(super) fn next_turn(&self, _: &Hub, _: Instant) -> Option<Instant> {
        match *self {}
    }

    pub(super) fn is_full(&self) -> bool {
        match *self {}
    }

    pub(super) fn is_flushed(&self) -> bool {
        match *self {}
    }

    pub(super) fn report_end(&self) {
        match *self {}
    }

    pub(super) fn supplement(&self, _: Instant) -> Supplement {
        match *self {}
    }
}
