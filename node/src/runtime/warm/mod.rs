//! Containers that stay: the tasks of one stage of a run follow one another in them, or those of
//! all runs of a workspace that has allowed it.
//!
//! A container is made for one shape, which is everything that its tasks have in common. It is never used for anything else. It goes when a task has left something, when no
//! task has come for a while, and when it is old.

mod container;
mod folder;
mod home;
pub mod link;
mod living;
#[cfg_attr(not(test), expect(dead_code, reason = "a half of it is the supervisor's"))]
pub mod protocol;
mod shape;
#[cfg(test)]
mod tests;

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::compute::container::{Isolation, Profile};
use common::error_chain::chain;
use common::protocol::Work;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::TaskTracker;

use super::docker::{Docker, Image};
use super::{EngineWords, Error, Launch, Mount};
use crate::guest::SUPERVISOR;
pub use container::Warm;
pub use folder::AttemptFolder;
use folder::EmptyFolders;
pub use home::{Home, Places};
use link::{Link, SOCKET, Waiting};
use living::Living;
pub use shape::{Common, Shape};

/// Where containers find the supervisor. Nothing else is mounted there.
pub const GUEST: &str = "/.fanfold";
const PROGRAM: &str = "supervise";
/// What containers can write to beside their mounts, in memory.
const SCRATCH: [&str; 3] = ["/tmp", "/dev/shm", "/dev/mqueue"];
/// How long a container waits for its next task.
const IDLE_MAX: Duration = Duration::from_secs(5);
/// After so long, or so many tasks, a new container is made: what the kernel keeps of what ran in
/// one is bounded so.
const AGE_MAX: Duration = Duration::from_secs(600);
const TASKS_MAX: u32 = 100_000;
/// The most containers that wait for tasks.
const WAITING_MAX: usize = 32;

/// The containers of a node that wait for tasks.
#[derive(Debug, Clone)]
pub struct Pool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    work: PathBuf,
    program: PathBuf,
    waiting: Mutex<Vec<Warm>>,
    /// For the files of tasks while they do not run.
    folders: EmptyFolders,
    /// How many containers there are of each shape, with or without a task.
    living: Living,
    /// Containers that are being removed.
    removals: TaskTracker,
    /// Something removes those that have waited for too long.
    is_swept: AtomicBool,
    /// No supervisor has ever answered: containers have to go without.
    is_broken: AtomicBool,
    /// One has.
    has_worked: AtomicBool,
    /// The engine does not let the node see what containers change of their roots.
    hides_roots: AtomicBool,
}

impl Pool {
    /// Containers have their folders in `work`; `temporary` gets the supervisor's program. Both are
    /// empty at each start of a node.
    pub fn open(work: &Path, temporary: &Path) -> io::Result<Self> {
        let program = temporary.join(PROGRAM);
        fs::write(&program, SUPERVISOR)?;
        fs::set_permissions(&program, Permissions::from_mode(0o755))?;
        Ok(Self(Arc::new(Inner {
            work: work.to_owned(),
            program,
            waiting: Mutex::default(),
            folders: EmptyFolders::default(),
            living: Living::default(),
            removals: TaskTracker::new(),
            is_swept: AtomicBool::new(false),
            is_broken: AtomicBool::new(false),
            has_worked: AtomicBool::new(false),
            hides_roots: AtomicBool::new(false),
        })))
    }

    /// Whether containers of this profile can stay on this machine.
    pub fn works(&self, profile: Profile) -> bool {
        let sees = match profile {
            Profile::Sealed => true,
            Profile::Plain => !self.0.hides_roots.load(Ordering::Relaxed),
        };
        sees && !self.0.is_broken.load(Ordering::Relaxed)
    }

    /// A folder for an attempt at this work.
    pub fn folder(&self, engine: &Docker, work: &Work) -> io::Result<AttemptFolder> {
        self.0.folders.take(engine, &self.0.work, work)
    }

    /// Keeps the folder of an attempt for another one, or removes it. It may take long.
    pub fn leave_folder(&self, folder: AttemptFolder) {
        self.0.folders.give(folder);
    }

    /// A container of this shape that waits for a task.
    pub fn take(&self, shape: &Shape) -> Option<Warm> {
        let mounted = shape.mounted().ok()?;
        loop {
            let warm = {
                let mut waiting = self.0.lock();
                let at = waiting.iter().rposition(|warm| warm.shape == *shape)?;
                waiting.remove(at)
            };
            if warm.link.as_ref().is_some_and(Link::is_quiet) && warm.mounted == mounted {
                return Some(warm);
            }
            self.0.removals.spawn(warm.remove());
        }
    }

    /// The image of the containers of this work, which hold it; `None` where there are none.
    pub fn image(&self, work: &Work) -> Option<Image> {
        self.0.living.image(work)
    }

    /// Whether there is a container of this shape, with or without a task.
    pub fn has(&self, shape: &Shape) -> bool {
        self.0.living.has(shape)
    }

