//! Gives operators what their nodes have earned, once it is old enough.
//!
//! It takes no input, so a pass that is lost costs time and nothing else.

use std::time::Duration;

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use common::error_chain::chain;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::coordinator::{self, Booking, Coordinator};
use crate::store;
use crate::store::Db;
use crate::store::money::releases;

/// One line a pass on each operator's statement. Passes are at full hours, so that it can be said
/// when something will be payable.
const PERIOD: TimeDelta = TimeDelta::hours(1);

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("database")]
    Db(#[from] store::Error),
    #[error(transparent)]
    Coordinator(#[from] coordinator::Error),
}

/// Passes at once and at every full hour, until told to stop.
pub async fn run(db: Db, coordinator: Coordinator, delay: TimeDelta, stop: CancellationToken) {
    loop {
        if let Err(error) = pass(&db, &coordinator, delay).await {
            tracing::warn!(
                error = %chain(&error),
                "earnings could not be released, trying again later"
            );
        }
        let now = clock::now();
        let wait = (next_pass(now) - now).to_std().unwrap_or(Duration::ZERO);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// When what was earned at this time can be paid out, at the latest.
pub(crate) fn payable_at(earned_at: DateTime<Utc>, delay: TimeDelta) -> DateTime<Utc> {
    next_pass(earned_at + delay)
}

/// The full hour after this time.
fn next_pass(at: DateTime<Utc>) -> DateTime<Utc> {
    at.duration_trunc(PERIOD).unwrap_or(at) + PERIOD
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
        let (shards, shares) = (release.ranges.len(), release.shares.len());
        coordinator.book(Booking::Release(release)).await?;
        tracing::info!(shards, shares, "earnings released");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earnings_are_payable_at_the_full_hour_after_their_delay() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let day = TimeDelta::days(1);
        for (earned, payable) in [
            ("2026-11-28T14:11:35Z", "2026-11-29T15:00:00Z"),
            ("2026-11-28T14:00:00Z", "2026-11-29T15:00:00Z"),
            ("2026-12-31T23:59:59.999999Z", "2027-01-02T00:00:00Z"),
        ] {
            assert_eq!(payable_at(at(earned), day), at(payable), "{earned}");
        }
    }
}
