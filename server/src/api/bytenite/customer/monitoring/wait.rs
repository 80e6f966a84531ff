//! Reading a job, and waiting for its state to change.

use common::ids::JobId;
use std::time::Duration;

use tokio::time::Instant;

use crate::api::bytenite::customer::job_out::JobAnswer;
use crate::api::bytenite::customer::states;
use crate::api::bytenite::customer::states::STATES;
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, get};
use crate::api::http::shape::{integer, word};
use crate::error::{Error, Result};
use crate::jobs::monitoring::status;
use crate::jobs::monitoring::status::JobState;
use crate::jobs::monitoring::wait::wait;

/// Seconds.
const WAIT_MAX: u64 = 60;

pub fn routes() -> Vec<Route> {
    vec![
        get("Customer_GetJob", "/jobs/{jobId}", read)
            .summary("Gets a job; wait blocks until its state changes")
            .query(vec![
                integer("wait", "Seconds to wait for a change"),
                word("state", &STATES, "With wait: the state to wait for the end of"),
            ]),
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
    let id = id.id::<JobId>("job")?;
    if secs == 0 {
        return Ok(status::read(call.app(), &caller, id).await?.into());
    }
    let until = Instant::now() + Duration::from_secs(secs);
    let is_enough = |now: JobState| match state {
        Some(state) => states::of(now) != state,
        None => now.has_ended(),
    };
    let state = call.state();
    let _permit = state.permits.waits.try_take(caller.workspace)?;
    tokio::select! {
        () = state.stop.cancelled() => Err(Error::Unavailable),
        job = wait(call.app(), &caller, id, is_enough, until) => Ok(job?.into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::api::testing::TestServer;

    #[tokio::test]
    async fn waiting_request_ends_with_the_job() {
        let server = TestServer::open().await;
        let id = server.running_job().await;
        let job = format!("/v1/customer/jobs/{id}");
        let (wait, abort) = (format!("{job}?wait=60"), format!("{job}/abort"));

        let (waited, aborted) = tokio::join!(server.get(&wait), server.post(&abort, json!({})));

        assert_eq!((waited.0, aborted.0), (200, 200));
        assert_eq!(waited.1["job"]["state"], "JOB_STATE_FAILED");
        assert_eq!(server.get(&format!("{job}?wait=61")).await.0, 400);
        assert_eq!(server.get(&format!("{job}?wait=-1")).await.0, 400);
    }
}
