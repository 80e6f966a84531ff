//! What containers write and what the node says of them, cut into lines, bounded, and kept until the server has it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use common::protocol::{LOGS_BYTES_MAX, Level, LogBatch, LogLine, Stream};
use common::run::task::Lease;
use tokio::sync::Notify;

mod lines;
pub mod redact;

pub use lines::Lines;

/// The most bytes of one line; the rest of it is continued in the next.
pub const LINE_BYTES_MAX: usize = 8 * 1024;
/// The most lines and bytes that are kept of the beginning of an attempt's output, and of its end,
/// where the reason stands if it fails. One more line says what is not there between them.
pub const END_LINES_MAX: usize = 5_000;
const END_BYTES_MAX: usize = 1 << 20;
/// The most lines of an attempt that are the node's own.
const NOTES_MAX: u32 = 16;
/// What a line costs in a message beside its text.
const LINE_OVERHEAD: usize = 32;

/// The lines of all attempts that the server has not confirmed. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct LogBook {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    logs: Mutex<BTreeMap<Lease, Log>>,
    written: Notify,
}

#[derive(Debug, Default)]
struct Log {
    /// The number of the first line in `lines`: all before it are confirmed.
    first: u32,
    lines: Vec<LogLine>,
    /// The number of the first line that no message under way carries.
    unsent: u32,
    /// The beginning of the container's output: what of it is in `lines`, or was.
    head: Amount,
    /// Its end, which goes into `lines` when there is no more output.
    tail: VecDeque<LogLine>,
    in_tail: Amount,
    left_out: u64,
    /// Lines of the node's own.
    noted: u32,
    ended: bool,
}

/// How much of a log there is.
#[derive(Debug, Default)]
struct Amount {
    lines: usize,
    bytes: usize,
}

impl Amount {
    fn add(&mut self, text: &str) {
        self.lines += 1;
        self.bytes += text.len();
    }

    fn take(&mut self, text: &str) {
        self.lines -= 1;
        self.bytes -= text.len();
    }

    const fn is_too_much(&self) -> bool {
        self.lines > END_LINES_MAX || self.bytes > END_BYTES_MAX
    }
}

impl LogBook {
    /// Adds a line of the node's own. It goes with the next message and asks for none: a tiny
    /// task costs no message more for it.
    pub fn note(&self, lease: Lease, level: Level, text: impl Into<String>) {
        self.lock().entry(lease).or_default().note(level, text.into());
    }

    /// Adds a line that a container wrote.
    pub fn write(&self, lease: Lease, stream: Stream, text: String) {
        if self.lock().entry(lease).or_default().push(stream, text) {
            self.inner.written.notify_one();
        }
    }

    /// The container writes no more: the end of its output can be sent.
    pub fn output_ended(&self, lease: &Lease) {
        if let Some(log) = self.lock().get_mut(lease) {
            log.show_tail();
            self.inner.written.notify_one();
        }
    }

    /// Waits until something was written since the last wait.
    pub async fn written(&self) {
        self.inner.written.notified().await;
    }

    /// The next lines to send, at most as many as one message holds. They are taken as sent until
    /// `failed` says otherwise.
    pub fn batches(&self) -> Vec<LogBatch> {
        let mut left = LOGS_BYTES_MAX;
        let mut batches = Vec::new();
        for (lease, log) in self.lock().iter_mut() {
            let lines = log.take(&mut left);
            if !lines.is_empty() {
                let first = log.unsent - u32::try_from(lines.len()).expect("a log is bounded");
                batches.push(LogBatch { lease: *lease, first, lines });
            }
        }
        batches
    }

    /// The attempt has lines that no message carries yet.
    pub fn has_unsent(&self, lease: &Lease) -> bool {
        self.lock().get(lease).is_some_and(Log::has_unsent)
    }

    pub fn any_unsent(&self) -> bool {
        self.lock().values().any(Log::has_unsent)
    }

    /// The server keeps the lines of an attempt before line `end`, or wants none of them.
    pub fn confirmed(&self, lease: Lease, end: u32) {
        let mut logs = self.lock();
        let Some(log) = logs.get_mut(&lease) else { return };
        let n = end.saturating_sub(log.first).min(log.length());
        log.lines.drain(..n as usize);
        log.first += n;
        log.unsent = log.unsent.max(log.first);
        if log.ended && log.lines.is_empty() {
            logs.remove(&lease);
        }
    }

