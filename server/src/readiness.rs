//! Whether the server can do what it is asked: its database and its bucket answer.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::app::App;
use crate::store::market::batch_number;

/// How long an answer counts.
const FRESH: Duration = Duration::from_secs(1);
/// How long each part has to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// The last answer. Its lock lets one caller ask, and all others wait for what it hears.
#[derive(Default)]
pub struct Readiness(Mutex<Option<(Instant, Option<&'static str>)>>);

impl Readiness {
    /// What is away, where something is.
    pub async fn away(&self, app: &App) -> Option<&'static str> {
        let mut last = self.0.lock().await;
        if let Some((at, away)) = *last
            && at.elapsed() < FRESH
        {
            return away;
        }
        let (database, bucket) = tokio::join!(
            timeout(PATIENCE, batch_number::last(&app.db)),
            timeout(PATIENCE, app.data.probe()),
        );
        let away = match (database, bucket) {
            (Ok(Ok(_)), Ok(Ok(()))) => None,
            (Ok(Ok(_)), _) => Some("bucket"),
            (_, Ok(Ok(()))) => Some("database"),
            (_, _) => Some("database and its bucket"),
        };
        *last = Some((Instant::now(), away));
        away
    }
}
