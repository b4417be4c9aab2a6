//! The log's way to stderr: a bounded queue, and a thread that empties it.
//!
//! The loop must not wait for whoever reads its log, and a pipe that nobody reads makes `write`
//! wait for ever. So a line is put into a queue, or dropped where the queue is full, and only the
//! thread behind the queue meets with stderr.

use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

/// Bytes that may wait while the writer is held up: about two thousand lines.
const MAX_QUEUED: usize = 256 * 1024;

/// How long the end of the program waits for the last lines to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the writer rests when a stderr that does not block takes nothing, or a signal came.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// What a buffer keeps of its memory when a burst is over.
const MAX_KEPT: usize = 16 * 1024;

/// The thread that writes, from the side of those who started it. The end of it is the end of the
/// log: what is queued is written first, if that takes no longer than [`FLUSH_TIMEOUT`].
pub(crate) struct LogWriter {
    shared: Arc<Shared>,
}

/// Where lines go in: each `write` is one, takes all of it, and returns at once.
#[derive(Clone)]
pub(crate) struct LogInput {
    shared: Arc<Shared>,
}

impl LogWriter {
    /// Starts the thread, which writes to `sink`. Where lines had to be dropped, it calls `notice`
    /// with their number; what `notice` logs takes their place.
    pub(crate) fn start(
        sink: impl Write + Send + 'static,
        notice: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let its = Arc::clone(&shared);
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || its.run(sink, notice))?;
        Ok(Self { shared })
    }

    pub(crate) fn input(&self) -> LogInput {
        let shared = Arc::clone(&self.shared);
        LogInput { shared }
    }

    /// Ends the log with this text, which is no line of it and fits however full the queue is.
    pub(crate) fn end_with(self, text: &str) {
        self.shared.lock().last_word.push_str(text);
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.stage = Stage::Closing;
        self.shared.filled.notify_one();
        // In either case there is nothing left to do.
        let _ = self
            .shared
            .emptied
            .wait_timeout_while(queue, FLUSH_TIMEOUT, |queue| queue.stage != Stage::Closed);
    }
}

impl Write for LogInput {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut queue = self.shared.lock();
        if queue.writer == Some(thread::current().id()) {
            queue.notice.extend_from_slice(line);
        } else {
            queue.push(line);
            let writer_waits = std::mem::take(&mut queue.writer_waits);
            // It is going to want the lock.
            drop(queue);
            if writer_waits {
                self.shared.filled.notify_one();
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // That would be to wait.
        Ok(())
    }
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// The queue has something for a writer that waits, or is closing.
    filled: Condvar,
    /// The queue is closed.
    emptied: Condvar,
}

/// What those who log and the writer share.
#[derive(Default)]
struct Queue {
    /// Whole lines, one behind the other.
    bytes: Vec<u8>,
    /// How many they are.
    lines: u64,
    /// Whether a line did not fit. Then none does until the writer has taken these, so that the
    /// log has one gap and not many.
    is_full: bool,
    /// Lines that were dropped, or could not be written, and of which no notice has been written.
    lost: u64,
    /// What the writer logs itself.
    notice: Vec<u8>,
    /// What follows the last line.
    last_word: String,
    writer: Option<ThreadId>,
    /// The writer has nothing to do until it is woken.
    writer_waits: bool,
    stage: Stage,
}

#[derive(Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Open,
    /// The program ends: nothing more will come.
    Closing,
    /// The writer has written all there was, or failed to.
    Closed,
}

impl Queue {
    fn push(&mut self, line: &[u8]) {
        self.is_full |= self.bytes.len() + line.len() > MAX_QUEUED;
        if self.is_full {
            self.lost += 1;
        } else {
            self.bytes.extend_from_slice(line);
            self.lines += 1;
        }
    }

    fn has_something(&self) -> bool {
        self.lines > 0 || self.is_full
    }
}

