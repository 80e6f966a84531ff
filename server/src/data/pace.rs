//! A floor under the speed of somebody else's server, and a limit on the time that it may take.
//!
//! Only time that is spent waiting for that server counts: our own bucket and a busy machine do
//! not make a customer's server slow.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::secret::DataEnd;
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::time::timeout;

use super::{ByteStream, Error};

/// A server that is slower than this for longer than its grace is given up.
pub const BYTES_PER_SEC_MIN: u64 = 64 << 10;
/// How far a source may fall behind. Shorter than the longest silence of one answer.
const SOURCE_GRACE: Duration = Duration::from_secs(45);
/// The same for a destination: several large parts are under way before the first has arrived.
const DESTINATION_GRACE: Duration = Duration::from_secs(600);
/// What each answer counts for, however few bytes it has: looking at many objects is no slowness.
const ANSWER: Duration = Duration::from_secs(1);
/// All waiting of one step together, however fast the server is.
const WAIT_MAX: Duration = Duration::from_secs(6 * 3600);
/// A server that has fallen behind by less is not worth a word.
const SHOWN_FROM: Duration = Duration::from_secs(2);

/// Which way the bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Source,
    Destination,
}

/// Measures one server for one step, over all its requests and tries; clones share it.
#[derive(Debug, Clone)]
pub struct Pace {
    clock: Arc<Mutex<Clock>>,
}

#[derive(Debug)]
struct Clock {
    side: Side,
    server: String,
    /// How many wait for the server now, and since when the clock was last read.
    waiters: usize,
    since: Instant,
    /// All waiting so far.
    waited: Duration,
    /// The waiting that no bytes or answers have made up for. It is never below zero: a fast
    /// beginning earns no pause later.
    behind: Duration,
    /// What came, and how long it took, since the server was last up to speed.
    lag_bytes: u64,
    lag: Duration,
}

/// A server that is behind: how many bytes a second it has managed since then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slow {
    pub server: String,
    pub side: Side,
    pub bytes_per_sec: u64,
}

/// One who waits; the clock runs as long as there is one.
struct Waiter<'a>(&'a Pace);

impl Pace {
    pub fn new(side: Side) -> Self {
        Self { clock: Arc::new(Mutex::new(Clock::new(side, Instant::now()))) }
    }

    /// Says whose server it is, for messages.
    pub fn name(&self, server: &str) {
        server.clone_into(&mut self.clock().server);
    }

    /// Waits for an answer to a request.
    ///
    /// # Errors
    /// `Customer`, which names the server and its speed, where it is too slow.
    pub async fn answer<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        let answer = self.wait(work).await?;
        self.clock().answered(Instant::now());
        Ok(answer)
    }

    /// Passes on what the server sends, as long as it is fast enough.
    pub fn stream(&self, bytes: ByteStream) -> ByteStream {
        let start = (bytes, self.clone());
        let paced = futures::stream::try_unfold(start, |(mut bytes, pace)| async move {
            let Some(piece) = pace.wait(bytes.try_next()).await?? else { return Ok(None) };
            pace.passed(piece.len() as u64);
            Ok(Some((piece, (bytes, pace))))
        });
        paced.boxed()
    }

    /// Counts bytes that have gone to or come from the server.
    pub fn passed(&self, bytes: u64) {
        self.clock().passed(bytes, Instant::now());
    }

    /// How slow the server is, where it is behind.
    pub fn slow(&self) -> Option<Slow> {
        let mut clock = self.clock();
        clock.read(Instant::now());
        (clock.behind >= SHOWN_FROM).then(|| clock.slow())
    }

    async fn wait<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        let waiter = self.begin();
        let mut work = std::pin::pin!(work);
        loop {
            let left = self.clock().left(Instant::now())?;
            // Others may have earned time meanwhile, so the end of the time is looked at again.
            if let Ok(done) = timeout(left, &mut work).await {
                drop(waiter);
                return Ok(done);
            }
        }
    }

    fn begin(&self) -> Waiter<'_> {
        self.clock().enter(Instant::now());
        Waiter(self)
    }

    fn clock(&self) -> MutexGuard<'_, Clock> {
        // Its numbers are whole after every change.
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock {
    fn new(side: Side, now: Instant) -> Self {
        Self {
            side,
            server: String::new(),
            waiters: 0,
            since: now,
            waited: Duration::ZERO,
            behind: Duration::ZERO,
            lag_bytes: 0,
            lag: Duration::ZERO,
        }
    }

    fn enter(&mut self, now: Instant) {
        self.read(now);
        self.waiters += 1;
    }

    fn leave(&mut self, now: Instant) {
        self.read(now);
        self.waiters -= 1;
    }

    fn answered(&mut self, now: Instant) {
        self.earn(0, ANSWER, now);
    }

    fn passed(&mut self, bytes: u64, now: Instant) {
        let millis = bytes.saturating_mul(1_000) / BYTES_PER_SEC_MIN;
        self.earn(bytes, Duration::from_millis(millis), now);
    }

    /// How long the server may still be waited for without a word from it.
    fn left(&mut self, now: Instant) -> Result<Duration, Error> {
        self.read(now);
        if self.waited >= WAIT_MAX {
            return Err(self.side.took_too_long(&self.server));
        }
        let left = self.side.grace().saturating_sub(self.behind);
        if left.is_zero() {
            return Err(Error::Customer(self.slow().to_string()));
        }
        Ok(left.min(WAIT_MAX.saturating_sub(self.waited)))
    }

    /// Counts the time since it was last read, where somebody waits.
    fn read(&mut self, now: Instant) {
        if self.waiters > 0 {
            let passed = now - self.since;
            self.waited += passed;
            self.behind += passed;
            self.lag += passed;
        }
        self.since = now;
    }

    fn earn(&mut self, bytes: u64, time: Duration, now: Instant) {
        self.read(now);
        self.lag_bytes = self.lag_bytes.saturating_add(bytes);
        self.behind = self.behind.saturating_sub(time);
        if self.behind.is_zero() {
            (self.lag_bytes, self.lag) = (0, Duration::ZERO);
        }
    }

    fn slow(&self) -> Slow {
        let millis = u64::try_from(self.lag.as_millis()).unwrap_or(u64::MAX).max(1);
        let bytes_per_sec = self.lag_bytes.saturating_mul(1_000) / millis;
        Slow { server: self.server.clone(), side: self.side, bytes_per_sec }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.clock().leave(Instant::now());
    }
}

