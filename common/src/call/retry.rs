//! When an attempt that failed is made again.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::ids::TaskId;

/// The longest wait between two attempts, whether the customer or the receiver asks for it: a week.
pub(super) const WAIT_SECS_MAX: u32 = 7 * 86_400;
/// The longest wait that a receiver can ask for: a day.
const RETRY_AFTER_SECS_MAX: u32 = 86_400;
/// The most further attempts after the first.
pub(super) const RETRIES_MAX: u32 = 100;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    pub waits: Waits,
    /// A receiver's `Retry-After` makes a wait longer, never shorter.
    pub honours_retry_after: bool,
}

/// The waits before further attempts, in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Waits {
    /// One for each further attempt.
    Table(Vec<u32>),
    /// Waits that grow by a factor up to a most. Up to `jitter_percent` of each is added to it,
    /// differently for each task.
    Backoff { retries: u32, first_secs: u32, factor: u32, most_secs: u32, jitter_percent: u32 },
}

impl Retry {
    /// One attempt and no other.
    pub const NEVER: Self = Self { waits: Waits::Table(Vec::new()), honours_retry_after: false };

    /// How long a task waits after this many failed attempts; `None` where it is given up.
    pub fn wait(
        &self,
        task: TaskId,
        failures: u32,
        retry_after_secs: Option<u32>,
    ) -> Option<TimeDelta> {
        let wait = self.waits.after(task, failures)?;
        let asked = retry_after_secs.filter(|_| self.honours_retry_after).unwrap_or(0);
        let asked = TimeDelta::seconds(asked.min(RETRY_AFTER_SECS_MAX).into());
        Some(wait.max(asked))
    }

    /// The attempts that it allows in all.
    pub fn attempts(&self) -> u32 {
        let retries = match &self.waits {
            Waits::Table(waits) => u32::try_from(waits.len()).unwrap_or(RETRIES_MAX),
            Waits::Backoff { retries, .. } => *retries,
        };
        retries.saturating_add(1)
    }
}

impl Default for Retry {
    /// Five further attempts over about an hour.
    fn default() -> Self {
        let waits = Waits::Backoff {
            retries: 5,
            first_secs: 10,
            factor: 4,
            most_secs: 3_600,
            jitter_percent: 10,
        };
        Self { waits, honours_retry_after: true }
    }
}

impl Waits {
    /// How long to wait after this many failures; `None` where there is nothing more to wait for.
    pub fn after(&self, task: TaskId, failures: u32) -> Option<TimeDelta> {
        let before = failures.checked_sub(1)?;
        match self {
            Self::Table(waits) => {
                let secs = waits.get(usize::try_from(before).ok()?)?;
                Some(TimeDelta::seconds((*secs).into()))
            }
            Self::Backoff { retries, first_secs, factor, most_secs, jitter_percent } => {
                if before >= *retries {
                    return None;
                }
                let grown = u64::from(*factor).saturating_pow(before);
                let secs = u64::from(*first_secs).saturating_mul(grown).min((*most_secs).into());
                let spread_ms = secs * u64::from(*jitter_percent) * 10;
                let ms = secs * 1_000 + drawn(task, failures, spread_ms);
                Some(TimeDelta::milliseconds(i64::try_from(ms).unwrap_or(i64::MAX)))
            }
        }
    }
}

/// A number up to `most` that follows from the task, so that tasks which failed together do not
/// come back together.
fn drawn(task: TaskId, failures: u32, most: u64) -> u64 {
    let digest = Digest::of(format!("fanfold wait {task} {failures}").as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest.bytes()[..8]);
    u64::from_be_bytes(bytes) % (most + 1)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const TASK: TaskId = TaskId::new(Uuid::from_u128(7));

    fn secs(retry: &Retry, asked: Option<u32>) -> Vec<i64> {
        let waits = (1..).map_while(|failures| retry.wait(TASK, failures, asked));
        waits.map(|wait| wait.num_seconds()).collect()
    }

    #[test]
    fn table_has_one_wait_for_each_further_attempt() {
        let waits = Waits::Table(vec![0, 300, 900]);
        let retry = Retry { waits, honours_retry_after: true };

        assert_eq!(secs(&retry, None), [0, 300, 900]);
        assert_eq!(secs(&retry, Some(600)), [600, 600, 900]);
        assert_eq!(secs(&retry, Some(u32::MAX)), [86_400; 3]);
        assert_eq!(retry.attempts(), 4);
        assert_eq!(secs(&Retry::NEVER, None), [0; 0]);
        let deaf = Retry { honours_retry_after: false, ..retry };
        assert_eq!(secs(&deaf, Some(600)), [0, 300, 900]);
    }

    #[test]
    fn backoff_grows_up_to_its_most() {
        let backoff = |jitter_percent| Retry {
            waits: Waits::Backoff {
                retries: 5,
                first_secs: 2,
                factor: 3,
                most_secs: 60,
                jitter_percent,
            },
            honours_retry_after: false,
        };

        assert_eq!(secs(&backoff(0), None), [2, 6, 18, 54, 60]);
        let spread = secs(&backoff(50), None);
        for (spread, plain) in spread.iter().zip([2, 6, 18, 54, 60]) {
            assert!((plain..=plain * 3 / 2).contains(spread), "{spread} of {plain}");
        }
        assert_eq!(spread, secs(&backoff(50), None));
        let other = backoff(50).wait(TaskId::new(Uuid::from_u128(8)), 5, None);
        assert_ne!(backoff(50).wait(TASK, 5, None), other);
    }

    #[test]
    fn backoff_of_extremes_stays_in_bounds() {
        let waits = Waits::Backoff {
            retries: RETRIES_MAX,
            first_secs: u32::MAX,
            factor: u32::MAX,
            most_secs: WAIT_SECS_MAX,
            jitter_percent: 100,
        };
        let retry = Retry { waits, honours_retry_after: true };

        let longest = retry.wait(TASK, RETRIES_MAX, Some(u32::MAX)).unwrap();
        assert!(longest <= TimeDelta::seconds((WAIT_SECS_MAX * 2).into()));
        assert_eq!(retry.wait(TASK, RETRIES_MAX + 1, None), None);
    }
}
