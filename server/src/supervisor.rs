//! Supervises the critical tasks of a server. When one ends without being asked to, the whole server
//! ends, so that its service manager starts it again: without that task it would accept requests and
//! answer none.

use std::convert::Infallible;
use std::error::Error;
use std::panic::AssertUnwindSafe;

use common::error_chain::chain;
use futures::FutureExt as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Runs critical tasks; clones supervise together.
#[derive(Debug, Clone)]
pub struct Supervisor {
    stop: CancellationToken,
    /// The task that failed first, and why.
    failed: watch::Sender<Option<String>>,
}

impl Supervisor {
    /// `stop` asks all tasks to end.
    pub fn new(stop: CancellationToken) -> Self {
        Self { stop, failed: watch::Sender::new(None) }
    }

    pub const fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Waits until a task has failed, and gives which one and why.
    ///
    /// # Panics
    ///
    /// Never: the sender is this handle's own.
    pub async fn failed(&self) -> String {
        let mut failed = self.failed.subscribe();
        let cause = failed.wait_for(Option::is_some).await.expect("this handle keeps the sender");
        cause.clone().unwrap_or_default()
    }

    /// Runs a task to its end, which is a failure unless `stop` was cancelled.
    pub async fn run(self, task: &'static str, work: impl Future<Output = ()>) {
        let work = work.map(Ok::<(), Infallible>);
        self.run_fallible(task, work).await;
    }

    /// The same, of a task that may fail.
    pub async fn run_fallible<E: Error>(
        self,
        task: &'static str,
        work: impl Future<Output = Result<(), E>>,
    ) {
        let cause = match AssertUnwindSafe(work).catch_unwind().await {
            Ok(Ok(())) if self.stop.is_cancelled() => return,
            Ok(Ok(())) => "it ended without being asked to".to_owned(),
            Ok(Err(error)) => chain(&error).to_string(),
            Err(_) => "it panicked (see the log)".to_owned(),
        };
        tracing::error!(task, error = cause, "a critical task failed");
        self.failed.send_if_modified(|failed| {
            let first = failed.is_none();
            failed.get_or_insert(format!("{task}: {cause}"));
            first
        });
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[tokio::test]
    async fn supervisor_returns_the_first_failure() {
        let supervisor = Supervisor::new(CancellationToken::new());

        supervisor.clone().run("first", async { panic!("on purpose") }).await;
        supervisor.clone().run("second", async {}).await;

        assert_eq!(supervisor.failed().await, "first: it panicked (see the log)");
        let supervisor = Supervisor::new(CancellationToken::new());
        let failing = async { Err(io::Error::other("full")) };
        supervisor.clone().run_fallible("disk", failing).await;
        assert_eq!(supervisor.failed().await, "disk: full");
    }

    #[tokio::test]
    async fn supervisor_ignores_tasks_that_end_after_stop() {
        let supervisor = Supervisor::new(CancellationToken::new());
        supervisor.stop().cancel();

        supervisor.clone().run("first", async {}).await;

        assert_eq!(supervisor.failed().now_or_never(), None);
    }
}
