//! Events as they are told.

use common::plan::Phase;
use common::run::RunState;
use common::run::milestone::Milestone;
use serde_json::{Value, json};

use super::logs::level_name;
use crate::api::bytenite::customer::states;
use crate::jobs::monitoring::events::{Event, LogView, Summary, What};
use crate::jobs::monitoring::status::JobState;

/// The events' names, and what they say: a documented state that is over when the next begins is
/// told with it.
pub fn describe(event: Event) -> Vec<(&'static str, Value)> {
    let Event { job, run, what, .. } = event;
    match what {
        What::State { state, phase, cause } => {
            let error = cause.map(|cause| cause.message);
            let is_running = state == RunState::Running;
            let over =
                phase.filter(|_| is_running).and_then(Milestone::reached_with).map(states::name);
            let told = |state: &'static str| {
                let data =
                    json!({"jobId": job, "runId": run, "state": state, "errorMessage": error});
                ("job.state", data)
            };
            let now = states::of(JobState { run: Some(state), phase });
            over.into_iter().chain([now]).map(told).collect()
        }
        What::Task { task, phase, attempt, state, progress } => {
            let data = json!({
                "jobId": job,
                "runId": run,
                "taskId": task.id(),
                "stage": phase.map(Phase::as_str),
                "index": task.index,
                "attempt": attempt,
                "state": state.as_str(),
            });
            // Progress has no event of its own: it is told with each change of a task.
            let progress = progress.map(|progress| {
                let data = json!({
                    "jobId": job,
                    "runId": run,
                    "chunks": progress.chunks,
                    "chunksDone": progress.chunks_done,
                    "tasksWithoutResults": progress.tasks_without_results,
                    "tasksRunning": progress.tasks_running,
                    "nodesBusy": progress.nodes_busy,
                    "spent": progress.spent,
                });
                ("job.progress", data)
            });
            [Some(("task.state", data)), progress].into_iter().flatten().collect()
        }
        What::Log { lease, phase, lines } => {
            let line = |line: LogView| json!({"log": line.text, "timestamp": line.at, "level": level_name(line.level)});
            vec![(
                "task.log",
                json!({
                    "jobId": job,
                    "runId": run,
                    "taskId": lease.task.id(),
                    "stage": phase.map(Phase::as_str),
                    "index": lease.task.index,
                    "attempt": lease.attempt,
                    "lines": lines.into_iter().map(line).collect::<Vec<_>>(),
                }),
            )]
        }
    }
}

/// The states of jobs, in place of the events that were lost.
pub fn reset(jobs: Vec<Summary>) -> Value {
    let one = |job: Summary| {
        json!({
            "jobId": job.job,
            "runId": job.run,
            "state": states::of(job.state),
            "errorMessage": job.cause.map(|cause| cause.message),
        })
    };
    json!({ "jobs": jobs.into_iter().map(one).collect::<Vec<_>>() })
}