impl Shared {
    /// No code that may panic runs while the lock is held.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer's life.
    fn run(&self, mut sink: impl Write, notice: impl Fn(u64)) {
        self.lock().writer = Some(thread::current().id());
        let mut batch = Vec::new();
        let mut is_cut = false;
        while let Some((lines, lost)) = self.take(&mut batch) {
            if is_cut {
                batch.insert(0, b'\n');
            }
            let end_of_lines = batch.len();
            if lost > 0 {
                notice(lost);
                batch.append(&mut self.lock().notice);
            }
            let written = self.write(&mut sink, &batch);
            let (done, missed) = batch.split_at(written);
            if missed.is_empty() {
                is_cut = false;
            } else {
                // They can be told of if stderr recovers: a full disk may.
                is_cut = done.last().map_or(is_cut, |last| *last != b'\n');
                let missed_lines = batch[..end_of_lines].iter().skip(written);
                let missed_lines = missed_lines.filter(|byte| **byte == b'\n').count() as u64;
                self.lock().lost += lost + missed_lines.min(lines);
            }
            batch.clear();
            batch.shrink_to(MAX_KEPT);
        }
        let last_word = std::mem::take(&mut self.lock().last_word);
        // There is nobody to tell if it fails.
        self.write(&mut sink, last_word.as_bytes());
        self.lock().stage = Stage::Closed;
        self.emptied.notify_one();
    }

