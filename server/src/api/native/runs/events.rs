//! What happens to jobs, as it happens.

use common::ids::{JobId, NotAnId};
use common::plan::Phase;
use serde_json::{Value, json};
use warp::http::Method;

use super::cause::RunCauseOut;
use crate::api::Answer;
use crate::api::http::call::Call;
use crate::api::http::event_stream::{self, Words};
use crate::api::http::route::{Route, raw};
use crate::api::http::shape::{Field, Shape, map, one, text, word};
use crate::api::native::words::{LevelOut, PhaseOut, StateOut, TaskStateOut};
use crate::error::{Error, Result};
use crate::jobs::monitoring::events::{Event, LogView, Summary, What};

pub fn routes() -> Vec<Route> {
    vec![
        raw(Method::GET, "Fanfold_StreamEvents", "/events", "text/event-stream", events)
            .summary(
                "Streams what happens to the workspace's jobs: server-sent events, or lines of \
                 JSON where the Accept header does not ask for them",
            )
            .query(vec![
                text("job", "Of this job only"),
                text("last_event_id", "As the header Last-Event-ID: goes on after it"),
            ])
            .endless(LINE),
    ]
}

/// A line of JSON. A server-sent event has the event's name and its data by themselves.
const LINE: &[Field] = &[one("result", &EVENT, "What happened")];
const EVENT: Shape = Shape {
    name: "RunEvent",
    fields: &[
        word(
            "event",
            &["run.state", "run.progress", "task.state", "task.log", "reset"],
            "reset says that events were lost, and gives the state of all jobs in their place",
        ),
        map("data", "What is known of it: job, run, state, and what belongs to the event"),
    ],
};

const WORDS: Words = Words { describe, reset };

async fn events(call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let query = call.query()?;
    let job = query.get("job").map(|id| id.parse::<JobId>()).transpose();
    let job = job.map_err(|bad: NotAnId| Error::field("job", bad.to_string()))?;
    let last = query.get("last_event_id").map(String::as_str);
    event_stream::answer(&call, caller, job, last, WORDS)
}

fn describe(event: Event) -> Vec<(&'static str, Value)> {
    let Event { job, run, what, .. } = event;
    match what {
        What::State { state, phase, cause } => {
            let data = json!({
                "job": job,
                "run": run,
                "state": StateOut::from(state),
                "phase": shown(phase),
                "cause": cause.as_ref().map(RunCauseOut::from),
            });
            vec![("run.state", data)]
        }
        What::Task { task, phase, attempt, state, progress } => {
            let data = json!({
                "job": job,
                "run": run,
                "task": task.id(),
                "phase": shown(phase),
                "index": task.index,
                "attempt": attempt,
                "state": TaskStateOut::from(state),
            });
            // Progress has no event of its own: it is told with each change of a task.
            let progress = progress.map(|progress| {
                let data = json!({
                    "job": job,
                    "run": run,
                    "chunks": progress.chunks,
                    "chunks_done": progress.chunks_done,
                    "tasks_without_results": progress.tasks_without_results,
                    "tasks_running": progress.tasks_running,
                    "nodes_busy": progress.nodes_busy,
                    "price": progress.spent,
                });
                ("run.progress", data)
            });
            [Some(("task.state", data)), progress].into_iter().flatten().collect()
        }
        What::Log { lease, phase, lines } => {
            let line = |line: LogView| json!({"at": line.at, "level": LevelOut::from(line.level), "text": line.text});
            let data = json!({
                "job": job,
                "run": run,
                "task": lease.task.id(),
                "phase": shown(phase),
                "index": lease.task.index,
                "attempt": lease.attempt,
                "lines": lines.into_iter().map(line).collect::<Vec<_>>(),
            });
            vec![("task.log", data)]
        }
    }
}

fn reset(jobs: Vec<Summary>) -> Value {
    let one = |job: Summary| {
        json!({
            "job": job.job,
            "run": job.run,
            "state": StateOut::from(job.state),
            "phase": shown(job.state.phase),
            "cause": job.cause.as_ref().map(RunCauseOut::from),
        })
    };
    json!({ "jobs": jobs.into_iter().map(one).collect::<Vec<_>>() })
}

fn shown(phase: Option<Phase>) -> Option<PhaseOut> {
    phase.map(PhaseOut::from)
}
