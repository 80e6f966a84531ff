//! Following a job: waiting for its state to change, and asking why it waits.

use std::time::Duration;

use common::ids::JobId;
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::job_out::{self, JobAnswer};
use super::jobs;
use crate::api::http::call::{Call, Segment};
use crate::api::http::error::{Error, Result};
use crate::api::http::route::{Route, get};
use crate::api::http::shape::{integer, word};
use crate::api::words;
use crate::coordinator::{Change, Hindrance, Obstacles, PlaceKind, Waiting};
use crate::store::jobs::STATES;

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
            Some(state) => job_out::state_of(run.as_ref()) != state,
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
    let state = job_out::state_of(run.as_ref());
    let waiting = match &run {
        Some(run) if !run.state.is_final() => app.coordinator.waiting(run.id).await?,
        _ => None,
    };
    let hindrance = match (&run, &waiting) {
        (Some(run), None) if !run.state.is_final() => app.coordinator.hindrance(run.id),
        _ => None,
    };
    let nodes = match waiting {
        Some(Waiting::Node(obstacles)) => Some(obstacles.nodes),
        Some(Waiting::Start(_)) | None => None,
    };
    let reasons = match (&run, &waiting) {
        (None, _) => vec!["the job is a draft: run it".to_owned()],
        (Some(run), _) if run.state.is_final() => vec!["the job has ended".to_owned()],
        (Some(_), Some(Waiting::Start(at))) => {
            vec![format!("its start is set for {}", at.format("%Y-%m-%dT%H:%M:%SZ"))]
        }
        (Some(_), Some(Waiting::Node(obstacles))) => reasons(obstacles),
        (Some(_), None) => vec![
            hindrance
                .as_ref()
                .map_or_else(|| "the job waits for no node: it goes on".to_owned(), hindered),
        ],
    };
    let for_place = matches!(hindrance, Some(Hindrance::Own { .. } | Hindrance::All { .. }));
    let waiting = waiting.is_some() || for_place;
    Ok(Explained { job_id: job.id, state, waiting, nodes, reasons })
}

fn hindered(hindrance: &Hindrance) -> String {
    let to_copy = |kind: &PlaceKind| match kind {
        PlaceKind::Step => "",
        PlaceKind::Copy => " to copy its source, whose server gives no ranges",
    };
    match hindrance {
        Hindrance::Own { kind, held, most } => {
            let why = to_copy(kind);
            format!("it waits for a place{why}: your other runs use {held} of {most}")
        }
        Hindrance::All { kind, most } => {
            let why = to_copy(kind);
            format!("it waits for a place{why}: all workspaces together use {most} of {most}")
        }
        Hindrance::Slow(slow) => slow.to_string(),
    }
}

fn reasons(waiting: &Obstacles) -> Vec<String> {
    let mut reasons = Vec::new();
    if waiting.nodes == 0 {
        reasons.push("no node has joined".to_owned());
    } else if waiting.unfit() == waiting.nodes {
        reasons.push("no known node can serve it: it waits for one that can".to_owned());
    }
    if waiting.lacks_credits {
        reasons.push("the wallet cannot cover one more task: top up".to_owned());
    }
    let disk = format!("without {} GiB of disk free for tasks", waiting.disk_mib.div_ceil(1024));
    for (nodes, what) in [
        (waiting.silent, "silent"),
        (waiting.aside, "set aside for this workspace after faults in a row with its tasks"),
        (waiting.failed_probe, "set aside because the server's probe of them failed"),
        (
            waiting.barred,
            "set aside because their operators have given false results to this workspace",
        ),
        (waiting.disputed, "set aside until a third node has checked their results for this job"),
        (waiting.elsewhere, "outside the job's regions"),
        (waiting.too_few_cpus, "too small: too few vCPUs"),
        (waiting.too_little_memory, "too small: too little memory"),
        (waiting.too_little_disk, disk.as_str()),
        (waiting.without_gpu, "without the GPU that it asks for"),
        (waiting.busy, "busy"),
        (waiting.new, "of operators that are new here and have their share of the job"),
        (waiting.failed_there, "where every waiting task has failed before"),
    ] {
        if nodes > 0 {
            reasons.push(format!("{nodes} of {} nodes are {what}", waiting.nodes));
        }
    }
    if reasons.is_empty() {
        reasons.push("nothing: the next task is about to be handed out".to_owned());
    }
    reasons
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
