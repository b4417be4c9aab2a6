//! One connection to Redis, or to a sentinel.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::config::{BackplaneConfig, Credentials, Endpoint};
use super::deadline::Deadline;
use super::greeting::{Greeting, check_hello, located};
use super::loss::Loss;
use super::output::{MAX_OUTPUT, Output};
use super::request::Request;
use super::resp::{Decoder, RespLimits, Value};

/// Commands of which the replies are awaited; beyond, a link takes no more messages.
const MAX_AWAITED: usize = 65_536;

/// How many times `op_timeout` a driver may take to resolve a name and to try all its addresses.
const DIALLING_STEPS: u32 = 10;

/// A command that is longer than this many bytes may be answered a second later for each: nobody is
/// stalled because a long message takes its time on a thin line.
const MIN_BYTES_PER_SECOND: u32 = 64 * 1024;

/// What a link is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    /// Messages.
    Serve,
    /// Asking a sentinel where the master is. The answer ends the link.
    Ask {
        /// The master's name.
        master: String,
        /// What the sentinel is told if it wants to know who asks.
        credentials: Option<Credentials>,
    },
}

impl Errand {
    /// What is told to a sentinel that wants to know who asks, once, and what it was asked for.
    fn take_credentials(&mut self) -> Option<(Credentials, String)> {
        match self {
            Self::Serve => None,
            Self::Ask {
                master,
                credentials,
            } => Some((credentials.take()?, std::mem::take(master))),
        }
    }
}

/// One connection to Redis, or to a sentinel: what is written, what was asked and is not answered,
/// and how long that may take.
#[derive(Debug)]
pub(super) struct Link {
    errand: Errand,
    to: Endpoint,
    phase: Phase,
    decoder: Decoder,
    output: Output,
    /// What was asked and is not answered, the oldest first.
    awaited: VecDeque<Awaited>,
    /// When a byte came last, or would have been expected first.
    heard_at: Instant,
    /// Whether an answer is overdue, and not a byte has come since.
    is_stalled: bool,
    /// Whether the driver has left something unread that may have come.
    pub(super) is_unread: bool,
    op_timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The driver resolves and connects.
    Connecting { until: Instant },
    /// The first commands have been written, once, and are not all answered. The deadline is that
    /// of all of them: a trickle of bytes does not extend it.
    Greeting { until: Deadline },
    /// Redis knows us, and is a master.
    Ready,
    /// It is given up; whatever else comes is ignored.
    Lost,
}

/// A command that is not answered.
#[derive(Clone, Copy, Debug)]
struct Awaited {
    request: Request,
    since: Instant,
    /// How long the answer may take after everything before it was heard.
    patience: Duration,
    /// How many pushes are its answer; 0 if it is a reply.
    pushes: usize,
}

/// What a link has to say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Redis knows us, and is a master: commands may be sent.
    Ready,
    /// The answer to a command of the engine's, which may be an error.
    Reply(Request, Value),
    /// What answers nothing: a message of a channel, mostly.
    Push(Vec<Value>),
    /// An answer is overdue. The link stays as it is: what it says later still counts.
    Stalled,
    /// It says something again.
    Revived,
    /// It is given up.
    Lost(Loss),
}

impl Link {
    /// The most that one takes beside its decoder, in bytes, where messages have so many: buffers
    /// have room for as much again.
    pub(super) const fn bytes(max_message_size: usize) -> usize {
        let awaited = 2 * MAX_AWAITED * size_of::<Awaited>();
        let output = MAX_OUTPUT.saturating_add(max_message_size);
        let output = output.saturating_mul(2);
        output.saturating_add(size_of::<Self>() + awaited)
    }

    pub(super) fn new(
        errand: Errand,
        to: Endpoint,
        config: &BackplaneConfig,
        limits: RespLimits,
        now: Instant,
    ) -> Self {
        let until = now + config.op_timeout * DIALLING_STEPS;
        Self {
            errand,
            to,
            phase: Phase::Connecting { until },
            decoder: Decoder::new(limits),
            output: Output::default(),
            awaited: VecDeque::new(),
            heard_at: now,
            is_stalled: false,
            is_unread: false,
            op_timeout: config.op_timeout,
        }
    }

    /// Where it leads.
    pub(super) fn to(&self) -> &Endpoint {
        &self.to
    }

