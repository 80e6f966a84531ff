//! The caches that containers find: one for everybody, which they can read, and those of each
//! workspace, which only its own containers see and can write to.
//!
//! A workspace has one folder for each owner of the packages that it runs, so that an imported
//! package cannot leave files that the workspace's own packages load. All of them together count
//! against the workspace's bytes, of what was uploaded one copy.
//!
//! What was uploaded for a cache is brought once for each version of a file and folder. What
//! containers leave in their folder stays, within bounds that the node's owner sets.

mod folder;
mod kept;
mod place;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use common::digest::Digest;
use common::error_chain::chain;
use common::ids::{RunId, WorkspaceId};
use common::protocol::{Cache, CacheFile};
use common::run::task::Lease;

use crate::disk::count;
use crate::files::data_dir::DataDir;
use crate::files::tree::{dir_with_mode, private_dir, remove_tree};
use crate::link;
use crate::server_client::ServerClient;
use crate::server_client::transfer;
use crate::storage::keyed_mutex::KeyedMutex;
use folder::{Asking, Folder};
use kept::Kept;
use place::Place;

/// Workspaces whose caches stay; the ones unused for longest go.
const WORKSPACES_MAX: usize = 16;
/// Owners of packages whose folders a workspace keeps; beyond it the workspace's cache is emptied.
const OWNERS_MAX: usize = 8;
/// Runs whose lists of files are remembered.
const LISTS_MAX: usize = 64;
/// How often a list is asked for again because a file of it has been replaced meanwhile.
const LISTS_TRIED_MAX: u32 = 3;
const SHARED_MODE: u32 = 0o755;
/// The container's user is another one; nobody else gets as far as this folder.
const USER_MODE: u32 = 0o777;

/// What the caches may take of the node's disk.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// For each workspace.
    pub user_bytes: u64,
    pub shared_bytes: u64,
}

impl Sizes {
    /// The same, and none of them larger than `most`.
    #[must_use]
    pub fn at_most(self, most: u64) -> Self {
        Self { user_bytes: self.user_bytes.min(most), shared_bytes: self.shared_bytes.min(most) }
    }
}

impl Default for Sizes {
    fn default() -> Self {
        Self { user_bytes: 10 << 30, shared_bytes: 50 << 30 }
    }
}

/// What a run's first task was told of a cache.
type Lists = HashMap<(RunId, Cache), Arc<Vec<CacheFile>>>;

/// The node's caches.
#[derive(Debug)]
pub struct Caches {
    root: PathBuf,
    temporary: PathBuf,
    sizes: Sizes,
    one_at_a_time: KeyedMutex<Option<Digest>>,
    lists: Mutex<Lists>,
    in_use: Mutex<HashMap<Digest, Weak<()>>>,
    kept: Arc<Kept>,
}

/// The folders that a container gets. The workspace's own is not cleared as long as this is held.
#[derive(Debug)]
pub struct Mounted {
    pub user: PathBuf,
    pub shared: PathBuf,
    /// What counts against `user_bytes_max`: the folders of all owners of packages.
    pub counted: PathBuf,
    pub user_bytes_max: u64,
    _in_use: Arc<()>,
}

#[cfg(test)]
impl Mounted {
    pub fn of_tests(user: &Path, shared: &Path, user_bytes_max: u64) -> Self {
        let (user, shared) = (user.to_owned(), shared.to_owned());
        Self { counted: user.clone(), user, shared, user_bytes_max, _in_use: Arc::default() }
    }
}

