//! The hub, driven by whatever the input says: bounds hold, members hear a gapless run of what was
//! said, nobody is left at the end.

use std::time::Duration;

use super::hub_world::{Appetite, World};

/// A step of time: a second is 4.
const MOMENT: Duration = Duration::from_millis(250);

/// The input, a byte at a time; zeros behind its end.
pub(crate) struct Choices<'d>(&'d [u8]);

impl<'d> Choices<'d> {
    fn next(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn byte(&mut self) -> u8 {
        self.next().unwrap_or_default()
    }

    fn count(&mut self) -> usize {
        usize::from(self.byte())
    }

    fn bytes(&mut self, count: usize) -> &'d [u8] {
        let (bytes, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        bytes
    }
}

/// Does one operation after the other, and then ends everything.
pub fn run(bytes: &[u8]) {
    let mut choices = Choices(bytes);
    let mut world = World::new(choices.byte());
    while let Some(operation) = choices.next() {
        step(&mut world, operation, &mut choices);
        world.check();
    }
    world.end();
}

/// One operation. Most begin with whom it is about, whether there still is such a one or not.
fn step(world: &mut World, operation: u8, choices: &mut Choices<'_>) {
    match operation % 16 {
        0 => world.accept(),
        // A request of a room, cut off behind some bytes if that is not 0.
        1 => {
            let (who, room, cut) = (choices.count(), choices.byte(), choices.count());
            world.request(who, room, cut);
        }
        // A message. It is sent now, in pieces of some bytes perhaps, or with what is sent next.
        2 => {
            let (who, len, what) = (choices.count(), choices.count(), choices.byte());
            world.say(who, len, what);
            world.send(who, choices.count());
        }
        3 => {
            let (who, len) = (choices.count(), choices.count());
            world.ping(who, len);
            world.send(who, choices.count());
        }
        4 => {
            let who = choices.count();
            world.pong(who);
            world.send(who, choices.count());
        }
        // A message in fragments, a Ping between them.
        5 => {
            let (who, len) = (choices.count(), choices.count());
            world.say_in_fragments(who, len, choices.count());
            world.send(who, choices.count());
        }
        // Anything.
        6 => {
            let (who, count) = (choices.count(), choices.count());
            world.send_junk(who, choices.bytes(count));
        }
        7 => {
            let (who, code) = (choices.count(), choices.byte());
            world.say_close(who, code);
            world.send(who, choices.count());
        }
        8 => world.turn(),
        9 => {
            let (who, what) = (choices.count(), choices.byte());
            world.set_appetite(who, Appetite::new(what));
        }
        10 => {
            let (who, what) = (choices.count(), choices.byte());
            world.news(who, what);
        }
        11 => world.pass(MOMENT * u32::from(choices.byte())),
        12 => world.drain(choices.byte()),
        13 => {
            let (room, len) = (choices.byte(), choices.count());
            world.publish(room, len);
        }
        // Late news of one who may have left.
        14 => world.late_news(choices.count()),
        // A newcomer and its request at once.
        _ => {
            world.accept();
            world.request_newest(operation / 16);
        }
    }
}
