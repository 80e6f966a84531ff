//! Whether the server can do what it is asked: its database and its bucket answer.

use std::time::Duration;

use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use utoipa::ToSchema;

use crate::api::App;
use crate::api::http::call::Call;
use crate::api::http::error::{Error, Result};
use crate::api::http::route::{Route, get};
use crate::store::batches;

/// How long an answer counts.
const FRESH: Duration = Duration::from_secs(1);
/// How long each part has to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// The last answer. Its lock lets one caller ask, and all others wait for what it hears.
#[derive(Default)]
pub struct Readiness(Mutex<Option<(Instant, Option<&'static str>)>>);

impl Readiness {
    /// The part that is away, where one is.
    async fn away(&self, app: &App) -> Option<&'static str> {
        let mut last = self.0.lock().await;
        if let Some((at, away)) = *last
            && at.elapsed() < FRESH
        {
            return away;
        }
        let (database, bucket) = tokio::join!(
            timeout(PATIENCE, batches::last(&app.db)),
            timeout(PATIENCE, app.data.probe()),
        );
        let away = match (database, bucket) {
            (Ok(Ok(_)), Ok(Ok(()))) => None,
            (Ok(Ok(_)), _) => Some("bucket"),
            _ => Some("database"),
        };
        *last = Some((Instant::now(), away));
        away
    }
}

pub fn routes() -> Vec<Route> {
    vec![
        get("Server_GetReadiness", "/readyz", ready)
            .summary("Answers 200 while the database and the bucket answer, and 503 otherwise")
            .open(),
    ]
}

#[derive(Serialize, ToSchema)]
struct Ready {
    ready: bool,
}

async fn ready(call: Call) -> Result<Ready> {
    match call.doors().readiness.away(call.app()).await {
        None => Ok(Ready { ready: true }),
        Some(part) => Err(Error::Away(part)),
    }
}
