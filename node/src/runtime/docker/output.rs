//! A container's output: its lines go to the log, and one that floods is slowed down and then
//! ended.

use std::time::Duration;

use bollard::container::{AttachContainerResults, LogOutput};
use bytes::Bytes;
use common::protocol::Stream;
use common::run::task::Lease;
use futures::future::ready;
use futures::{Stream as Pieces, StreamExt as _};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::logs::redact::Redactor;
use crate::logs::{Lines, LogBook};

/// What reading a piece costs beside its bytes.
const PIECE_OVERHEAD: usize = 512;
/// Shorter pauses are saved up.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// The longest time between two states of a line that is written again and again.
const PROGRESS_MAX: Duration = Duration::from_secs(60);

/// How fast a container may write, at one byte a microsecond in the long run.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How far it may be ahead of that.
    ahead_max: Duration,
    /// How long it may be held up without a break before it is ended.
    flood_max: Duration,
    /// After what time the state is first shown of a line that is written again and again; each
    /// next time takes twice as long.
    progress_first: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            ahead_max: Duration::from_secs(4),
            flood_max: Duration::from_secs(60),
            progress_first: Duration::from_secs(1),
        }
    }
}

/// Signals between the reader of a container's output and the task that waits for its end.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    /// It has flooded for too long.
    pub flooded: CancellationToken,
    /// It has ended: what is left is read at once.
    pub ended: CancellationToken,
}

/// Where a container's lines go.
#[derive(Debug, Clone)]
pub struct Said {
    pub logs: LogBook,
    pub lease: Lease,
    /// What its lines begin with; empty where its task has no other container.
    pub name: String,
}

/// What a container wrote at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub is_error: bool,
    pub bytes: Bytes,
}

/// What the engine passes on of a container's output, to its end.
pub fn pieces(attached: AttachContainerResults) -> impl Pieces<Item = Piece> + Unpin {
    let whole = attached.output.take_while(|piece| ready(piece.is_ok()));
    Box::pin(whole.filter_map(|piece| {
        ready(piece.ok().map(|piece| match piece {
            LogOutput::StdErr { message } => Piece { is_error: true, bytes: message },
            LogOutput::StdOut { message }
            | LogOutput::StdIn { message }
            | LogOutput::Console { message } => Piece { is_error: false, bytes: message },
        }))
    }))
}

/// Reads a container's output to its end. One that writes faster than its pace waits for its reader.
pub async fn pump(
    mut output: impl Pieces<Item = Piece> + Unpin,
    said: Said,
    redactor: Redactor,
    pace: Pace,
    signals: Signals,
) {
    let (mut stdout, mut stderr) = (Lines::new(redactor.clone()), Lines::new(redactor));
    let mut meter = Meter::new(pace, Instant::now());
    let mut period = pace.progress_first;
    let mut due = Instant::now() + period;
    loop {
        let piece = tokio::select! {
            piece = output.next() => piece,
            () = sleep_until(due) => {
                let progress = [stdout.progress(), stderr.progress()];
                if progress.iter().any(|lines| !lines.is_empty()) {
                    period = PROGRESS_MAX.min(period * 2);
                }
                due = Instant::now() + period;
                said.write_both(progress);
                continue;
            }
        };
        let Some(Piece { is_error, bytes }) = piece else { break };
        let (lines, stream) =
            if is_error { (&mut stderr, Stream::Err) } else { (&mut stdout, Stream::Out) };
        said.write(stream, lines.feed(&bytes));
        let pause = meter.add(bytes.len(), Instant::now());
        if meter.is_flooded(Instant::now()) {
            signals.flooded.cancel();
        }
        if pause >= PAUSE_MIN {
            signals.ended.run_until_cancelled(sleep(pause)).await;
        }
    }
    said.write_both([stdout.rest(), stderr.rest()]);
    said.logs.output_ended(&said.lease);
}

impl Said {
    fn write(&self, stream: Stream, lines: Vec<String>) {
        for line in lines {
            let line = match self.name.as_str() {
                "" => line,
                name => format!("{name} | {line}"),
            };
            self.logs.write(self.lease, stream, line);
        }
    }

    fn write_both(&self, [out, err]: [Vec<String>; 2]) {
        self.write(Stream::Out, out);
        self.write(Stream::Err, err);
    }
}

/// Measures output against its pace.
#[derive(Debug)]
struct Meter {
    pace: Pace,
    /// When all that was written would have been written at the pace.
    due: Instant,
    held_up_since: Option<Instant>,
}

impl Meter {
    const fn new(pace: Pace, now: Instant) -> Self {
        Self { pace, due: now, held_up_since: None }
    }

