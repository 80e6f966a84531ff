//! The container of an attempt that may be one in which others have run.

use std::path::PathBuf;

use common::compute::container::{Isolation, Network, Profile, Sharing};
use common::protocol::Level;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::containers::Ran;
use super::stopped::Stopped;
use super::{Attempt, Event, OwnTexts, Tools};
use crate::runtime::docker::Image;
use crate::runtime::launch::{self, Folders, Launches};
use crate::runtime::warm::{Common, GUEST, Places, Pool, Shape, Warm};
use crate::runtime::{Entry, Error};
use crate::server_client::ServerClient;

/// An attempt whose container has a supervisor.
#[derive(Debug)]
pub struct Warmed<'a> {
    shape: Shape,
    image: &'a Image,
    own: OwnTexts<'a>,
    /// Made before its turn.
    made: Option<Warm>,
}

impl<'a> Warmed<'a> {
    /// `None` where the attempt's containers are ones that the engine makes and starts for it.
    pub fn of<R>(
        attempt: &Attempt,
        tools: &Tools<R>,
        launches: &Launches,
        images: &'a [Image],
        own: OwnTexts<'a>,
    ) -> Option<Self> {
        let (work, spec) = (&attempt.work, &attempt.work.container);
        let is_alone = launches.steps.len() == 1 && launches.sides.is_empty();
        // Who lets her runs share containers knows that their roots are looked through.
        let is_sealed = spec.profile == Profile::Sealed || work.sharing == Sharing::Workspace;
        let is_sealed = is_sealed && spec.network == Network::None;
        let step = launches.steps.first()?;
        let has_command = matches!(step.entry, Entry::Commands(_));
        let is_free = !spec.mount_points().any(|path| path.is_within(GUEST));
        let can = is_free && is_alone && is_sealed && has_command && attempt.gpu.is_none();
        if !can || !tools.warm.works(spec.profile) {
            return None;
        }
        let folders = own.folders;
        let caches = folders.caches.map(|caches| [caches.user.clone(), caches.shared.clone()]);
        let mounted: Vec<PathBuf> = folders
            .app
            .map(ToOwned::to_owned)
            .into_iter()
            .chain(caches.into_iter().flatten())
            .collect();
        let image = images.get(step.image)?;
        let cache_bytes_max = folders.caches.map(|caches| caches.user_bytes_max);
        let shape = Shape::of(work, image, Common { folders: mounted, cache_bytes_max });
        Some(Self { shape, image, own, made: None })
    }

    /// Before its turn: makes a container, where none waits for the attempt.
    pub async fn prepare<R>(&mut self, attempt: &Attempt, tools: &Tools<R>) -> Result<(), Stopped> {
        let is_fresh = attempt.work.container.isolation == Isolation::Fresh;
        if is_fresh || !tools.warm.has(&self.shape) {
            let made = self.make(attempt, tools).await?;
            match made {
                Some(made) if is_fresh => self.made = Some(made),
                Some(made) => tools.warm.give(made),
                None => {}
            }
        }
        Ok(())
    }

    /// Runs the attempt's program; `None` where no container has a supervisor after all.
    pub async fn run<R: ServerClient>(
        &mut self,
        attempt: &Attempt,
        tools: &Tools<R>,
        launches: &Launches,
        events: &mpsc::Sender<Event>,
        stop: &CancellationToken,
    ) -> Result<Option<Ran>, Stopped> {
        let Some(launch) = launches.steps.first() else { return Err(Stopped::Cancelled) };
        let (lease, logs) = (attempt.lease, &tools.logs);
        logs.note(lease, Level::Info, "container is starting");
        let warm = match self.made.take().or_else(|| tools.warm.take(&self.shape)) {
            Some(warm) => warm,
            None => match self.make(attempt, tools).await? {
                Some(warm) => warm,
                None => return Ok(None),
            },
        };
        let started = || {
            tracing::debug!("container started");
            logs.note(lease, Level::Info, "container started");
            // A full channel loses only the running time that is shown.
            let _ = events.try_send(Event::Started(lease));
        };
        let folders = self.own.folders;
        let places = Places {
            inputs: folders.inputs.to_owned(),
            results: folders.results.to_owned(),
            shared: launch.shared.clone(),
            spare: self.own.spare.to_owned(),
            spec: launches.spec.clone(),
        };
        let engine = &tools.engine;
        let ended = warm.run(engine, launch, places, logs, started, stop).await?;
        ended.log();
        Ok(Some(Ran { ended, name: launch.name.clone() }))
    }

    /// Gives back what was made and not used.
    pub async fn leave(&mut self) {
        if let Some(made) = self.made.take() {
            made.remove().await;
        }
    }

    async fn make<R>(&self, attempt: &Attempt, tools: &Tools<R>) -> Result<Option<Warm>, Stopped> {
        let OwnTexts { folders, share, .. } = self.own;
        let pool: &Pool = &tools.warm;
        let made = pool
            .make(&tools.engine, &self.shape, &attempt.work, self.image, |home| {
                let (inputs, results) = (home.inputs(), home.results());
                let (files, shared) = (home.files(), home.shared());
                let folders = Folders {
                    inputs: &inputs,
                    results: &results,
                    files: &files,
                    shared: &shared,
                    ..folders
                };
                let Attempt { lease, work, environment, .. } = attempt;
                let launches = launch::launches(*lease, work, environment, folders, share)?;
                let none = || Error::Unusable("has no step".into());
                launches.steps.into_iter().next().ok_or_else(none)
            })
            .await?;
        Ok(made)
    }
}
