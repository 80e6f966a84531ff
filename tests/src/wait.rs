//! Waiting for something to become true: asked again and again, but not forever.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const PAUSE: Duration = Duration::from_millis(25);
/// Long, since other tests may keep the machine busy; what comes is noticed at once.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until there is an answer.
///
/// # Errors
/// What the question fails with; and, after [`PATIENCE`], that there was no answer.
pub async fn until<T>(what: &str, question: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    until_for(PATIENCE, what, question).await
}

pub async fn until_for<T>(
    patience: Duration,
    what: &str,
    mut question: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = question().await? {
            return Ok(answer);
        }
        if start.elapsed() > patience {
            bail!("waited {patience:?} in vain for {what}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}
