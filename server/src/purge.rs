//! Deletes from the bucket what no link leads to any more: the data of runs that ended 48 hours
//! ago.
//!
//! It takes no input, so a pass that is lost costs time and nothing else.

use std::time::Duration;

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::data::{self, Data};
use crate::store::{Db, runs};

/// How long results can be downloaded.
pub const RESULTS_LIVE: TimeDelta = TimeDelta::hours(48);
const PERIOD: Duration = Duration::from_secs(600);
const PAGE: u64 = 100;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("database")]
    Db(#[from] crate::store::Error),
    #[error("bucket")]
    Data(#[from] data::Error),
}

/// Passes every ten minutes, until told to stop.
pub async fn run(db: Db, data: Data, stop: CancellationToken) {
    let mut period = tokio::time::interval(PERIOD);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = period.tick() => {}
        }
        if let Err(error) = pass(&db, &data).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "old results could not be deleted, trying again later");
        }
    }
}

async fn pass(db: &Db, data: &Data) -> Result<(), Error> {
    loop {
        let page = runs::ended_before(db, clock::now() - RESULTS_LIVE, PAGE).await?;
        for (run, job) in &page {
            data.purge_run(*run).await?;
            data.purge_upload(*job).await?;
            runs::set_purged(db, *run).await?;
        }
        if page.is_empty() {
            return Ok(());
        }
    }
}
