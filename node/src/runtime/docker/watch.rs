//! Watches what a running container writes, and how much free space is left.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use bollard::Docker as Client;
use bollard::query_parameters::{InspectContainerOptions, InspectContainerOptionsBuilder};
use common::compute::container::Profile;
use tokio::time::{Instant, sleep};

use crate::disk::count::{self, Amount};
use crate::disk::pace::Pace;
use crate::disk::{Floor, unlinked};
use crate::runtime::{Ending, Launch};

/// How often the free space is looked at.
const TICK: Duration = Duration::from_millis(25);
/// How often the results are counted while the free space does not fall.
const PERIOD: Duration = Duration::from_millis(500);
/// The same for a workspace's cache, where there may be much more to count.
const PERIOD_CACHE: Duration = Duration::from_secs(2);

/// Ends when a container has written more than it may, or when it has to make room on the disk.
pub async fn watch(client: &Client, id: &str, launch: &Launch) -> Ending {
    let share = &launch.share;
    let running = share.running();
    let (mut free, most) = (share.free(), share.writes_max());
    let cache_max = launch.cache.as_ref().map_or(0, |cache| cache.bytes_max);
    let mut writing = Written::of(client, id, launch);
    let mut pace = Pace::new(PERIOD, Instant::now(), free, most);
    let mut cache_pace = Pace::new(PERIOD_CACHE, Instant::now(), free, cache_max);
    // What the cache had at its first count, and what it has now.
    let (mut cached_before, mut cached) = (None, 0);
    loop {
        sleep(TICK).await;
        free = share.free();
        share.note_free(free);
        let now = Instant::now();
        let floor = running.floor(free, now);
        if floor == Floor::End {
            return Ending::DiskLow;
        }
        if let Some(cache) = launch.cache.as_ref().filter(|_| cache_pace.is_due(now, free)) {
            let amount = measured(cache.folder.clone()).await;
            if amount.exceeds(cache_max) {
                return Ending::CacheFull;
            }
            cached = amount.bytes;
            cached_before.get_or_insert(cached);
            cache_pace.counted((now, Instant::now()), free, cache_max - cached);
        }
        if pace.is_due(now, free) || floor == Floor::Count {
            let Some(written) = writing.count(share.device()).await.filter(|n| *n <= most) else {
                return Ending::TooMuchWritten;
            };
            let ended = Instant::now();
            let in_cache = cached.saturating_sub(cached_before.unwrap_or(cached));
            share.note(written.saturating_add(in_cache), ended);
            pace.counted((now, ended), free, most - written);
        }
    }
}

/// All that the containers of a task write to, but its workspace's cache.
struct Written<'a> {
    client: &'a Client,
    folders: Vec<&'a PathBuf>,
    /// The container itself and those beside it, each with its first process once it is known.
    containers: Vec<(&'a str, Option<u32>)>,
    /// Whether they can write to their own roots.
    has_roots: bool,
}

impl<'a> Written<'a> {
    fn of(client: &'a Client, id: &'a str, launch: &'a Launch) -> Self {
        let ids = [id].into_iter().chain(launch.beside.iter().map(String::as_str));
        Self {
            client,
            folders: [&launch.results.host].into_iter().chain(&launch.shared).collect(),
            containers: ids.map(|id| (id, None)).collect(),
            has_roots: launch.profile == Profile::Plain,
        }
    }

    /// The bytes that they take; `None` where there are more files than may be. `device` is the
    /// file system of the folders.
    async fn count(&mut self, device: u64) -> Option<u64> {
        let mut sum = Amount::default();
        for folder in &self.folders {
            sum = sum.plus(measured((*folder).clone()).await);
        }
        for (id, process) in &mut self.containers {
            if process.is_none() {
                *process = first_process(self.client, id).await;
            }
            sum.bytes = sum.bytes.saturating_add(unnamed(*process, device).await);
            if self.has_roots {
                sum = sum.plus(root_amount(self.client, id).await);
                if let Some(root) = process.and_then(root_device).filter(|root| *root != device) {
                    sum.bytes = sum.bytes.saturating_add(unnamed(*process, root).await);
                }
            }
        }
        (!sum.exceeds(u64::MAX - 1)).then_some(sum.bytes)
    }
}

/// What a container has written to its own root: as the node counts it where the engine tells the
/// folders, else the bytes that the engine counts. Some drivers keep removed files that are still
/// open in the second folder.
async fn root_amount(client: &Client, id: &str) -> Amount {
    let found = client.inspect_container(id, None::<InspectContainerOptions>).await;
    let driver = found.ok().and_then(|container| container.graph_driver);
    let folders = driver.into_iter().flat_map(|driver| {
        ["UpperDir", "WorkDir"].map(|name| driver.data.get(name).map(PathBuf::from))
    });
    let folders: Vec<_> = folders.flatten().filter(|folder| folder.is_dir()).collect();
    if !folders.is_empty() {
        let mut sum = Amount::default();
        for folder in folders {
            sum = sum.plus(measured(folder).await);
        }
        return sum;
    }
    let options = InspectContainerOptionsBuilder::new().size(true).build();
    let found = client.inspect_container(id, Some(options)).await;
    let bytes = found.ok().and_then(|container| container.size_rw).unwrap_or(0);
    Amount { bytes: u64::try_from(bytes).unwrap_or(0), entries: 0 }
}

/// The file system that a container's root is on, as its processes see it.
fn root_device(process: u32) -> Option<u64> {
    std::fs::metadata(format!("/proc/{process}/root/")).ok().map(|meta| meta.dev())
}

async fn measured(folder: PathBuf) -> Amount {
    let counting = tokio::task::spawn_blocking(move || count::amount(&folder));
    counting.await.unwrap_or_default()
}

/// The bytes of files without a name that the container holds open.
async fn unnamed(process: Option<u32>, device: u64) -> u64 {
    let Some(process) = process else { return 0 };
    let counting = tokio::task::spawn_blocking(move || unlinked::bytes(process, device));
    counting.await.unwrap_or_default()
}

async fn first_process(client: &Client, id: &str) -> Option<u32> {
    let state = client.inspect_container(id, None).await.ok()?.state?;
    state.pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0)
}