    /// Whether it is for messages.
    pub(super) fn serves(&self) -> bool {
        self.errand == Errand::Serve
    }

    /// The connection stands: writes the first commands. Said twice, it is heard once: with a
    /// second `HELLO` each reply would be taken for that of the command after it.
    pub(super) fn connected(&mut self, greeting: &Greeting, now: Instant) {
        if !matches!(self.phase, Phase::Connecting { .. }) {
            return;
        }
        let until = Deadline::new(self.op_timeout, now);
        self.phase = Phase::Greeting { until };
        self.heard_at = now;
        match self.errand.clone() {
            Errand::Serve => {
                greeting.write(|request, args| self.send(request, args, now));
            }
            Errand::Ask { master, .. } => self.ask(&master, now),
        }
    }

    /// Puts a command into the output.
    pub(super) fn send(&mut self, request: Request, args: &[&[u8]], now: Instant) {
        self.send_waiting(request, args, Duration::ZERO, now);
    }

    /// Puts a command into the output that Redis may answer so much later: it waits for something.
    pub(super) fn send_waiting(
        &mut self,
        request: Request,
        args: &[&[u8]],
        wait: Duration,
        now: Instant,
    ) {
        let len = self.output.push(args);
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        let transport = Duration::from_secs(1) * len / MIN_BYTES_PER_SECOND;
        self.awaited.push_back(Awaited {
            request,
            since: now,
            patience: self.op_timeout + wait + transport,
            pushes: match request {
                Request::Subscribe => args.len() - 1,
                _ => 0,
            },
        });
    }

    /// Whether Redis knows us, and answers.
    pub(super) fn is_ready(&self) -> bool {
        self.phase == Phase::Ready && !self.is_stalled
    }

    /// Whether one more message may be sent: not much is waiting to be written or answered.
    pub(super) fn has_room(&self) -> bool {
        self.is_ready() && self.output.has_room() && self.awaited.len() < MAX_AWAITED
    }

    /// Whether everything that was asked is answered.
    pub(super) fn is_idle(&self) -> bool {
        self.awaited.is_empty()
    }

    /// Whether an answer is overdue.
    pub(super) fn is_stalled(&self) -> bool {
        self.is_stalled
    }

    /// What is to be written: nothing before the link is connected.
    pub(super) fn output(&self) -> &[u8] {
        self.output.as_bytes()
    }

    /// So many bytes of it have been written.
    pub(super) fn written(&mut self, count: usize) {
        self.output.written(count);
    }

    /// Bytes have come. Whether that is news: an answer was overdue.
    pub(super) fn revive(&mut self, now: Instant) -> bool {
        self.heard_at = now;
        self.note_reading(true, now);
        std::mem::take(&mut self.is_stalled)
    }

    /// Whether somebody reads from the link at the moment. If not, its silence means nothing.
    pub(super) fn note_reading(&mut self, is_read: bool, now: Instant) {
        if !is_read {
            self.heard_at = now;
        }
        if let Phase::Greeting { until } = &mut self.phase {
            until.note(is_read, now);
        }
    }

    /// The next thing that the bytes say, which are taken from `input`; `None` if more are needed.
    pub(super) fn next_heard(&mut self, input: &mut &[u8], now: Instant) -> Option<Heard> {
        // Every round takes a value.
        while self.phase != Phase::Lost {
            let heard = match self.decoder.decode(input) {
                Ok(None) => return None,
                Ok(Some(Value::Push(parts))) => self.take_push(parts),
                Ok(Some(reply)) => self.take_reply(reply, now),
                Err(error) => Some(Heard::Lost(Loss::Resp(error))),
            };
            if let Some(Heard::Lost(_)) = heard {
                self.phase = Phase::Lost;
            }
            if heard.is_some() {
                return heard;
            }
        }
        None
    }

    /// Fires what is due.
    pub(super) fn advance(&mut self, now: Instant) -> Option<Heard> {
        if self.next_deadline().is_none_or(|deadline| now < deadline) {
            return None;
        }
        match self.phase {
            Phase::Connecting { .. } | Phase::Greeting { .. } => {
                self.phase = Phase::Lost;
                Some(Heard::Lost(Loss::Stalled))
            }
            Phase::Ready if self.awaited.is_empty() => {
                self.send(Request::Ping, &[b"PING"], now);
                None
            }
            Phase::Ready => {
                self.is_stalled = true;
                Some(Heard::Stalled)
            }
            Phase::Lost => None,
        }
    }