    /// Makes and starts a container. `launch` gives the first task's, for the container's own
    /// folders. `None` where this machine has no such containers.
    pub async fn make(
        &self,
        engine: &Docker,
        shape: &Shape,
        work: &Work,
        image: &Image,
        launch: impl FnOnce(&Home) -> Result<Launch, Error>,
    ) -> Result<Option<Warm>, Error> {
        let mounted = shape.mounted()?;
        let alive = self.0.living.count(shape, work, image);
        let writable =
            |path: &Path| engine.writable_dir(path, work.workspace, work.container.profile);
        let home = Home::make(&self.0.work, &work.container, writable)?;
        fs::hard_link(&self.0.program, home.guest().join(PROGRAM))?;
        let mut launch = launch(&home)?;
        launch.mounts.push(Mount::own(home.guest(), GUEST, false));
        let waiting = Waiting::in_folder(&home.guest())?;
        let scratch = SCRATCH.iter().copied().chain(image.volumes.iter().map(String::as_str));
        let command = [&format!("{GUEST}/{PROGRAM}"), &format!("{GUEST}/{SOCKET}")];
        let command: Vec<_> =
            command.into_iter().map(String::as_str).chain(scratch).map(str::to_owned).collect();
        let Some(made) = engine.make_supervised(&launch, image, &command).await? else {
            self.give_up("what its tasks use cannot be told apart");
            return Ok(None);
        };
        let removal = engine.removal();
        if let Err(error) = engine.start_supervised(&made, &launch).await {
            removal.remove(&made).await;
            return Err(error);
        }
        let link = match waiting.greeted().await {
            Ok(link) => link,
            Err(error) => {
                removal.remove(&made).await;
                if self.0.has_worked.load(Ordering::Relaxed) {
                    let source = EngineWords(chain(&error).to_string());
                    return Err(Error::Engine { doing: "start a supervisor", source });
                }
                self.give_up(&chain(&error).to_string());
                return Ok(None);
            }
        };
        self.0.has_worked.store(true, Ordering::Relaxed);
        let root = match work.container.profile {
            Profile::Sealed => None,
            Profile::Plain => match engine.root(&made).await {
                Ok(Some(root)) => Some(root),
                Ok(None) => {
                    removal.remove(&made).await;
                    self.0.hides_roots.store(true, Ordering::Relaxed);
                    tracing::warn!(
                        "the engine hides the roots of containers: none can stay whose root can be written to"
                    );
                    return Ok(None);
                }
                Err(error) => {
                    removal.remove(&made).await;
                    return Err(error);
                }
            },
        };
        let (shape, now) = (shape.clone(), Instant::now());
        Ok(Some(Warm {
            shape,
            mounted,
            removal,
            made,
            root,
            link: Some(link),
            home,
            made_at: now,
            waits_since: now,
            tasks: 0,
            pool: self.clone(),
            _alive: alive,
        }))
    }

    fn give_up(&self, why: &str) {
        if !self.0.is_broken.swap(true, Ordering::Relaxed) {
            tracing::warn!(why, "no container can stay for several tasks: each task gets its own");
        }
    }

    /// Keeps a container for the next task of its shape, unless it is of no more use.
    pub fn give(&self, mut warm: Warm) {
        let now = Instant::now();
        let is_used = warm.tasks > 0 && warm.shape.isolation == Isolation::Fresh;
        let is_old = warm.tasks >= TASKS_MAX || now - warm.made_at >= AGE_MAX;
        if warm.link.is_none() || is_used || is_old {
            self.0.removals.spawn(warm.remove());
            return;
        }
        warm.waits_since = now;
        let beyond = {
            let mut waiting = self.0.lock();
            waiting.push(warm);
            (waiting.len() > WAITING_MAX).then(|| waiting.remove(0))
        };
        if let Some(oldest) = beyond {
            self.0.removals.spawn(oldest.remove());
        }
        if !self.0.is_swept.swap(true, Ordering::AcqRel) {
            tokio::spawn(sweep(Arc::clone(&self.0)));
        }
    }

    /// Removes all that wait, and waits until they are gone. No folder is kept either.
    pub async fn close(&self) {
        let all = std::mem::take(&mut *self.0.lock());
        futures::future::join_all(all.into_iter().map(Warm::remove)).await;
        self.0.removals.close();
        self.0.removals.wait().await;
        self.0.removals.reopen();
        self.0.folders.clear();
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Vec<Warm>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes containers that have waited for too long, until none waits.
async fn sweep(inner: Arc<Inner>) {
    loop {
        let next = {
            let waiting = inner.lock();
            let oldest = waiting.iter().map(|warm| warm.waits_since).min();
            if oldest.is_none() {
                inner.is_swept.store(false, Ordering::Release);
            }
            oldest
        };
        let Some(oldest) = next else { return };
        sleep_until(oldest + IDLE_MAX).await;
        // Who closes the pool waits for it.
        let _removing = inner.removals.token();
        let now = Instant::now();
        let gone: Vec<_> =
            inner.lock().extract_if(.., |warm| now - warm.waits_since >= IDLE_MAX).collect();
        futures::future::join_all(gone.into_iter().map(Warm::remove)).await;
    }
}
