//! What a server does by itself from time to time.

mod daily_checks;
pub mod earnings;
mod purge;
mod storage_fees;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::coordinator::Coordinator;
use crate::data::Data;
use crate::store::Db;

/// Starts all of it; it ends after `stop`.
pub fn start(
    config: &Config,
    db: &Db,
    data: &Data,
    coordinator: &Coordinator,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) {
    let ages = purge::Ages::of(config.storage);
    tasks.spawn(purge::run(db.clone(), data.clone(), ages, stop.clone()));
    let fee = storage_fees::Fee::of(config.storage);
    tasks.spawn(storage_fees::run(db.clone(), coordinator.clone(), fee, stop.clone()));
    let delay = config.wallet.earnings_delay();
    tasks.spawn(earnings::run(db.clone(), coordinator.clone(), delay, stop.clone()));
    tasks.spawn(daily_checks::run(db.clone(), stop.clone()));
}
