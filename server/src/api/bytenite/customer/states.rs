//! The documented states of a job, and what else this API calls how far it is.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::run::RunState;
use common::run::milestone::Milestone;

use crate::jobs::RunView;
use crate::jobs::monitoring::status::JobState;

/// The documented states in the order of a job's life: a new one has no run.
pub const STATES: [&str; Milestone::ALL.len()] = {
    let mut names = [""; Milestone::ALL.len()];
    let mut n = 0;
    while n < names.len() {
        names[n] = name(Milestone::ALL[n]);
        n += 1;
    }
    names
};

/// What jobs are doing, in the order of a job's life: a new one has no run.
pub const STATUSES: [&str; RunState::ALL.len() + 1] = {
    let mut names = [NEW_STATUS; RunState::ALL.len() + 1];
    let mut n = 0;
    while n < RunState::ALL.len() {
        names[n + 1] = RunState::ALL[n].as_str();
        n += 1;
    }
    names
};

const NEW_STATUS: &str = "new";

/// The documented state of a job that is so far. It is failed also where it was cancelled: the
/// documented states know no other end.
pub const fn name(milestone: Milestone) -> &'static str {
    match milestone {
        Milestone::Draft => "JOB_STATE_NEW",
        Milestone::Started => "JOB_STATE_STARTED",
        Milestone::Fetching => "JOB_STATE_UPLOADING",
        Milestone::Partitioning => "JOB_STATE_PARTITIONING",
        Milestone::Processing => "JOB_STATE_PARTITIONED",
        Milestone::Processed => "JOB_STATE_TASKS_COMPLETED",
        Milestone::Assembling => "JOB_STATE_MERGING",
        Milestone::Assembled => "JOB_STATE_MERGED",
        Milestone::Delivering => "JOB_STATE_DOWNLOADING",
        Milestone::Succeeded => "JOB_STATE_COMPLETE",
        Milestone::Failed => "JOB_STATE_FAILED",
    }
}

/// The documented state of a job in this state.
pub fn of(state: JobState) -> &'static str {
    name(state.milestone())
}

/// What a job is doing.
pub fn status(state: JobState) -> &'static str {
    state.run.map_or(NEW_STATUS, RunState::as_str)
}

/// When a job entered its documented states.
pub fn times(
    created_at: DateTime<Utc>,
    run: Option<&RunView>,
) -> BTreeMap<&'static str, DateTime<Utc>> {
    let mut times = BTreeMap::from([(name(Milestone::Draft), created_at)]);
    let Some(run) = run else { return times };
    for (phase, at) in &run.times.phases {
        let reached = Milestone::reached_with(*phase).into_iter();
        times.extend(reached.chain([Milestone::of_phase(*phase)]).map(|one| (name(one), *at)));
    }
    times.extend(run.started_at().map(|at| (name(Milestone::Started), at)));
    times.extend(run.ended_at().map(|at| (of(JobState::of(Some(run))), at)));
    times
}
