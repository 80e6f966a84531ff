//! The parts without which a server is none. One that ends unasked ends the whole server, so that
//! whoever keeps it running starts it again: a process that went on without it would take requests
//! and answer none.

use std::convert::Infallible;
use std::error::Error;
use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Watches over the vital parts; clones watch together.
#[derive(Debug, Clone)]
pub struct Vitals {
    stop: CancellationToken,
    /// What died first, and of what.
    died: watch::Sender<Option<String>>,
}

impl Vitals {
    /// `stop` asks all parts to end.
    pub fn new(stop: CancellationToken) -> Self {
        Self { stop, died: watch::Sender::new(None) }
    }

    pub const fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Waits until a part has died, and says which and of what.
    ///
    /// # Panics
    ///
    /// Never: the sender is this handle's own.
    pub async fn died(&self) -> String {
        let mut died = self.died.subscribe();
        let cause = died.wait_for(Option::is_some).await.expect("this handle keeps the sender");
        cause.clone().unwrap_or_default()
    }

    /// Sees a part to its end, which is a death unless it was asked for.
    pub async fn attend(self, part: &'static str, work: impl Future<Output = ()>) {
        let work = work.map(Ok::<(), Infallible>);
        self.attend_fallible(part, work).await;
    }

    /// The same, of a part that may fail.
    pub async fn attend_fallible<E: Error>(
        self,
        part: &'static str,
        work: impl Future<Output = Result<(), E>>,
    ) {
        let cause = match AssertUnwindSafe(work).catch_unwind().await {
            Ok(Ok(())) if self.stop.is_cancelled() => return,
            Ok(Ok(())) => "it ended unasked".to_owned(),
            Ok(Err(error)) => match error.source() {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            },
            Err(_) => "it broke down; its last words are in the log".to_owned(),
        };
        tracing::error!(part, cause, "a part of the server has died");
        self.died.send_if_modified(|died| {
            let first = died.is_none();
            died.get_or_insert(format!("{part}: {cause}"));
            first
        });
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[tokio::test]
    async fn every_death_is_noticed_and_the_first_is_told() {
        let vitals = Vitals::new(CancellationToken::new());

        vitals.clone().attend("heart", async { panic!("on purpose") }).await;
        vitals.clone().attend("lung", async {}).await;

        assert_eq!(vitals.died().await, "heart: it broke down; its last words are in the log");
        let vitals = Vitals::new(CancellationToken::new());
        let failing = async { Err(io::Error::other("full")) };
        vitals.clone().attend_fallible("disk", failing).await;
        assert_eq!(vitals.died().await, "disk: full");
    }

    #[tokio::test]
    async fn what_was_told_to_stop_has_not_died() {
        let vitals = Vitals::new(CancellationToken::new());
        vitals.stop().cancel();

        vitals.clone().attend("heart", async {}).await;

        assert_eq!(vitals.died().now_or_never(), None);
    }
}
