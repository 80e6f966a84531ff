//! Gives operators what their nodes have earned, once it is old enough.
//!
//! It takes no input, so a pass that is lost costs time and nothing else.

use std::time::Duration;

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::coordinator::{self, Booking, Coordinator};
use crate::store::{self, Db, releases};

/// One line a pass on each operator's statement.
const PERIOD: Duration = Duration::from_secs(3600);

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("database")]
    Db(#[from] store::Error),
    #[error(transparent)]
    Coordinator(#[from] coordinator::Error),
}

/// Passes every hour, until told to stop.
pub async fn run(db: Db, coordinator: Coordinator, delay: TimeDelta, stop: CancellationToken) {
    let mut period = tokio::time::interval(PERIOD);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = period.tick() => {}
        }
        if let Err(error) = pass(&db, &coordinator, delay).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "earnings could not be released, trying again later");
        }
    }
}

/// Releases all that is due, in bounded parts.
pub(crate) async fn pass(
    db: &Db,
    coordinator: &Coordinator,
    delay: TimeDelta,
) -> Result<(), Error> {
    // What is captured from now on is due later, whatever the delay.
    let then = clock::now() - delay;
    while let Some(release) = releases::due(db, then).await? {
        let (through, operators) = (release.through, release.shares.len());
        coordinator.book(Booking::Release(release)).await?;
        tracing::info!(through, operators, "earnings released");
    }
    Ok(())
}