    /// Waits for lines and swaps them for the empty `batch`. Returns how many they are, and how
    /// many were lost before or behind them; `None` if no more will come.
    fn take(&self, batch: &mut Vec<u8>) -> Option<(u64, u64)> {
        let mut queue = self.lock();
        while !queue.has_something() {
            if queue.stage != Stage::Open {
                return None;
            }
            queue.writer_waits = true;
            queue = self
                .filled
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
        queue.writer_waits = false;
        queue.is_full = false;
        std::mem::swap(&mut queue.bytes, batch);
        let lines = std::mem::take(&mut queue.lines);
        Some((lines, std::mem::take(&mut queue.lost)))
    }

    /// Writes all of it, in one call if the sink takes that much, or as much as it can before the
    /// sink fails. Returns how many bytes that were.
    fn write(&self, sink: &mut impl Write, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() {
            match sink.write(&bytes[written..]) {
                Ok(0) => break,
                Ok(count) => written += count,
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::Interrupted => {
                        // Without a bound, as in a write that blocks: nobody waits for this thread
                        // but the end of the program, which wakes it.
                        let _ = self.filled.wait_timeout(self.lock(), RETRY_PAUSE);
                    }
                    _ => break,
                },
            }
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// How long a test waits for what must happen.
    const DEADLINE: Duration = Duration::from_secs(10);

    /// A sink that shows what it is given and does with it what it is told.
    struct Scripted {
        given: Sender<String>,
        script: Receiver<Result<usize, ErrorKind>>,
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.given.send(String::from_utf8_lossy(bytes).into());
            // A test that is over leaves a sink that fails.
            let verdict = self.script.recv().unwrap_or(Err(ErrorKind::BrokenPipe));
            verdict.map_err(Into::into).map(|max| max.min(bytes.len()))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Log {
        writer: LogWriter,
        input: LogInput,
        given: Receiver<String>,
        script: Sender<Result<usize, ErrorKind>>,
    }

    const ALL: Result<usize, ErrorKind> = Ok(usize::MAX);

    impl Log {
        fn start() -> Self {
            let (given, is_given) = channel();
            let (script, is_scripted) = channel();
            let sink = Scripted {
                given,
                script: is_scripted,
            };
            let its_input: Arc<OnceLock<LogInput>> = Arc::default();
            let own = Arc::clone(&its_input);
            let notice = move |lines| {
                let mut input = own.get().expect("it is set at the start").clone();
                writeln!(input, "dropped: {lines}").expect("a log takes everything");
            };
            let writer = LogWriter::start(sink, notice).expect("there is room for a thread");
            assert!(its_input.set(writer.input()).is_ok());
            Self {
                input: writer.input(),
                writer,
                given: is_given,
                script,
            }
        }

        fn say(&mut self, line: &str) {
            let taken = self.input.write(format!("{line}\n").as_bytes());
            assert_eq!(taken.expect("it never fails"), line.len() + 1);
        }

        /// The sink is given this, and does that with it.
        fn expect(&self, bytes: &str, verdict: Result<usize, ErrorKind>) {
            let given = self.given.recv_timeout(DEADLINE);
            assert_eq!(given.as_deref(), Ok(bytes));
            self.script.send(verdict).expect("the sink waits for it");
        }

        /// Says a line, and waits until the writer is held up with it.
        fn hold_up(&mut self) {
            self.say("held up");
            let given = self.given.recv_timeout(DEADLINE);
            assert_eq!(given.as_deref(), Ok("held up\n"));
        }

        fn go_on(&self) {
            self.script.send(ALL).expect("the sink waits for it");
        }

        /// Fills the queue to the last byte; returns what it holds.
        fn fill(&mut self) -> String {
            let line = "x".repeat(1023);
            for _ in 0..MAX_QUEUED / 1024 {
                self.say(&line);
            }
            (line + "\n").repeat(MAX_QUEUED / 1024)
        }
    }

    #[test]
    fn what_is_said_while_the_writer_writes_is_one_write() {
        let mut log = Log::start();
        log.hold_up();
        log.say("one");
        log.say("two");
        log.go_on();
        log.expect("one\ntwo\n", ALL);
        log.say("three");
        log.expect("three\n", ALL);
    }

    #[test]
    fn lines_that_do_not_fit_are_dropped_and_their_place_is_marked() {
        let mut log = Log::start();
        log.hold_up();
        let queued = log.fill();
        log.say("");
        log.say("one too many");
        log.go_on();
        log.expect(&(queued + "dropped: 2\n"), ALL);
        log.say("fits");
        log.expect("fits\n", ALL);
    }

    #[test]
    fn a_gap_is_one_gap() {
        let mut log = Log::start();
        log.hold_up();
        log.say("fits");
        log.say(&"x".repeat(MAX_QUEUED - 5));
        log.say("would fit");
        log.go_on();
        log.expect("fits\ndropped: 2\n", ALL);
        // A line that never fits is told of although there is nothing else to write.
        log.say(&"x".repeat(MAX_QUEUED));
        log.expect("dropped: 1\n", ALL);
    }

    #[test]
    fn short_writes_go_on_where_they_stopped() {
        let mut log = Log::start();
        log.say("line");
        log.expect("line\n", Ok(1));
        log.expect("ine\n", Ok(3));
        log.expect("\n", ALL);
        log.say("next");
        log.expect("next\n", ALL);
    }

    #[test]
    fn a_sink_that_is_not_ready_is_tried_again() {
        let mut log = Log::start();
        log.say("line");
        log.expect("line\n", Err(ErrorKind::WouldBlock));
        log.expect("line\n", Err(ErrorKind::Interrupted));
        log.expect("line\n", Ok(2));
        log.expect("ne\n", Err(ErrorKind::WouldBlock));
        log.expect("ne\n", ALL);
    }

    #[test]
    fn what_a_failing_sink_loses_is_counted_until_it_can_be_said() {
        for verdict in [
            Ok(0),
            Err(ErrorKind::BrokenPipe),
            Err(ErrorKind::StorageFull),
        ] {
            let mut log = Log::start();
            log.hold_up();
            log.say("one");
            log.say("two");
            log.go_on();
            log.expect("one\ntwo\n", verdict);
            // The next try is with the next line: a sink that fails is no reason to spin.
            log.say("three");
            log.expect("three\ndropped: 2\n", verdict);
            log.say("four");
            log.expect("four\ndropped: 3\n", ALL);
            log.say("five");
            log.expect("five\n", ALL);
        }
    }

    #[test]
    fn a_line_that_was_cut_does_not_run_into_the_next() {
        let mut log = Log::start();
        log.hold_up();
        log.say("one");
        log.say("two");
        log.go_on();
        log.expect("one\ntwo\n", Ok(5));
        log.expect("wo\n", Err(ErrorKind::StorageFull));
        log.say("three");
        log.expect("\nthree\ndropped: 1\n", Err(ErrorKind::StorageFull));
        log.say("four");
        log.expect("\nfour\ndropped: 2\n", ALL);
        log.say("five");
        log.expect("five\n", ALL);
    }

    #[test]
    fn the_end_waits_for_the_last_lines() {
        let mut log = Log::start();
        log.hold_up();
        let queued = log.fill();
        log.say("does not fit");
        for _ in 0..3 {
            log.script.send(ALL).expect("the sink will want it");
        }
        log.writer.end_with("the last word\n");
        // All has been given, so there is nothing to wait for.
        let given: Vec<String> = log.given.try_iter().collect();
        let expected = [queued + "dropped: 1\n", "the last word\n".to_owned()];
        assert_eq!(given, expected);
    }

    #[test]
    fn a_stuck_sink_does_not_hold_up_the_end() {
        let mut log = Log::start();
        log.hold_up();
        log.say("never written");
        let (end, ended) = channel();
        let writer = log.writer;
        thread::spawn(move || {
            writer.end_with("nor this\n");
            end.send(()).expect("the test waits");
        });
        assert_eq!(ended.recv_timeout(DEADLINE), Ok(()));
        assert!(log.given.try_recv().is_err());
    }
}
