//! Which nominal times of a schedule make runs now, and which have been missed.

use chrono::{DateTime, TimeDelta, Utc};

use super::when::When;
use super::{Missed, Schedule};
use crate::digest::Digest;
use crate::ids::JobId;

/// The most missed times that make a run each.
pub const RUN_ALL_MAX: usize = 10;

/// A time that is kept within so much is not missed where missed times are skipped.
const ON_TIME: TimeDelta = TimeDelta::seconds(60);
/// The longest usual grace of a schedule with more than one time.
const GRACE_MAX: TimeDelta = TimeDelta::hours(1);

/// What a schedule's nominal times until now come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Those that make a run each, oldest first.
    pub runs: Vec<DateTime<Utc>>,
    /// The first and the last of those that were missed; all of them come before the runs.
    pub missed: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// The last of all these times.
    pub last: DateTime<Utc>,
    /// The nominal time after them.
    pub next: Option<DateTime<Utc>>,
}

impl Schedule {
    /// When the next nominal time is due: the time itself, or a little later where there is
    /// jitter, but never after the nominal time that follows it.
    pub fn due_at(&self) -> Option<DateTime<Utc>> {
        self.next.map(|at| self.starts(at))
    }

    /// What the nominal times until `now` come to; `None` where none is due.
    pub fn due(&self, now: DateTime<Utc>) -> Option<Due> {
        let first = self.next.filter(|first| self.starts(*first) <= now)?;
        let when = &self.rules.when;
        // Two more than can make runs: the last may be put off by jitter, and one before the
        // runs says that some were missed.
        let mut newest = when.newest(first, now, RUN_ALL_MAX + 2);
        newest.retain(|at| self.starts(*at) <= now);
        let last = *newest.last()?;
        let most = match self.rules.missed {
            Missed::Skip | Missed::RunOnce => 1,
            Missed::RunAll => RUN_ALL_MAX,
        };
        let in_time = |at: &DateTime<Utc>| {
            self.grace(*at).is_none_or(|grace| now - self.starts(*at) <= grace)
        };
        let kept = newest.iter().rev().take(most).take_while(|at| in_time(at)).count();
        let runs = newest.split_off(newest.len() - kept);
        let missed = match runs.first() {
            Some(kept) if *kept == first => None,
            Some(kept) => Some((first, newest.last().copied().unwrap_or(*kept))),
            None => Some((first, last)),
        };
        Some(Due { runs, missed, last, next: when.next(last) })
    }

    /// How late a run of this nominal time may start; `None` is any time.
    fn grace(&self, at: DateTime<Utc>) -> Option<TimeDelta> {
        if let Some(secs) = self.rules.grace_secs {
            return Some(TimeDelta::seconds(secs.into()));
        }
        match self.rules.missed {
            Missed::Skip => Some(ON_TIME),
            Missed::RunAll => None,
            Missed::RunOnce => match self.rules.when {
                When::Once(_) => None,
                When::Every { .. } | When::Cron(_) => {
                    let interval = self.rules.when.next(at).map(|next| next - at);
                    Some(interval.map_or(GRACE_MAX, |interval| interval.min(GRACE_MAX)))
                }
            },
        }
    }

    /// When the run of a nominal time starts.
    fn starts(&self, at: DateTime<Utc>) -> DateTime<Utc> {
        if self.rules.jitter_secs == 0 {
            return at;
        }
        let most = TimeDelta::seconds(self.rules.jitter_secs.into());
        let interval = self.rules.when.next(at).map_or(most, |next| next - at);
        at + jitter(self.job, at, most.min(interval))
    }
}

/// A time below `most` that follows from the job and the nominal time.
fn jitter(job: JobId, at: DateTime<Utc>, most: TimeDelta) -> TimeDelta {
    let name = format!("fanfold jitter {job} {}", at.timestamp_micros());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&Digest::of(name.as_bytes()).bytes()[..8]);
    let most = most.num_milliseconds().max(1).unsigned_abs();
    let ms = i64::try_from(u64::from_be_bytes(bytes) % most).unwrap_or(0);
    TimeDelta::milliseconds(ms)
}
