//! Waiting for a job to come further.

use common::ids::JobId;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use super::status::{JobState, JobStatus, RunName, find};
use crate::app::App;
use crate::coordinator::{Change, RunEvent};
use crate::error::Result;
use crate::people::caller::Caller;

/// The caller's job, or run, once its state is enough, or at `until` as it is then. Dropping the future
/// ends the wait.
pub async fn wait(
    app: &App,
    caller: &Caller,
    name: impl Into<RunName>,
    is_enough: impl Fn(JobState) -> bool,
    until: Instant,
) -> Result<JobStatus> {
    // Listens before it looks, so that no change falls in between.
    let mut events = app.coordinator.events();
    let name = name.into();
    loop {
        let (job, run) = find(app, caller, name).await?;
        let id = job.id;
        if is_enough(JobState::of(run.as_ref())) || Instant::now() >= until {
            return JobStatus::of(app, job, run).await;
        }
        tokio::select! {
            () = tokio::time::sleep_until(until) => {}
            () = changed(&mut events, id) => {}
        }
    }
}

/// Comes back when the job's state has changed, or may have.
async fn changed(events: &mut Receiver<RunEvent>, job: JobId) {
    loop {
        match events.recv().await {
            Ok(event) if event.job == job && matches!(event.change, Change::State { .. }) => {
                return;
            }
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => return,
            // The coordinator is gone, and so will the server be.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
