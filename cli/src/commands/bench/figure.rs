//! A measured number, kept in thousandths so that no float is needed.

use std::fmt;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Figure {
    thousandths: u64,
}

impl Figure {
    pub fn whole(n: u64) -> Self {
        Self { thousandths: n.saturating_mul(1000) }
    }

    pub fn millis(time: Duration) -> Self {
        Self::milli_part(time.as_nanos(), 1_000)
    }

    pub fn seconds(time: Duration) -> Self {
        Self::milli_part(time.as_nanos(), 1_000_000)
    }

    /// A count over a time, per second.
    pub fn rate(n: u64, time: Duration) -> Self {
        Self::milli_part(u128::from(n) * 1_000_000_000_000, time.as_nanos())
    }

    /// Milliseconds for each of `n`.
    pub fn millis_each(time: Duration, n: u64) -> Self {
        Self::milli_part(time.as_nanos(), u128::from(n) * 1_000)
    }

    /// Decimal megabytes a second.
    pub fn megabytes(bytes: u64, time: Duration) -> Self {
        Self::milli_part(u128::from(bytes) * 1_000_000, time.as_nanos())
    }

    /// Binary megabytes.
    pub fn mebibytes(bytes: u64) -> Self {
        Self::milli_part(u128::from(bytes) * 1000, 1 << 20)
    }

    /// How many times `of` goes into `time`.
    pub fn times(time: Duration, of: Duration) -> Self {
        Self::milli_part(time.as_nanos() * 1000, of.as_nanos())
    }

    fn milli_part(amount: u128, by: u128) -> Self {
        let thousandths = amount.checked_div(by).unwrap_or(0);
        Self { thousandths: u64::try_from(thousandths).unwrap_or(u64::MAX) }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.thousandths / 1000, self.thousandths % 1000);
        match (whole, part) {
            (_, 0) => write!(f, "{whole}"),
            (100.., _) => write!(f, "{}", (self.thousandths + 500) / 1000),
            _ => write!(f, "{whole}.{part:03}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figure_shows_significant_digits() {
        let second = Duration::from_secs(1);
        for (figure, text) in [
            (Figure::whole(100_000), "100000"),
            (Figure::rate(3, 2 * second), "1.500"),
            (Figure::rate(3, Duration::ZERO), "0"),
            (Figure::millis_each(second, 20_000), "0.050"),
            (Figure::millis(Duration::from_micros(113_600)), "114"),
            (Figure::megabytes(5_000_000, second), "5"),
            (Figure::mebibytes(3 << 19), "1.500"),
            (Figure::times(3 * second, 2 * second), "1.500"),
        ] {
            assert_eq!(figure.to_string(), text);
        }
    }
}