/// The caches are not ready.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The workspace's own files are at fault.
    #[error("the workspace's cache: {0}")]
    Unusable(String),
    #[error("a file of the cache cannot be fetched")]
    Fetch(#[from] transfer::Error),
    #[error("node cache error")]
    Io(#[from] io::Error),
}

impl Caches {
    pub fn open(data_dir: &DataDir, sizes: Sizes) -> io::Result<Self> {
        let root = data_dir.caches();
        private_dir(&root.join("users"))?;
        let kept = Kept::default();
        for entry in fs::read_dir(root.join("users"))? {
            let entry = entry?;
            let place = Place(entry.path());
            kept.count(&place.0, entry.metadata()?.modified()?, place.most(sizes.user_bytes)?);
        }
        kept.count(&root.join("shared"), SystemTime::now(), sizes.shared_bytes);
        Ok(Self {
            root,
            temporary: data_dir.temporary(),
            sizes,
            one_at_a_time: KeyedMutex::default(),
            lists: Mutex::default(),
            in_use: Mutex::default(),
            kept: Arc::new(kept),
        })
    }

    /// What all caches take of the disk.
    pub fn bytes(&self) -> u64 {
        self.kept.bytes()
    }

    /// When the cache of a workspace was used last that nobody has used for longest.
    pub fn oldest_idle(&self) -> Option<SystemTime> {
        self.kept.oldest(|place| self.is_idle(place)).map(|(used, _)| used)
    }

    /// Removes that cache; gives whether there was one.
    pub async fn evict_oldest(&self) -> bool {
        let Some((_, place)) = self.kept.oldest(|place| self.is_idle(place)) else { return false };
        let Some(owner) = owner_of(&place) else { return false };
        let _only = self.one_at_a_time.lock(Some(owner)).await;
        let (_in_use, alone) = self.enter(owner);
        if alone && let Err(error) = self.remove(place.clone()).await {
            tracing::warn!(
                error = %chain(&error),
                place = %place.display(),
                "an old cache cannot be removed"
            );
            self.kept.forget(&place);
        }
        true
    }

    /// A container of the workspace has ended: what it left is counted, and too much is cleared.
    pub async fn left(&self, workspace: WorkspaceId, mounted: Mounted) {
        drop(mounted);
        let owner = owner(workspace);
        let _only = self.one_at_a_time.lock(Some(owner)).await;
        let (_in_use, alone) = self.enter(owner);
        let place = self.root.join("users").join(owner.to_string());
        let most = Place(place.clone()).most(self.sizes.user_bytes);
        let most = most.unwrap_or(self.sizes.user_bytes);
        if alone && let Err(error) = self.clear_if_full(&place).await {
            tracing::warn!(
                error = %chain(&error),
                place = %place.display(),
                "a full cache cannot be cleared"
            );
        }
        let shared = (self.root.join("shared"), self.sizes.shared_bytes);
        let (kept, user) = (Arc::clone(&self.kept), (place, most));
        let counting = tokio::task::spawn_blocking(move || {
            for (place, most) in [user, shared].iter().filter(|(place, _)| place.exists()) {
                kept.count(place, SystemTime::now(), *most);
            }
        });
        if let Err(error) = counting.await {
            tracing::warn!(error = %chain(&error), "the caches cannot be counted");
        }
    }

    fn is_idle(&self, place: &Path) -> bool {
        let in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        owner_of(place)
            .is_some_and(|owner| in_use.get(&owner).is_none_or(|users| users.strong_count() == 0))
    }

    /// The caches for a container of this workspace with a package of this owner, with all that
    /// was uploaded for them.
    pub async fn ready<R: ServerClient>(
        &self,
        remote: &R,
        lease: Lease,
        workspace: WorkspaceId,
        package_owner: WorkspaceId,
    ) -> Result<Mounted, Error> {
        let shared = {
            let _only = self.one_at_a_time.lock(None).await;
            let folder = self.shared_folder()?;
            self.bring(remote, lease, Cache::Shared, folder).await?
        };
        let (owner, package_owner) = (owner(workspace), owner(package_owner));
        let _only = self.one_at_a_time.lock(Some(owner)).await;
        let (in_use, alone) = self.enter(owner);
        let place = Place(self.root.join("users").join(owner.to_string()));
        if alone && place.is_new(&package_owner) && place.owners()? >= OWNERS_MAX {
            self.remove(place.0.clone()).await?;
        } else if alone {
            self.clear_if_full(&place.0).await?;
        }
        let folder = place.open(&package_owner, USER_MODE)?;
        // The folder's time says when it was used last.
        fs::File::open(&place.0)?.set_modified(SystemTime::now())?;
        let user = self.bring(remote, lease, Cache::User, folder).await?;
        self.drop_old().await?;
        let user_bytes_max = place.most(self.sizes.user_bytes)?;
        Ok(Mounted { user, shared, counted: place.files(), user_bytes_max, _in_use: in_use })
    }

    /// Brings the files of a cache into its folder.
    async fn bring<R: ServerClient>(
        &self,
        remote: &R,
        lease: Lease,
        cache: Cache,
        mut folder: Folder,
    ) -> Result<PathBuf, Error> {
        let asking = Asking { remote, lease, cache, temporary: &self.temporary };
        let mut tried = 0;
        loop {
            let files = self.list(remote, lease, cache).await?;
            let fitting = self.fitting(cache, &files)?;
            tried += 1;
            match folder.bring(&asking, fitting).await {
                Err(Error::Fetch(error)) if is_outdated(&error) && tried < LISTS_TRIED_MAX => {
                    self.lists().remove(&(lease.task.run, cache));
                }
                brought => return brought.map(|()| folder.path),
            }
        }
    }

    /// The list of a cache, asked for once for each run.
    async fn list<R: ServerClient>(
        &self,
        remote: &R,
        lease: Lease,
        cache: Cache,
    ) -> Result<Arc<Vec<CacheFile>>, Error> {
        let key = (lease.task.run, cache);
        if let Some(known) = self.lists().get(&key) {
            return Ok(Arc::clone(known));
        }
        let mut files = transfer::cached(remote, lease, cache).await?;
        files.retain(|file| common::data::cache_name::is_name(&file.name));
        files.sort_by(|one, two| one.name.cmp(&two.name));
        let files = Arc::new(files);
        let mut lists = self.lists();
        if lists.len() >= LISTS_MAX {
            lists.clear();
        }
        lists.insert(key, Arc::clone(&files));
        Ok(files)
    }

    /// A workspace's files must all fit. Of the shared ones those come that do: a container has to
    /// do without the others, but no node is useless because it is small.
    fn fitting<'a>(&self, cache: Cache, files: &'a [CacheFile]) -> Result<&'a [CacheFile], Error> {
        let most = match cache {
            Cache::User => self.sizes.user_bytes,
            Cache::Shared => self.sizes.shared_bytes,
        };
        let mut sum = 0u64;
        let n = files.iter().take_while(|file| {
            sum = sum.saturating_add(file.size);
            sum <= most
        });
        let n = n.count();
        match cache {
            Cache::User if n < files.len() => Err(Error::Unusable(format!(
                "more than {most} bytes were uploaded, which is what this node keeps for a \
                 workspace: delete some (`fanfold cache delete`)"
            ))),
            Cache::Shared if n < files.len() => {
                let left_out = files.len() - n;
                tracing::warn!(left_out, most, "the shared cache does not fit on this node");
                Ok(&files[..n])
            }
            Cache::User | Cache::Shared => Ok(files),
        }
    }

    /// Notes that a container of the workspace uses its cache; says whether it is the only one.
    fn enter(&self, owner: Digest) -> (Arc<()>, bool) {
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        in_use.retain(|_, users| users.strong_count() > 0);
        if let Some(users) = in_use.get(&owner).and_then(Weak::upgrade) {
            return (users, false);
        }
        let users = Arc::new(());
        in_use.insert(owner, Arc::downgrade(&users));
        (users, true)
    }

    /// Empties a workspace's cache when what containers wrote leaves less than a quarter of their
    /// room: the next one must not be ended for what others left behind.
    async fn clear_if_full(&self, place: &Path) -> Result<(), Error> {
        if !place.exists() {
            return Ok(());
        }
        let own = Place(place.to_owned());
        let (files, brought) = (own.files(), own.brought()?);
        let amount = tokio::task::spawn_blocking(move || count::amount(&files)).await;
        let amount = amount.map_err(io::Error::other)?;
        let room = self.sizes.user_bytes.saturating_sub(brought.largest);
        if amount.exceeds(brought.all.saturating_add(room / 4 * 3)) {
            tracing::info!(place = %place.display(), "a workspace's full cache is emptied");
            self.remove(place.to_owned()).await?;
        }
        Ok(())
    }

    /// Removes the caches that were not used for longest, if there are too many.
    async fn drop_old(&self) -> Result<(), Error> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.root.join("users"))? {
            let entry = entry?;
            found.push((entry.metadata()?.modified()?, entry.path()));
        }
        found.sort();
        let too_many = found.len().saturating_sub(WORKSPACES_MAX);
        for (_, place) in found.into_iter().take(too_many) {
            if owner_of(&place).is_none() || self.is_idle(&place) {
                self.remove(place).await?;
            }
        }
        Ok(())
    }

    /// Removes a cache: moved away first, so that half a cache never looks like a whole one.
    async fn remove(&self, place: PathBuf) -> Result<(), Error> {
        let away = self.temporary.join(uuid::Uuid::new_v4().to_string());
        self.kept.forget(&place);
        fs::rename(place, &away)?;
        let removed = tokio::task::spawn_blocking(move || remove_tree(&away)).await;
        Ok(removed.map_err(io::Error::other)??)
    }

    fn shared_folder(&self) -> Result<Folder, Error> {
        let place = self.root.join("shared");
        let files = place.join("files");
        if !files.exists() {
            private_dir(&place)?;
            dir_with_mode(&files, SHARED_MODE)?;
        }
        Ok(Folder::open(&files, &place.join("record.json"), SHARED_MODE)?)
    }

    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What stands for a workspace in paths: containers can read them, and must not learn its id.
fn owner(workspace: WorkspaceId) -> Digest {
    Digest::of(workspace.uuid().as_bytes())
}

/// Whose cache lies there.
fn owner_of(place: &Path) -> Option<Digest> {
    place.file_name()?.to_str()?.parse().ok()
}

/// Whether a file is no longer what the list says.
fn is_outdated(error: &transfer::Error) -> bool {
    use transfer::Error as E;
    match error {
        E::Spoiled | E::TooLarge(_) => true,
        E::Link(link::Error::Bucket(error)) => error.is_final(),
        E::Slow => false,
        E::Link(_) | E::Disk(_) => error.refusal().is_some(),
    }
}

#[cfg(test)]
mod tests;
