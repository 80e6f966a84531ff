//! The nominal times of a schedule.

use std::collections::VecDeque;

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::cron::Cron;

/// The longest time between two runs of a schedule that makes one every so many seconds.
pub const EVERY_SECS_MAX: u32 = 366 * 24 * 3600;
/// A cron pattern comes at least once in so many years.
pub const CRON_YEARS_MAX: i64 = 5;
/// No nominal time is at or after the beginning of this year.
const YEAR_END: i32 = 10_000;

/// When a schedule makes runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum When {
    Once(DateTime<Utc>),
    /// At `from`, and every so many seconds after it.
    Every {
        secs: u32,
        from: DateTime<Utc>,
    },
    Cron(Box<Cron>),
}

/// Why nominal times are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotWhen {
    #[error("must be from 1 to {EVERY_SECS_MAX}")]
    Every,
    #[error("must be before the year {YEAR_END}")]
    Far,
    #[error("does not come within {CRON_YEARS_MAX} years: check its day and month")]
    Never,
}

impl When {
    /// Refuses what cannot be kept, as of `now`.
    pub fn check(&self, now: DateTime<Utc>) -> Result<(), NotWhen> {
        let is_far = |at: &DateTime<Utc>| chrono::Datelike::year(at) >= YEAR_END;
        match self {
            Self::Once(at) | Self::Every { from: at, .. } if is_far(at) => Err(NotWhen::Far),
            Self::Every { secs, .. } if !(1..=EVERY_SECS_MAX).contains(secs) => Err(NotWhen::Every),
            Self::Cron(cron) => {
                let within = now + TimeDelta::days(CRON_YEARS_MAX * 366);
                cron.next(now).filter(|at| *at < within).map(|_| ()).ok_or(NotWhen::Never)
            }
            Self::Once(_) | Self::Every { .. } => Ok(()),
        }
    }

    /// The first nominal time of a schedule that is set at `now`: a single time that has passed
    /// is due at once.
    pub fn first(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Once(at) => Some(at.trunc_subsecs(6)),
            Self::Every { .. } | Self::Cron(_) => self.next(now),
        }
    }

    /// The first nominal time after an instant.
    pub fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Once(at) => Some(at.trunc_subsecs(6)).filter(|at| *at > after),
            Self::Every { secs, from } => {
                let from = from.trunc_subsecs(6);
                if from > after {
                    return Some(from);
                }
                let secs = i64::from(*secs);
                let passed = (after - from).num_seconds() / secs;
                from.checked_add_signed(TimeDelta::try_seconds((passed + 1) * secs)?)
            }
            Self::Cron(cron) => cron.next(after),
        }
    }

    /// The next `n` nominal times after an instant.
    pub fn preview(&self, after: DateTime<Utc>, n: usize) -> Vec<DateTime<Utc>> {
        std::iter::successors(self.next(after), |at| self.next(*at)).take(n).collect()
    }

    /// The newest `n` nominal times from one of them, `from`, until an instant, oldest first. The
    /// cost does not grow with how many there are.
    pub(super) fn newest(
        &self,
        from: DateTime<Utc>,
        until: DateTime<Utc>,
        n: usize,
    ) -> Vec<DateTime<Utc>> {
        let mut span = TimeDelta::seconds(60);
        loop {
            let begin = (until - span).max(from);
            let first = if begin == from { Some(from) } else { self.next(begin) };
            let times = std::iter::successors(first, |at| self.next(*at));
            let mut newest = VecDeque::with_capacity(n + 1);
            for at in times.take_while(|at| *at <= until) {
                newest.push_back(at);
                if newest.len() > n {
                    newest.pop_front();
                }
            }
            if newest.len() >= n || begin == from {
                return newest.into();
            }
            span = span * 8;
        }
    }
}