    /// When [`advance`](Self::advance) has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Connecting { until } => Some(until),
            Phase::Greeting { until } => Some(until.at()),
            Phase::Ready if self.is_stalled => None,
            Phase::Ready => Some(match self.awaited.front() {
                Some(oldest) => oldest.since.max(self.heard_at) + oldest.patience,
                None => self.heard_at + self.op_timeout,
            }),
            Phase::Lost => None,
        }
    }

    /// A push: an answer if one is awaited that comes so, and a message otherwise.
    fn take_push(&mut self, parts: Vec<Value>) -> Option<Heard> {
        if self.phase != Phase::Ready {
            return Some(Heard::Lost(Loss::Unexpected("a push before the greeting")));
        }
        let is_confirmation = parts
            .first()
            .and_then(Value::as_bytes)
            .is_some_and(|kind| matches!(kind, b"subscribe" | b"ssubscribe"));
        if !is_confirmation {
            return Some(Heard::Push(parts));
        }
        let Some(awaited) = self.awaited.front_mut().filter(|front| front.pushes > 0) else {
            return Some(Heard::Lost(Loss::Unexpected("a subscription")));
        };
        awaited.pushes -= 1;
        if awaited.pushes > 0 {
            return None;
        }
        let request = awaited.request;
        self.awaited.pop_front();
        Some(Heard::Reply(request, Value::Push(parts)))
    }

    /// A reply, which is that to the oldest command.
    fn take_reply(&mut self, reply: Value, now: Instant) -> Option<Heard> {
        let Some(Awaited {
            request, pushes, ..
        }) = self.awaited.pop_front()
        else {
            let lost = match reply.as_error() {
                Some(text) => Loss::from_error(text, &self.to),
                None => Loss::Unexpected("a reply"),
            };
            return Some(Heard::Lost(lost));
        };
        if pushes > 0 && !reply.is_error() {
            return Some(Heard::Lost(Loss::Unexpected("a reply to SUBSCRIBE")));
        }
        match request {
            Request::Hello | Request::Select | Request::Auth => self.greeted(request, &reply, now),
            Request::Master => Some(Heard::Lost(self.master(&reply, now)?)),
            Request::Ping => self.refused(&reply),
            Request::Role => self
                .refused(&reply)
                .or_else(|| Some(Heard::Lost(check_hello(&reply).err()?))),
            _ => Some(Heard::Reply(request, reply)),
        }
    }

    /// An answer to one of the first commands.
    fn greeted(&mut self, request: Request, reply: &Value, now: Instant) -> Option<Heard> {
        if let Some(lost) = self.refused(reply) {
            return Some(lost);
        }
        if let (Request::Hello, Err(loss)) = (request, check_hello(reply)) {
            return Some(Heard::Lost(loss));
        }
        if !self.awaited.is_empty() {
            return None;
        }
        self.phase = Phase::Ready;
        self.heard_at = now;
        Some(Heard::Ready)
    }

    fn refused(&self, reply: &Value) -> Option<Heard> {
        let text = reply.as_error()?;
        Some(Heard::Lost(Loss::from_error(text, &self.to)))
    }

    /// A sentinel's answer; `None` if it is asked again.
    fn master(&mut self, reply: &Value, now: Instant) -> Option<Loss> {
        if reply.error_code() == Some(b"NOAUTH") {
            if let Some((Credentials { user, password }, master)) = self.errand.take_credentials() {
                let args: [&[u8]; 3] = [b"AUTH", user.as_bytes(), password.as_bytes()];
                self.send(Request::Auth, &args, now);
                self.ask(&master, now);
                return None;
            }
        }
        Some(match (reply.as_error(), located(reply)) {
            (Some(text), _) => Loss::from_error(text, &self.to),
            (None, Some(endpoint)) => Loss::Located(endpoint),
            (None, None) if reply.is_null() => Loss::UnknownMaster,
            (None, None) => Loss::Unexpected("no address of a master"),
        })
    }

    /// Asks a sentinel.
    fn ask(&mut self, master: &str, now: Instant) {
        let args: [&[u8]; 3] = [b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", master.as_bytes()];
        self.send(Request::Master, &args, now);
    }
}

#[cfg(test)]
mod tests;
