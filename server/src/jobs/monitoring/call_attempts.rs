//! The attempts of a run's calls, with what each gave.

use chrono::{DateTime, Utc};
pub use common::call::Answer;
use common::run::task::Lease;

use super::status::{RunName, find};
use crate::app::App;
use crate::error::Result;
use crate::people::caller::Caller;
use crate::store::market::tasks;
use crate::store::market::tasks::call_answers;
pub use crate::store::market::tasks::call_answers::Place;

/// The most attempts of one page.
pub const LIST_MAX: u32 = 100;

/// One try of a call.
#[derive(Debug)]
pub struct CallAttempt {
    pub lease: Lease,
    pub began_at: DateTime<Utc>,
    /// `None` while it is under way.
    pub answer: Option<Answer>,
    /// When the next one is due.
    pub next_at: Option<DateTime<Utc>>,
}

/// The attempts of a run's calls after this one, at most `limit`, the first first; those under way
/// come last.
pub async fn list(
    app: &App,
    caller: &Caller,
    run: impl Into<RunName>,
    after: Option<Place>,
    limit: u32,
) -> Result<Vec<CallAttempt>> {
    let (_, run) = find(app, caller, run).await?;
    let Some(run) = run else { return Ok(Vec::new()) };
    let limit = limit.clamp(1, LIST_MAX);
    // Read first: an attempt that ends in between is in the second.
    let under_way = tasks::calls_under_way(&app.db, run.id).await?;
    let found = call_answers::find(&app.db, run.id, after, limit.into()).await?;
    let is_last = found.len() < limit as usize;
    let mut attempts: Vec<CallAttempt> = found
        .into_iter()
        .map(|record| CallAttempt {
            lease: record.lease,
            began_at: record.began_at,
            answer: Some(record.answer),
            next_at: record.next_at,
        })
        .collect();
    if is_last {
        let is_new = |lease: Lease| !attempts.iter().any(|attempt| attempt.lease == lease);
        let going: Vec<CallAttempt> = under_way
            .into_iter()
            .filter(|(lease, _)| is_new(*lease))
            .map(|(lease, began_at)| CallAttempt { lease, began_at, answer: None, next_at: None })
            .collect();
        attempts.extend(going);
    }
    Ok(attempts)
}