impl Side {
    const fn grace(self) -> Duration {
        match self {
            Self::Source => SOURCE_GRACE,
            Self::Destination => DESTINATION_GRACE,
        }
    }

    const fn field(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
        }
    }

    fn took_too_long(self, server: &str) -> Error {
        let hours = WAIT_MAX.as_secs() / 3600;
        let what = format!(
            "{server} took longer than {hours} hours in all; split the job, or use a faster server"
        );
        let end = match self {
            Self::Source => DataEnd::Source,
            Self::Destination => DataEnd::Destination,
        };
        Error::At(end, what)
    }
}

impl std::fmt::Display for Slow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { server, side, bytes_per_sec } = self;
        let (field, does, instead) = match side {
            Side::Source => (side.field(), "sends", "or upload the file"),
            Side::Destination => (side.field(), "takes", "or Fanfold's own bucket"),
        };
        write!(
            f,
            "{field}: {server} {does} {bytes_per_sec} bytes a second, and at least \
             {BYTES_PER_SEC_MIN} are needed; use a faster server, {instead}"
        )
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::data::testing::{customer, text};

    /// A server that somebody waits for, in a time that the test makes.
    struct Waited {
        clock: Clock,
        begun: Instant,
        now: Instant,
    }

    impl Waited {
        fn new() -> Self {
            let now = Instant::now();
            let mut clock = Clock::new(Side::Source, now);
            "slow.example.com".clone_into(&mut clock.server);
            clock.enter(now);
            Self { clock, begun: now, now }
        }

        /// This many bytes after a pause; the text of the error where it was too long.
        fn piece(&mut self, pause: Duration, bytes: u64) -> Result<(), String> {
            let left = self.clock.left(self.now);
            let left = left.map_err(|error| error.to_string())?;
            self.now += pause.min(left);
            if pause < left {
                self.clock.passed(bytes, self.now);
            }
            Ok(())
        }

        fn pieces(&mut self, n: u32, pause: Duration, bytes: u64) -> Result<(), String> {
            (0..n).try_for_each(|_| self.piece(pause, bytes))
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn slow_source_is_abandoned_and_named_with_its_speed() {
        let mut source = Waited::new();

        let text = source.pieces(1_000, 5 * SECOND, 10).unwrap_err();

        assert!(text.contains("slow.example.com sends 1 bytes a second"), "{text}");
        let took = source.now - source.begun;
        assert!(took <= SOURCE_GRACE + SECOND, "{took:?}");
    }

    #[test]
    fn source_at_the_minimum_speed_is_read_on() {
        let mut source = Waited::new();

        assert_eq!(source.pieces(3_600, SECOND, BYTES_PER_SEC_MIN), Ok(()));
    }

    #[test]
    fn fast_beginning_allows_no_pause() {
        let mut source = Waited::new();
        source.pieces(1_000, Duration::from_millis(1), 1 << 30).unwrap();
        let begun = source.now;

        let text = source.pieces(100, 10 * SECOND, 1).unwrap_err();

        assert!(text.contains("sends 0 bytes a second"), "{text}");
        assert!(source.now - begun <= SOURCE_GRACE + SECOND);
    }

    #[test]
    fn time_without_a_reader_does_not_count() {
        let mut source = Waited::new();
        for _ in 0..100 {
            source.clock.leave(source.now);
            source.now += 30 * SECOND;
            source.clock.enter(source.now);
        }

        assert_eq!(source.clock.left(source.now).unwrap(), SOURCE_GRACE);
    }

    #[test]
    fn quick_answers_in_large_number_are_not_slow() {
        let mut source = Waited::new();
        for _ in 0..10_000 {
            source.now += Duration::from_millis(900);
            source.clock.answered(source.now);
        }

        assert_eq!(source.clock.left(source.now).unwrap(), SOURCE_GRACE);
    }

    #[test]
    fn wait_has_a_limit_for_a_source_at_the_minimum_speed() {
        let mut source = Waited::new();

        let text = source.pieces(100_000, SECOND, BYTES_PER_SEC_MIN).unwrap_err();

        assert!(text.contains("longer than 6 hours"), "{text}");
        assert_eq!(source.now - source.begun, WAIT_MAX);
    }

    #[tokio::test]
    async fn stream_ends_when_it_is_silent() {
        let pieces = [Bytes::from_static(b"he"), Bytes::from_static(b"llo")].map(Ok);

        let whole = Pace::new(Side::Source).stream(futures::stream::iter(pieces).boxed());
        assert_eq!(text(whole).await.unwrap(), b"hello");

        let pace = Pace::new(Side::Source);
        pace.name("slow.example.com");
        pace.clock().behind = SOURCE_GRACE - Duration::from_millis(20);
        let silent = pace.stream(futures::stream::pending().boxed());
        assert!(customer(text(silent).await).contains("slow.example.com sends 0 bytes"));
        assert_eq!(pace.slow().unwrap().bytes_per_sec, 0);
    }
}
