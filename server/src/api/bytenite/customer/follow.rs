//! Following a job: waiting for its state to change, and asking why it waits.

use std::time::Duration;

use common::ids::JobId;
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::job_out::{self, JobAnswer};
use super::jobs;
use super::states::{self, STATES};
use super::why::{self, Why};
use crate::api::bytenite::words;
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, get};
use crate::api::http::shape::{integer, word};
use crate::coordinator::Change;
use crate::error::{Error, Result};

/// Seconds.
const WAIT_MAX: u64 = 60;

pub fn routes() -> Vec<Route> {
    vec![
        get("Customer_GetJob", "/jobs/{jobId}", read)
            .summary("Reads a job; with wait, once its state is another")
            .query(vec![
                integer("wait", "Seconds to wait for a change"),
                word("state", &STATES, "With wait: the state to wait for the end of"),
            ]),
        get("Customer_ExplainJob", "/jobs/{jobId}/explain", explain)
            .summary("Says what a job waits for"),
    ]
}

/// Reads a job. With `wait=SECONDS` in the query the answer comes when the job has ended, or,
/// with `state` beside it, when it is no longer in that state; at the latest after that time.
async fn read(id: Segment, call: Call) -> Result<JobAnswer> {
    let caller = call.caller().await?;
    let query = call.query()?;
    let secs = match query.get("wait") {
        None => 0,
        Some(text) => {
            let secs = text.parse().ok().filter(|secs| *secs <= WAIT_MAX);
            let problem = || Error::field("wait", format!("must be seconds, at most {WAIT_MAX}"));
            secs.ok_or_else(problem)?
        }
    };
    let state = query.get("state").filter(|state| !state.is_empty());
    if let Some(unknown) = state.filter(|state| !STATES.contains(&state.as_str())) {
        let problem = format!("{unknown:?} is not one of {}", STATES.join(", "));
        return Err(Error::field("state", problem));
    }
    let app = call.app();
    let until = Instant::now() + Duration::from_secs(secs);
    // Listens before it looks, so that no change falls in between.
    let mut events = app.coordinator.events();
    let _place = match secs {
        0 => None,
        _ => Some(call.doors().places.waits.try_take(caller.workspace)?),
    };
    loop {
        let job = jobs::find(app, &caller, &id).await?;
        let run = job_out::run_of(app, &job).await?;
        let enough = match state {
            Some(state) => states::of_job(run.as_ref()) != state,
            None => run.as_ref().is_some_and(|run| run.state.is_final()),
        };
        if enough || Instant::now() >= until {
            return job_out::answer(app, job, run).await;
        }
        tokio::select! {
            () = tokio::time::sleep_until(until) => {}
            () = call.doors().stop.cancelled() => return Err(Error::Unavailable),
            () = changed(&mut events, &job) => {}
        }
    }
}

/// Comes back when the job's state has changed, or may have.
async fn changed(
    events: &mut tokio::sync::broadcast::Receiver<crate::coordinator::RunEvent>,
    job: &crate::store::jobs::Job,
) {
    loop {
        match events.recv().await {
            Ok(event) if event.job == job.id && matches!(event.change, Change::State { .. }) => {
                return;
            }
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => return,
            // The coordinator is gone, and so will the server be.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Explained {
    #[schema(value_type = String)]
    job_id: JobId,
    #[schema(value_type = words::JobState)]
    state: &'static str,
    /// Whether it waits for a node, for its start, or for a place among the server's steps.
    waiting: bool,
    /// The nodes that were looked at.
    nodes: Option<usize>,
    reasons: Vec<String>,
}

/// Tells why a job waits: what keeps how many nodes from its next task.
async fn explain(id: Segment, call: Call) -> Result<Explained> {
    let caller = call.caller().await?;
    let app = call.app();
    let job = jobs::find(app, &caller, &id).await?;
    let run = job_out::run_of(app, &job).await?;
    let state = states::of_job(run.as_ref());
    let Why { waiting, nodes, reasons } = why::of(app, run.as_ref()).await?;
    Ok(Explained { job_id: job.id, state, waiting, nodes, reasons })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::api::testing::Door;

    #[tokio::test]
    async fn a_job_that_nobody_can_run_says_so() {
        let door = Door::open().await;
        let id = door.running_job().await;
        let job = format!("/v1/customer/jobs/{id}");
        let (_, at) = door.get(&format!("{job}?wait=20&state=JOB_STATE_STARTED")).await;
        assert_ne!(at["job"]["state"], "JOB_STATE_STARTED");
        for state in ["JOB_STATE_UPLOADING", "JOB_STATE_PARTITIONING"] {
            door.get(&format!("{job}?wait=20&state={state}")).await;
        }

        let (status, body) = door.get(&format!("{job}/explain")).await;

        assert_eq!((status, &body["state"]), (200, &json!("JOB_STATE_PARTITIONED")), "{body}");
        assert_eq!(body["reasons"], json!(["no node has joined"]));
        let (_, shown) = door.get(&job).await;
        assert_eq!(shown["job"]["errorMessage"], "no node has joined");
        let (_, progress) = door.get(&format!("{job}/progress")).await;
        assert_eq!(progress["error"], "no node has joined");
        let stranger = door.stranger().await;
        let path = format!("{job}/explain");
        assert_eq!(door.call_as(&stranger, reqwest::Method::GET, &path, None).await.0, 404);
    }

    #[tokio::test]
    async fn a_job_waits_for_its_start_and_says_so() {
        let door = Door::open().await;
        let draft = json!({"startAt": "2027-01-31T12:00:00Z"});
        let id = door.running_job_with(draft, json!({})).await;
        let job = format!("/v1/customer/jobs/{id}");

        let (_, body) = door.get(&format!("{job}/explain")).await;

        assert_eq!((&body["state"], &body["waiting"]), (&json!("JOB_STATE_STARTED"), &json!(true)));
        assert_eq!(body["reasons"], json!(["its start is set for 2027-01-31T12:00:00Z"]));
        let (_, shown) = door.get(&job).await;
        assert_eq!(shown["job"]["errorMessage"], "its start is set for 2027-01-31T12:00:00Z");
        let (_, balance) = door.get("/v1/wallet/balance").await;
        assert_ne!(balance["totalBalance"], balance["availableBalance"]);
        assert_eq!(door.post(&format!("{job}/abort"), json!({})).await.0, 200);
        assert_eq!(door.get(&job).await.1["job"]["state"], "JOB_STATE_FAILED");
        let (_, balance) = door.get("/v1/wallet/balance").await;
        assert_eq!(balance["totalBalance"], balance["availableBalance"]);
    }

    #[tokio::test]
    async fn waiting_ends_with_the_job() {
        let door = Door::open().await;
        let id = door.running_job().await;
        let job = format!("/v1/customer/jobs/{id}");
        let (wait, abort) = (format!("{job}?wait=60"), format!("{job}/abort"));

        let (waited, aborted) = tokio::join!(door.get(&wait), door.post(&abort, json!({})));

        assert_eq!((waited.0, aborted.0), (200, 200));
        assert_eq!(waited.1["job"]["state"], "JOB_STATE_FAILED");
        assert_eq!(door.get(&format!("{job}?wait=61")).await.0, 400);
        assert_eq!(door.get(&format!("{job}?wait=-1")).await.0, 400);
    }
}
