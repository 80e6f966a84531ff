//! The most that the runs of a project may cost in a period.

use chrono::{DateTime, Datelike as _, Days, Months, NaiveTime, Utc};

use crate::money::credits::Credits;

/// For how long what was spent counts. Days and months are those of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CapPeriod {
    Day,
    Month,
    /// All time since the cap was set.
    Total,
}

/// A cap, and what has been spent of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpendCap {
    pub limit: Credits,
    pub period: CapPeriod,
    /// When its period began.
    pub since: DateTime<Utc>,
    /// What the project's runs have cost since then, or since the cap was set.
    pub spent: Credits,
}

impl CapPeriod {
    pub const ALL: [Self; 3] = [Self::Day, Self::Month, Self::Total];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
            Self::Total => "total",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|period| period.as_str() == name)
    }

    /// When the period began that this time is in.
    pub fn begin(self, now: DateTime<Utc>) -> DateTime<Utc> {
        let day = now.date_naive();
        let first = match self {
            Self::Day => Some(day),
            Self::Month => day.with_day(1),
            Self::Total => None,
        };
        first.map_or(DateTime::UNIX_EPOCH, |day| day.and_time(NaiveTime::MIN).and_utc())
    }
}

impl SpendCap {
    /// A cap of which nothing is spent.
    pub fn new(limit: Credits, period: CapPeriod, now: DateTime<Utc>) -> Self {
        Self { limit, period, since: period.begin(now), spent: Credits::ZERO }
    }

    /// When its period ends, where it does.
    pub fn ends(&self) -> Option<DateTime<Utc>> {
        match self.period {
            CapPeriod::Day => self.since.checked_add_days(Days::new(1)),
            CapPeriod::Month => self.since.checked_add_months(Months::new(1)),
            CapPeriod::Total => None,
        }
    }

    /// Begins a new period where its own has ended; gives whether it has.
    pub fn renew(&mut self, now: DateTime<Utc>) -> bool {
        let is_over = self.ends().is_some_and(|end| end <= now);
        if is_over {
            *self = Self::new(self.limit, self.period, now);
        }
        is_over
    }

    /// What is left beside what is held.
    pub fn room(&self, held: Credits) -> Credits {
        self.limit.saturating_sub(self.spent).saturating_sub(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn credits(n: i64) -> Credits {
        Credits::from_units(n).unwrap()
    }

    #[test]
    fn cap_is_new_in_each_of_its_periods() {
        let now = at("2026-02-28T23:59:59Z");
        for (period, since, ends) in [
            (CapPeriod::Day, "2026-02-28T00:00:00Z", Some("2026-03-01T00:00:00Z")),
            (CapPeriod::Month, "2026-02-01T00:00:00Z", Some("2026-03-01T00:00:00Z")),
            (CapPeriod::Total, "1970-01-01T00:00:00Z", None),
        ] {
            let mut cap = SpendCap { spent: credits(3), ..SpendCap::new(credits(10), period, now) };

            assert_eq!((cap.since, cap.ends()), (at(since), ends.map(at)), "{period:?}");
            assert!(!cap.renew(now));
            assert_eq!(cap.room(credits(2)), credits(5));
            let is_new = cap.renew(at("2026-03-01T00:00:00Z"));
            assert_eq!(is_new, ends.is_some());
            assert_eq!(cap.spent, if is_new { Credits::ZERO } else { credits(3) });
        }
        assert_eq!(SpendCap::new(credits(1), CapPeriod::Day, now).room(credits(2)), Credits::ZERO);
        for period in CapPeriod::ALL {
            assert_eq!(CapPeriod::from_name(period.as_str()), Some(period));
        }
    }
}
