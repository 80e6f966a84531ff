//! How long each part of a request may take, and how slow a transfer may be.

use std::time::Duration;

use crate::config::HttpConfig;

/// The limits in time of every connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For the head of a request, from its first byte; for the first one from the connection on.
    pub head: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// For a handler that neither answers nor takes in a part of the body.
    pub request: Duration,
    /// For which the other end of a transfer may be behind its minimum speed.
    pub stall: Duration,
    /// The minimum speed.
    pub bytes_per_sec: u32,
}

/// Watches the speed of a transfer: waiting uses up an allowance, and bytes add to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    left: Duration,
    stall: Duration,
    bytes_per_sec: u32,
}

impl Limits {
    pub fn new(config: &HttpConfig) -> Self {
        let secs = |secs: std::num::NonZeroU32| Duration::from_secs(secs.get().into());
        Self {
            head: secs(config.header_timeout_secs),
            idle: secs(config.idle_timeout_secs),
            request: secs(config.request_timeout_secs),
            stall: secs(config.stall_timeout_secs),
            bytes_per_sec: config.bytes_per_sec_min.get(),
        }
    }

    /// The pace of a transfer that begins.
    pub fn pace(&self) -> Pace {
        Pace { left: self.stall, stall: self.stall, bytes_per_sec: self.bytes_per_sec }
    }
}

impl Pace {
    /// How long the other end may still be waited for without a byte.
    pub fn left(&self) -> Duration {
        self.left
    }

    pub fn waited(&mut self, time: Duration) {
        self.left = self.left.saturating_sub(time);
    }

    /// Bytes have moved. A fast start saves up no more than the allowance at the beginning.
    pub fn moved(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let earned = bytes.saturating_mul(1000) / u64::from(self.bytes_per_sec);
        self.left = self.left.saturating_add(Duration::from_millis(earned)).min(self.stall);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn limits() -> Limits {
        Limits::new(&Config::load(None).unwrap().http)
    }

    #[test]
    fn limits_have_their_documented_defaults() {
        let secs = Duration::from_secs;
        let expected = Limits {
            head: secs(15),
            idle: secs(75),
            request: secs(300),
            stall: secs(30),
            bytes_per_sec: 8192,
        };

        assert_eq!(limits(), expected);
    }

    #[test]
    fn pace_runs_out_for_a_trickle_and_never_for_the_minimum_speed() {
        let (mut trickle, mut steady) = (limits().pace(), limits().pace());
        for _ in 0..1000 {
            trickle.waited(Duration::from_secs(1));
            trickle.moved(100);
            steady.waited(Duration::from_secs(1));
            steady.moved(8192);
        }

        assert!(trickle.left() < Duration::from_secs(1));
        assert_eq!(steady.left(), Duration::from_secs(30));
    }

    #[test]
    fn pace_does_not_accumulate_a_long_pause() {
        let mut pace = limits().pace();

        pace.moved(1 << 30);

        assert_eq!(pace.left(), Duration::from_secs(30));
    }
}
