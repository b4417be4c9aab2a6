//! What has arrived in part: RFC 6455, sections 5.2 and 5.4.

use super::error::ProtocolError;
use super::frame::FrameHeader;
use super::message::MessageAssembler;
use super::opcode::Opcode;

/// A message of which something has arrived: the beginning of a header, a part of a frame, or
/// fragments.
#[derive(Debug, Default)]
pub(super) struct Partial {
    /// The beginning of a header that a piece ended in.
    pub(super) header: [u8; FrameHeader::MAX_LEN],
    pub(super) header_len: u8,
    /// The frame whose payload is arriving in several pieces.
    pub(super) frame: Option<PartialFrame>,
    /// The part of a control frame's payload that has arrived: at most 125 bytes.
    pub(super) control: Vec<u8>,
    pub(super) message: MessageAssembler,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct PartialFrame {
    pub(super) fin: bool,
    pub(super) opcode: Opcode,
    pub(super) key: [u8; 4],
    /// Bytes of payload that have arrived.
    pub(super) received: usize,
    /// Bytes of payload that are still to come.
    pub(super) missing: usize,
}

impl Partial {
    /// Whether nothing is kept of what has arrived.
    pub(super) fn is_done(&self) -> bool {
        let is_between_frames = self.header_len == 0 && self.frame.is_none();
        is_between_frames && self.control.is_empty() && !self.message.is_under_way()
    }

    /// How long the message is as far as that is known: what has arrived of it, and what the frame
    /// that is arriving still misses.
    pub(super) fn announced(&self) -> usize {
        let data = self.frame.filter(|frame| !frame.opcode.is_control());
        self.message.len() + data.map_or(0, |frame| frame.missing)
    }

    /// Where the rest of a data frame can be read to; see
    /// [`Connection::landing`](super::Connection::landing).
    pub(super) fn landing(
        &mut self,
        spare: impl FnOnce(usize) -> Option<Vec<u8>>,
    ) -> Option<&mut [u8]> {
        let frame = self.frame.filter(|frame| !frame.opcode.is_control())?;
        self.message.landing(frame.missing, spare)
    }

    /// Takes `count` bytes that were read there, and returns how far the frame has come.
    pub(super) fn land(&mut self, count: usize) -> Result<PartialFrame, ProtocolError> {
        let mut frame = self.frame.expect("a frame is arriving");
        self.message.land(count, frame.key, frame.received)?;
        frame.received += count;
        frame.missing -= count;
        Ok(frame)
    }
}
