//! Events as they are told.

use common::plan::Phase;
use common::run::RunState;
use common::run::milestone::Milestone;
use serde_json::{Value, json};

use super::logs::level_name;
use super::states;
use crate::app::App;
use crate::coordinator::{Change, RunEvent};
use crate::store::market::logs;

/// The events' names, and what they say: a documented state that is over when the next begins is
/// told with it. Lines of logs are read where somebody listens.
pub async fn describe(app: &App, event: &RunEvent) -> Vec<(&'static str, Value)> {
    match &event.change {
        Change::State { state, phase, error } => {
            let is_running = *state == RunState::Running;
            let over = phase.filter(|_| is_running).and_then(Milestone::reached_with);
            let told = |state: &'static str| {
                let (job, run) = (event.job, event.run);
                let data =
                    json!({"jobId": job, "runId": run, "state": state, "errorMessage": error});
                ("job.state", data)
            };
            let states = over.map(states::name).into_iter().chain([states::of_run(*state, *phase)]);
            states.map(told).collect()
        }
        Change::Task { task, phase, attempt, state } => vec![(
            "task.state",
            json!({
                "jobId": event.job,
                "runId": event.run,
                "taskId": task.id(),
                "stage": phase.map(Phase::as_str),
                "index": task.index,
                "attempt": attempt,
                "state": state.as_str(),
            }),
        )],
        Change::Log { lease, phase, first } => {
            let lines = logs::find_batch(&app.db, *lease, *first).await.unwrap_or_else(|error| {
                // The lines can still be asked for; the stream goes on.
                tracing::error!(error = &error as &dyn std::error::Error, "lines were not told");
                Vec::new()
            });
            let line = |line: logs::LogView| json!({"log": line.text, "timestamp": line.at, "level": level_name(line.level)});
            vec![(
                "task.log",
                json!({
                    "jobId": event.job,
                    "runId": event.run,
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
