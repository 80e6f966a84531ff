//! SIGINT and SIGTERM, as a token that every part watches.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::client::failure::Failure;

/// A token that is cancelled by the first SIGINT or SIGTERM. The second ends the process at once:
/// nothing is lost by it.
pub fn stop() -> Result<CancellationToken, Failure> {
    let failed = |error| Failure::local("cannot listen for signals", error);
    let mut interrupts = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminations = signal(SignalKind::terminate()).map_err(failed)?;
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupts.recv() => {}
                _ = terminations.recv() => {}
            }
            if told.is_cancelled() {
                std::process::exit(130);
            }
            told.cancel();
        }
    });
    Ok(stop)
}
