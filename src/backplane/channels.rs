//! The names of a shard's channels, and which rooms it has.

use super::config::BackplaneConfig;
use super::envelope::{Envelope, EnvelopeError, Parsed};
use super::loss::Loss;
use super::resp::Value;

/// What is appended to the channel's name for what servers tell each other.
const CONTROL: &str = ":ctl";

/// What is appended to it for the stream's key.
const STREAM: &str = ":s";

/// The channels of one shard, and the commands for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Channels {
    /// Where messages go.
    pub(super) messages: String,
    /// Where heartbeats go.
    pub(super) control: String,
    /// The key of the stream.
    pub(super) stream: String,
    is_sharded: bool,
}

impl Channels {
    /// Those of the shard with this number. In a cluster all that has the same `{…}` in its name
    /// lies on the same node.
    pub(super) fn new(config: &BackplaneConfig, shard: u16) -> Self {
        let channel = &config.channel;
        let messages = match config.shards {
            Some(_) => format!("{{{shard}}}.{channel}"),
            None => channel.clone(),
        };
        Self {
            control: format!("{messages}{CONTROL}"),
            stream: format!("{messages}{STREAM}"),
            messages,
            is_sharded: config.shards.is_some(),
        }
    }

    pub(super) fn publish(&self) -> &'static [u8] {
        if self.is_sharded {
            b"SPUBLISH"
        } else {
            b"PUBLISH"
        }
    }

    pub(super) fn subscribe(&self) -> &'static [u8] {
        if self.is_sharded {
            b"SSUBSCRIBE"
        } else {
            b"SUBSCRIBE"
        }
    }

    pub(super) fn count(&self) -> &'static [u8] {
        if self.is_sharded {
            b"SHARDNUMSUB"
        } else {
            b"NUMSUB"
        }
    }

    /// The message in what Redis says unasked. `None` if it is none of these channels'.
    ///
    /// # Errors
    /// If it says that the link is no good any longer.
    pub(super) fn message(&self, parts: Vec<Value>) -> Result<Option<Said>, Loss> {
        let kind = parts.first().and_then(Value::as_bytes);
        if let Some(b"unsubscribe" | b"sunsubscribe") = kind {
            return Err(Loss::Unsubscribed);
        }
        if !matches!(kind, Some(b"message" | b"smessage")) {
            return Ok(None); // what nobody has asked for
        }
        let name = parts.get(1).and_then(Value::as_bytes).unwrap_or_default();
        let Some(channel) = self.recognise(name) else {
            return Ok(None);
        };
        let bytes = match parts.into_iter().nth(2) {
            Some(Value::Null) => None,
            part => Some(
                part.and_then(Value::into_bytes)
                    .ok_or(Loss::Unexpected("a message without bytes"))?,
            ),
        };
        Ok(Some(Said { channel, bytes }))
    }

    /// Which of the two it is; `None` if it is neither.
    fn recognise(&self, name: &[u8]) -> Option<Channel> {
        if name == self.messages.as_bytes() {
            Some(Channel::Messages)
        } else if name == self.control.as_bytes() {
            Some(Channel::Control)
        } else {
            None
        }
    }
}

/// A message of a channel.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) channel: Channel,
    /// `None` if it was so long that nobody has kept it, which counts when it is heard.
    pub(super) bytes: Option<Vec<u8>>,
}

impl Said {
    /// What is in it, unless that is not believed.
    pub(super) fn parse(&self, max_message_size: usize) -> Result<Parsed<'_>, EnvelopeError> {
        let bytes = self.bytes.as_ref().ok_or(EnvelopeError::Size)?;
        self.channel
            .admit(Envelope::parse(bytes, max_message_size)?)
    }
}

/// One of a shard's channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channel {
    /// For clients.
    Messages,
    /// For servers.
    Control,
}

impl Channel {
    /// Hands back what was said there if it belongs there. Nobody but servers has anything to say
    /// to servers, and what they tell each other is nothing for clients, nor believed where clients
    /// are spoken to: who may publish there need not be a server.
    pub(super) fn admit(self, said: Parsed<'_>) -> Result<Parsed<'_>, EnvelopeError> {
        match (self, &said) {
            (Self::Messages, Parsed::Raw { .. }) => Ok(said),
            (Self::Messages, Parsed::Envelope(envelope)) if !envelope.is_control => Ok(said),
            (Self::Control, Parsed::Envelope(envelope)) if envelope.is_control => {
                match envelope.origin {
                    0 => Err(EnvelopeError::Origin),
                    _ => Ok(said),
                }
            }
            (Self::Messages | Self::Control, _) => Err(EnvelopeError::Channel),
        }
    }
}

/// The shard that a room belongs to: FNV-1a of its name in 64 bits, modulo their number. All
/// servers must find the same one, so this never changes.
pub(super) fn shard_of(room: &str, shards: usize) -> usize {
    const OFFSET: u64 = 0xCBF2_9CE4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01B3;

    let hash = room.bytes().fold(OFFSET, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(PRIME)
    });
    usize::try_from(hash % shards.max(1) as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::{Endpoint, Target};

    #[test]
    fn rooms_are_where_all_servers_look_for_them() {
        // The published test vectors of FNV-1a: "" and "foobar".
        assert_eq!(shard_of("", 1 << 16), 0x2325);
        assert_eq!(shard_of("foobar", 1 << 16), 0x67E8);
        assert_eq!(shard_of("anything", 1), 0);
        let mut rooms = [0; 16];
        for room in 0..1600 {
            rooms[shard_of(&format!("room-{room}"), 16)] += 1;
        }
        assert!(
            rooms.iter().all(|count| (60..140).contains(count)),
            "{rooms:?}"
        );
    }

    #[test]
    fn a_shards_channels_lie_on_one_node() {
        let target = Target::Server(Endpoint::Tcp("a".to_owned(), 1));
        let mut config = BackplaneConfig::new(target);
        let plain = Channels::new(&config, 0);
        assert_eq!(plain.messages, "websocket-broadcast");
        assert_eq!(plain.control, "websocket-broadcast:ctl");
        assert_eq!(plain.stream, "websocket-broadcast:s");
        assert_eq!(plain.publish(), b"PUBLISH");
        config.shards = Some(4);
        let sharded = Channels::new(&config, 3);
        assert_eq!(sharded.messages, "{3}.websocket-broadcast");
        assert_eq!(sharded.control, "{3}.websocket-broadcast:ctl");
        assert_eq!(sharded.stream, "{3}.websocket-broadcast:s");
        assert_eq!(sharded.publish(), b"SPUBLISH");
        assert_eq!(
            sharded.recognise(b"{3}.websocket-broadcast"),
            Some(Channel::Messages)
        );
        assert_eq!(sharded.recognise(b"{2}.websocket-broadcast"), None);
    }
}
