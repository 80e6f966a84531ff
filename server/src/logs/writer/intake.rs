//! Which lines of a message are taken: those that are not there yet, within the limits of an
//! attempt's log.

use common::protocol::{LogBatch, LogLine};

use crate::coordinator::leases::LogEnd;

/// The most lines of one attempt, and the most bytes of their text; what a node sends beyond is
/// dropped. A node keeps less.
const LINES_MAX: u32 = 12_000;
const BYTES_MAX: u64 = 4 << 20;

/// The lines of a batch to store, with the number of the first; `end` moves behind them. A batch
/// that comes again begins with what is stored already.
pub fn fresh(batch: &LogBatch, end: &mut LogEnd) -> Option<(u32, Vec<LogLine>)> {
    let first = batch.first.max(end.lines);
    let known = (first - batch.first) as usize;
    let room = LINES_MAX.saturating_sub(first) as usize;
    let fits = |line: &&LogLine| {
        end.bytes = end.bytes.saturating_add(line.text.len() as u64);
        end.bytes <= BYTES_MAX
    };
    let lines: Vec<LogLine> =
        batch.lines.iter().skip(known).take(room).take_while(fits).cloned().collect();
    if lines.is_empty() {
        return None;
    }
    end.lines = first.saturating_add(u32::try_from(lines.len()).unwrap_or(LINES_MAX));
    Some((first, lines))
}

#[cfg(test)]
mod tests {
    use common::ids::RunId;
    use common::protocol::{Level, Stream};
    use common::testing::process;

    use super::*;

    fn batch(first: u32, lines: usize, bytes: usize) -> LogBatch {
        let text = "x".repeat(bytes);
        let line = LogLine { at_us: 0, level: Level::Unknown, stream: Stream::Out, text };
        let lease = process(RunId::new(uuid::Uuid::nil()), 0, 1);
        LogBatch { lease, first, lines: vec![line; lines] }
    }

    #[test]
    fn log_lines_are_taken_once_and_limited() {
        let mut end = LogEnd::default();
        let mut take = |first, n| {
            fresh(&batch(first, n, 0), &mut end).map(|(first, lines)| (first, lines.len()))
        };

        assert_eq!(take(0, 3), Some((0, 3)));
        assert_eq!(take(0, 3), None);
        assert_eq!(take(1, 4), Some((3, 2)));
        assert_eq!(take(9, 20_000), Some((9, 11_991)));
        assert_eq!(take(u32::MAX, 3), None);
    }

    #[test]
    fn log_length_is_limited_however_it_is_sent() {
        let mut end = LogEnd::default();
        let sizes = (0..100).filter_map(|n| fresh(&batch(n, 1, 100_000), &mut end));
        let bytes: usize = sizes.flat_map(|(_, lines)| lines).map(|line| line.text.len()).sum();

        assert!((3 << 20..=4 << 20).contains(&bytes), "{bytes}");
    }
}
