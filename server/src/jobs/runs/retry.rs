//! Going on with a run that failed or was cancelled: only what is not done is done, and what was
//! paid stays paid.

use std::time::Duration;

use tokio::time::Instant;

use crate::app::App;
use crate::coordinator;
use crate::error::{Error, Result};
use crate::jobs::monitoring::status::{RunName, find};
use crate::jobs::secret_use;
use crate::people::caller::Caller;

/// A cancelled run, and each part of one, waits this long for its nodes to stop. They do so at
/// once, unless they are silent.
const STOPS_WITHIN: Duration = Duration::from_secs(8);
const STOP_PERIOD: Duration = Duration::from_millis(50);

/// Goes on with the latest run of the caller's job, or with the named one.
pub async fn retry(app: &App, caller: &Caller, name: impl Into<RunName>) -> Result<()> {
    let (job, run) = find(app, caller, name).await?;
    secret_use::check_job(caller, &job)?;
    let run = run.ok_or_else(|| Error::NotNow("this job has not run: run it".to_owned()))?;
    let until = Instant::now() + STOPS_WITHIN;
    while let Err(error) = app.coordinator.retry(job.id, run.id).await {
        let is_to_stop = matches!(error, coordinator::Error::StillStopping);
        if !is_to_stop || Instant::now() > until {
            return Err(error.into());
        }
        tokio::time::sleep(STOP_PERIOD).await;
    }
    tracing::info!(job = %job.id, run = %run.id, "run goes on where it had ended");
    Ok(())
}