    /// Adds a piece, and gives how long to wait before the next is read.
    fn add(&mut self, bytes: usize, now: Instant) -> Duration {
        let cost = u64::try_from(bytes + PIECE_OVERHEAD).unwrap_or(u64::MAX);
        self.due = self.due.max(now) + Duration::from_micros(cost);
        let ahead = self.due - now;
        if ahead < self.pace.ahead_max / 2 {
            self.held_up_since = None;
        }
        let pause = ahead.saturating_sub(self.pace.ahead_max);
        if !pause.is_zero() {
            self.held_up_since.get_or_insert(now);
        }
        pause
    }

    fn is_flooded(&self, now: Instant) -> bool {
        self.held_up_since.is_some_and(|since| now - since > self.pace.flood_max)
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    fn said(logs: &LogBook, lease: Lease) -> Said {
        Said { logs: logs.clone(), lease, name: String::new() }
    }
    use crate::logs::END_LINES_MAX;
    use crate::testing::lease;

    const SECOND: Duration = Duration::from_secs(1);

    fn container(
        pieces: impl Iterator<Item = &'static [u8]> + Send + 'static,
    ) -> AttachContainerResults {
        let pieces = pieces.map(|piece| {
            Ok::<_, bollard::errors::Error>(LogOutput::StdOut {
                message: Bytes::from_static(piece),
            })
        });
        AttachContainerResults {
            output: Box::pin(stream::iter(pieces)),
            input: Box::pin(tokio::io::sink()),
        }
    }

    #[test]
    fn pace_limits_the_average_and_not_each_second() {
        let start = Instant::now();
        let mut meter = Meter::new(Pace::default(), start);

        assert_eq!(meter.add(3_000_000, start), Duration::ZERO);
        let pause = meter.add(3_000_000, start);
        assert!(pause > SECOND && pause < 3 * SECOND, "{pause:?}");
        assert_eq!(meter.add(1_000_000, start + 5 * SECOND), Duration::ZERO);
    }

    #[test]
    fn flood_is_output_that_is_held_up_without_a_break() {
        let start = Instant::now();
        let mut meter = Meter::new(Pace::default(), start);
        for second in 0..60 {
            meter.add(2_000_000, start + second * SECOND);
        }
        assert!(!meter.is_flooded(start + 60 * SECOND));
        assert!(meter.is_flooded(start + 70 * SECOND));

        // It says nothing for so long that it is within its pace again.
        meter.add(1, start + 200 * SECOND);
        assert!(!meter.is_flooded(start + 300 * SECOND));
    }

    #[tokio::test]
    async fn output_beyond_the_log_is_read_to_its_end() {
        let (logs, at) = (LogBook::default(), lease(0));
        let pieces = (0..100_000).map(|_| &b"line\n"[..]);
        let signals = Signals::default();
        signals.ended.cancel();

        let output = super::pieces(container(pieces));
        pump(output, said(&logs, at), Redactor::default(), Pace::default(), signals).await;

        let mut lines = 0;
        while logs.any_unsent() {
            lines += logs.batches().iter().map(|batch| batch.lines.len()).sum::<usize>();
        }
        assert_eq!(lines, 2 * END_LINES_MAX + 1);
    }

    #[tokio::test]
    async fn output_that_replaces_its_line_shows_its_progress() {
        let (logs, at) = (LogBook::default(), lease(0));
        let pieces = ["\rstep 1", "\rstep 2", "\rstep 3", "\rstep 4", "\n"];
        let watched = logs.clone();
        let slow = stream::iter(pieces).enumerate().then(move |(n, piece)| {
            let logs = watched.clone();
            async move {
                // Only the second and the last state are there for long enough to be seen.
                if n == 2 {
                    logs.written().await;
                }
                Ok(LogOutput::StdErr { message: Bytes::from_static(piece.as_bytes()) })
            }
        });
        let output =
            AttachContainerResults { output: Box::pin(slow), input: Box::pin(tokio::io::sink()) };
        let pace = Pace { progress_first: SECOND / 10, ..Pace::default() };

        let output = super::pieces(output);
        pump(output, said(&logs, at), Redactor::default(), pace, Signals::default()).await;

        let lines = logs.batches().into_iter().flat_map(|batch| batch.lines);
        let texts: Vec<_> = lines.map(|line| line.text).collect();
        assert_eq!(texts, ["step 2", "step 4"]);
    }

    #[tokio::test]
    async fn flood_is_reported_and_held_back() {
        let (logs, at) = (LogBook::default(), lease(0));
        let pieces = std::iter::repeat(&[b'\n'; 60_000][..]);
        let pace = Pace { ahead_max: SECOND / 10, flood_max: SECOND / 5, ..Pace::default() };
        let signals = Signals::default();

        let output = super::pieces(container(pieces));
        let pump = pump(output, said(&logs, at), Redactor::default(), pace, signals.clone());
        let start = Instant::now();
        tokio::select! {
            () = pump => panic!("the stream has no end"),
            () = signals.flooded.cancelled() => {}
        }

        assert!(start.elapsed() >= SECOND / 5);
    }
}
