//! Events as they are told.

use serde_json::{Value, json};

use super::job_out;
use super::logs::level_name;
use crate::api::App;
use crate::coordinator::{Change, RunEvent};
use crate::store::logs;

/// The event's name, and what it says. Lines of logs are read where somebody listens.
pub async fn describe(app: &App, event: &RunEvent) -> (&'static str, Value) {
    match &event.change {
        Change::State { state, error } => (
            "job.state",
            json!({
                "jobId": event.job,
                "runId": event.run,
                "state": job_out::state_name(*state),
                "errorMessage": error,
            }),
        ),
        Change::Task { task, attempt, state } => (
            "task.state",
            json!({
                "jobId": event.job,
                "runId": event.run,
                "taskId": task.id(),
                "stage": task.stage.as_str(),
                "index": task.index,
                "attempt": attempt,
                "state": state.as_str(),
            }),
        ),
        Change::Log { lease, first } => {
            let lines = logs::find_batch(&app.db, *lease, *first).await.unwrap_or_else(|error| {
                // The lines can still be asked for; the stream goes on.
                tracing::error!(error = &error as &dyn std::error::Error, "lines were not told");
                Vec::new()
            });
            let line = |line: logs::LogView| json!({"log": line.text, "timestamp": line.at, "level": level_name(line.level)});
            (
                "task.log",
                json!({
                    "jobId": event.job,
                    "runId": event.run,
                    "taskId": lease.task.id(),
                    "stage": lease.task.stage.as_str(),
                    "index": lease.task.index,
                    "attempt": lease.attempt,
                    "lines": lines.into_iter().map(line).collect::<Vec<_>>(),
                }),
            )
        }
    }
}
