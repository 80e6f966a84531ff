//! One container that stays, and the tasks that run in it.

use std::io;

use common::error_chain::chain;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::home::{Home, Places};
use super::link::Link;
use super::living::Alive;
use super::{Pool, Shape};
use crate::logs::LogBook;
use crate::runtime::docker::{Docker, Made, Removal, Root};
use crate::runtime::{Ended, Error, Launch};

/// A container that stays.
#[derive(Debug)]
pub struct Warm {
    pub(super) shape: Shape,
    /// The folders as they were when they were mounted: a new one of the same name is another.
    pub(super) mounted: Vec<(u64, u64)>,
    pub(super) removal: Removal,
    pub(super) made: Made,
    /// Where tasks can write to it.
    pub(super) root: Option<Root>,
    pub(super) link: Option<Link>,
    pub(super) home: Home,
    pub(super) made_at: Instant,
    pub(super) waits_since: Instant,
    pub(super) tasks: u32,
    pub(super) pool: Pool,
    pub(super) _alive: Alive,
}

impl Warm {
    /// Runs a task, whose files lie at `places` before and after it.
    pub async fn run(
        mut self,
        engine: &Docker,
        launch: &Launch,
        places: Places,
        logs: &LogBook,
        started: impl FnOnce() + Send,
        stop: &CancellationToken,
    ) -> Result<Ended, Error> {
        let launch = self.launch(launch);
        let ran = self.attended(engine, &launch, &places, logs, started, stop).await;
        let is_ended = ran.as_ref().is_ok_and(|_| self.link.is_some());
        self.tasks += 1;
        let moved = places.clone();
        let (left, warm) = blocking(move || {
            let left = if is_ended { self.left(&moved) } else { Err(io::Error::other("")) };
            (left, self)
        })
        .await?;
        if let (Ok(()), true) = (&left, is_ended) {
            warm.pool.clone().give(warm);
            return ran;
        }
        if let (Err(error), true) = (&left, is_ended) {
            tracing::info!(error = %chain(error), "a container is not used again");
        }
        warm.removal.remove(&warm.made).await;
        let Self { home, .. } = warm;
        blocking(move || home.abandon(&places)).await??;
        ran
    }

    async fn attended(
        &mut self,
        engine: &Docker,
        launch: &Launch,
        places: &Places,
        logs: &LogBook,
        started: impl FnOnce() + Send,
        stop: &CancellationToken,
    ) -> Result<Ended, Error> {
        self.home.enter(places)?;
        let gone = || io::Error::other("the container has no supervisor");
        let link = self.link.take().ok_or_else(gone)?;
        let attended = engine.attend(&self.made, link, launch, logs, started, stop).await?;
        self.link = attended.link;
        Ok(attended.ended)
    }

    /// Moves what the task wrote out, and makes sure that it has changed nothing.
    fn left(&self, places: &Places) -> io::Result<()> {
        self.home.leave(places)?;
        self.root.as_ref().map_or(Ok(()), Root::check)
    }

    /// The task's launch, as it is in this container.
    fn launch(&self, launch: &Launch) -> Launch {
        let mut launch = launch.clone();
        launch.results.host = self.home.results();
        let shared = (0..launch.shared.len()).map(|n| self.home.shared().join(n.to_string()));
        launch.shared = shared.collect();
        launch
    }

    /// Removes the container and its folders.
    pub async fn remove(self) {
        self.removal.remove(&self.made).await;
        let Self { home, .. } = self;
        if let Err(error) = blocking(move || drop(home)).await {
            tracing::warn!(error = %chain(&error), "a container's folders cannot be removed");
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}
