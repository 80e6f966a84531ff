//! Answers schedules that are due: each job is resolved as it is now, with the rights of who has
//! set its schedule, and the coordinator decides what becomes of the nominal time.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use common::error_chain::chain;
use common::run::spec::RunSpec;
use common::schedule::Schedule;
use futures::{FutureExt as _, StreamExt as _};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::coordinator::{Fire, Fires};
use crate::error::{Error, Kind, Result};
use crate::jobs::monitoring::status::find_job;
use crate::jobs::resolve::resolve_as_it_is;
use crate::people::caller;

/// Schedules that are answered at once.
const AT_ONCE: usize = 32;
/// The waits between tries double up to a most, while a part of the server's own is away.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Tries where the server itself fails.
const TRIES: u32 = 5;

/// Answers schedules that are due, until told to stop.
pub async fn run(app: App, fires: Fires, stop: CancellationToken) {
    let answers =
        ReceiverStream::new(fires).for_each_concurrent(AT_ONCE, |fire| answer(&app, fire));
    tokio::select! {
        () = stop.cancelled() => {}
        () = answers => {}
    }
}

/// Answers one; what is away is waited for.
async fn answer(app: &App, fire: Fire) {
    let mut wait = FIRST_WAIT;
    for tries in 1.. {
        let error = match try_answer(app, fire, tries >= TRIES).await {
            Ok(()) => return,
            Err(error) => error,
        };
        tracing::warn!(job = %fire.job, tries, error = %chain(&error), "a schedule waits");
        tokio::time::sleep(wait).await;
        wait = WAIT_MAX.min(wait * 2);
    }
}

/// # Errors
/// Where trying again may help. `is_last` makes a failure of the server's own an answer.
async fn try_answer(app: &App, fire: Fire, is_last: bool) -> Result<()> {
    let Some(schedule) = app.coordinator.due_schedule(fire).await? else { return Ok(()) };
    // A job that makes this panic must not end the server again and again.
    let order = AssertUnwindSafe(order(app, &schedule)).catch_unwind().await;
    let order = match order.unwrap_or_else(|_| Err(Error::Internal("a panic".into()))) {
        Ok(spec) => Ok(spec),
        Err(error) if may_pass(&error, is_last) => return Err(error),
        Err(error) if error.kind() == Kind::Internal => {
            tracing::error!(job = %fire.job, error = %chain(&error), "a job cannot be resolved");
            Err("the server could not make the run".to_owned())
        }
        Err(error) => Err(error.to_string()),
    };
    Ok(app.coordinator.fired(fire, order).await?)
}

/// What a run of the schedule's job is now.
async fn order(app: &App, schedule: &Schedule) -> Result<RunSpec> {
    let caller = caller::of_author(app, schedule.author).await?;
    let job = find_job(app, &caller, schedule.job).await?;
    resolve_as_it_is(app, &caller, &job).await
}

fn may_pass(error: &Error, is_last: bool) -> bool {
    match error.kind() {
        Kind::Unavailable
        | Kind::DiskFull
        | Kind::RateLimited
        | Kind::TooManyConcurrent
        | Kind::Timeout => true,
        Kind::Internal => !is_last,
        Kind::InvalidArgument
        | Kind::FailedPrecondition
        | Kind::Unauthenticated
        | Kind::Forbidden
        | Kind::NotFound
        | Kind::MethodNotAllowed
        | Kind::TooLarge
        | Kind::StorageFull
        | Kind::DataLoss => false,
    }
}
