//! What the runs of a job wrote and used in a window of time: for readers who ask by time and not
//! by task.

pub mod lines;
pub mod series;

use chrono::{DateTime, TimeDelta, Utc};
use common::ids::{JobId, RunId};

use super::monitoring::status::{find, find_job};
use crate::app::App;
use crate::error::{Error, Result};
use crate::people::caller::Caller;
use crate::store::market::runs;

/// The longest window.
pub const WINDOW_MAX: TimeDelta = TimeDelta::days(7);
/// The most runs of a job that are looked into.
const RUNS_MAX: u64 = 1000;

/// A window of time: from its first instant to just before its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    from: DateTime<Utc>,
    until: DateTime<Utc>,
}

/// Whose lines or figures are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Of all runs of a job.
    Job(JobId),
    Run(RunId),
}

impl Window {
    /// # Errors
    /// The window has no length, or more than [`WINDOW_MAX`].
    pub fn new(from: DateTime<Utc>, until: DateTime<Utc>) -> Result<Self> {
        if from >= until {
            return Err(Error::field("start", "must be before the end"));
        }
        if until - from > WINDOW_MAX {
            let days = WINDOW_MAX.num_days();
            return Err(Error::field(
                "start",
                format!("must be at most {days} days before the end"),
            ));
        }
        Ok(Self { from, until })
    }

    fn has(self, at: DateTime<Utc>) -> bool {
        self.from <= at && at < self.until
    }
}

/// The runs that are meant and lived in the window, the newest first.
async fn runs_in(app: &App, caller: &Caller, whose: Whose, window: Window) -> Result<Vec<RunId>> {
    Ok(match whose {
        Whose::Run(run) => {
            find(app, caller, run).await?;
            vec![run]
        }
        Whose::Job(job) => {
            find_job(app, caller, job).await?;
            let times = (window.from, window.until);
            runs::of_job_between(&app.db, caller.workspace, job, times, RUNS_MAX).await?
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_has_a_length_and_a_bound() {
        let at = |secs| DateTime::from_timestamp(secs, 0).unwrap();
        let longest = WINDOW_MAX.num_seconds();
        let window = Window::new(at(0), at(longest)).unwrap();
        assert!(window.has(at(0)) && window.has(at(longest - 1)) && !window.has(at(longest)));
        for (from, until) in [(0, 0), (1, 0), (0, longest + 1)] {
            assert!(Window::new(at(from), at(until)).is_err(), "{from} {until}");
        }
    }
}