    /// A message was lost: what is not confirmed is sent again. Numbers make that harmless.
    pub fn failed(&self) {
        self.lock().values_mut().for_each(|log| log.unsent = log.first);
    }

    /// What is not confirmed of an attempt is sent again, though it may be under way.
    pub fn again(&self, lease: &Lease) {
        if let Some(log) = self.lock().get_mut(lease) {
            log.unsent = log.first;
        }
    }

    /// What is not confirmed of an attempt is sent again, where that begins before line `end`.
    pub fn again_below(&self, lease: &Lease, end: u32) {
        if let Some(log) = self.lock().get_mut(lease).filter(|log| log.first < end) {
            log.unsent = log.first;
        }
    }

    /// The attempt writes no more; it is forgotten once all it wrote is confirmed.
    pub fn ended(&self, lease: &Lease) {
        let mut logs = self.lock();
        let Some(log) = logs.get_mut(lease) else { return };
        log.show_tail();
        log.ended = true;
        if log.lines.is_empty() {
            logs.remove(lease);
        }
    }

    /// The attempt is no longer the node's: nobody wants its lines.
    pub fn forget(&self, lease: &Lease) {
        self.lock().remove(lease);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Lease, Log>> {
        self.inner.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn length(&self) -> u32 {
        u32::try_from(self.lines.len()).expect("a log is bounded")
    }

    fn end(&self) -> u32 {
        self.first + self.length()
    }

    fn has_unsent(&self) -> bool {
        self.unsent < self.end()
    }

    /// Adds a line of the container's; gives whether it can be sent now.
    fn push(&mut self, stream: Stream, text: String) -> bool {
        if self.ended {
            return false;
        }
        let line = LogLine { at_us: now_us(), level: Level::Unknown, stream, text };
        if self.tail.is_empty() {
            self.head.add(&line.text);
            if !self.head.is_too_much() {
                self.lines.push(line);
                return true;
            }
        }
        self.in_tail.add(&line.text);
        self.tail.push_back(line);
        while self.in_tail.is_too_much()
            && let Some(oldest) = self.tail.pop_front()
        {
            self.in_tail.take(&oldest.text);
            self.left_out += 1;
        }
        false
    }

    fn show_tail(&mut self) {
        let left_out = std::mem::take(&mut self.left_out);
        if left_out > 0
            && let Some(first) = self.tail.front()
        {
            let text = format!(
                "… {left_out} lines are left out here: a log keeps the first and the last \
                 {END_LINES_MAX} lines, and {} KiB of each …",
                END_BYTES_MAX / 1024
            );
            let (level, stream) = (Level::Unknown, Stream::Node);
            self.lines.push(LogLine { at_us: first.at_us, level, stream, text });
        }
        self.lines.extend(self.tail.drain(..));
        self.in_tail = Amount::default();
    }

    /// A flood of the container's own does not hide how it ended.
    fn note(&mut self, level: Level, text: String) {
        if !self.ended && self.noted < NOTES_MAX {
            self.noted += 1;
            self.lines.push(LogLine { at_us: now_us(), level, stream: Stream::Node, text });
        }
    }

    /// The unsent lines that fit in `left`, which shrinks by what they take.
    fn take(&mut self, left: &mut usize) -> Vec<LogLine> {
        let mut taken = Vec::new();
        for line in &self.lines[(self.unsent - self.first) as usize..] {
            let Some(rest) = left.checked_sub(line.text.len() + LINE_OVERHEAD) else { break };
            *left = rest;
            taken.push(line.clone());
        }
        self.unsent += u32::try_from(taken.len()).expect("a log is bounded");
        taken
    }
}

fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use common::ids::RunId;
    use common::run::task::TaskRef;
    use common::testing::PROCESS;

    use super::*;

    fn lease(index: u32) -> Lease {
        let run = RunId::new(uuid::Uuid::from_u128(1));
        Lease { task: TaskRef { run, stage: PROCESS, index }, attempt: 1 }
    }

    fn texts(batch: &LogBatch) -> Vec<&str> {
        batch.lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn lines_are_sent_once_unless_a_message_is_lost() {
        let book = LogBook::default();
        book.write(lease(1), Stream::Out, "a".into());
        book.write(lease(1), Stream::Out, "b".into());

        let first = book.batches();
        assert_eq!((first[0].first, texts(&first[0])), (0, vec!["a", "b"]));
        assert!(book.batches().is_empty());

        book.failed();
        assert_eq!(texts(&book.batches()[0]), ["a", "b"]);
        book.confirmed(lease(1), 2);
        book.confirmed(lease(1), 1);
        book.write(lease(1), Stream::Out, "c".into());
        let next = book.batches();
        assert_eq!((next[0].first, texts(&next[0])), (2, vec!["c"]));
    }

    #[test]
    fn log_keeps_both_ends_and_marks_the_gap() {
        let book = LogBook::default();
        for i in 0..50_000 {
            book.write(lease(1), Stream::Out, i.to_string());
        }
        for _ in 0..1_000 {
            book.write(lease(2), Stream::Out, "x".repeat(LINE_BYTES_MAX));
        }
        for i in 0..10_000 {
            book.write(lease(3), Stream::Out, i.to_string());
        }
        (1..=3).for_each(|n| book.output_ended(&lease(n)));

        let mut lines = BTreeMap::<Lease, Vec<String>>::new();
        while book.any_unsent() {
            let batches = book.batches();
            let bytes: usize =
                batches.iter().flat_map(|b| &b.lines).map(|line| line.text.len()).sum();
            assert!(bytes <= LOGS_BYTES_MAX);
            for batch in batches {
                let texts = batch.lines.into_iter().map(|line| line.text);
                lines.entry(batch.lease).or_default().extend(texts);
            }
        }

        let cut = &lines[&lease(1)];
        assert_eq!((cut.len(), cut[0].as_str(), cut[4_999].as_str()), (10_001, "0", "4999"));
        assert!(cut[5_000].contains("40000 lines are left out"), "{}", cut[5_000]);
        assert_eq!((cut[5_001].as_str(), cut[10_000].as_str()), ("45000", "49999"));
        let cut = &lines[&lease(2)];
        assert_eq!(cut.len(), 128 + 1 + 128);
        assert!(cut[128].contains("744 lines are left out"), "{}", cut[128]);
        let whole: Vec<String> = (0..10_000).map(|i| i.to_string()).collect();
        assert_eq!(lines[&lease(3)], whole);
    }

    #[test]
    fn flood_does_not_hide_messages_of_the_node() {
        let book = LogBook::default();
        book.note(lease(1), Level::Info, "container started");
        for i in 0..50_000 {
            book.write(lease(1), Stream::Out, i.to_string());
        }
        let all = || {
            let batches = std::iter::repeat_with(|| book.batches()).take_while(|b| !b.is_empty());
            batches.flatten().flat_map(|batch| batch.lines).collect::<Vec<_>>()
        };
        assert_eq!(all().len(), 1 + END_LINES_MAX);
        book.output_ended(&lease(1));
        book.note(lease(1), Level::Error, "the end");

        let lines = all();

        assert_eq!(lines.len(), 1 + END_LINES_MAX + 1);
        assert_eq!(lines[END_LINES_MAX].text, "49999");
        let last = lines.last().unwrap();
        assert_eq!((last.level, last.text.as_str()), (Level::Error, "the end"));
    }

    #[test]
    fn log_with_open_output_shows_its_end_when_the_attempt_ends() {
        let book = LogBook::default();
        for i in 0..END_LINES_MAX + 20 {
            book.write(lease(1), Stream::Out, i.to_string());
        }
        book.batches();
        book.ended(&lease(1));
        book.write(lease(1), Stream::Out, "late".to_owned());

        assert_eq!(book.batches()[0].lines.last().unwrap().text, "5019");
    }

    #[test]
    fn ended_log_is_forgotten_when_it_is_confirmed() {
        let book = LogBook::default();
        book.write(lease(1), Stream::Out, "a".into());
        book.ended(&lease(1));
        assert!(book.has_unsent(&lease(1)));

        book.batches();
        book.confirmed(lease(1), 1);

        assert!(book.lock().is_empty());
    }
}
