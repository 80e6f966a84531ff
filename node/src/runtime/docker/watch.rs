//! Watches what a running container writes, and how much free space is left.

use std::path::PathBuf;
use std::time::Duration;

use bollard::Docker as Client;
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
    let cache_max = launch.user_cache_bytes_max;
    let mut pace = Pace::new(PERIOD, Instant::now(), free, most);
    let mut cache_pace = Pace::new(PERIOD_CACHE, Instant::now(), free, cache_max);
    let mut process = None;
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
        if cache_pace.is_due(now, free) {
            let amount = measured(launch.user_cache_counted.clone()).await;
            if amount.exceeds(cache_max) {
                return Ending::CacheFull;
            }
            cached = amount.bytes;
            cached_before.get_or_insert(cached);
            cache_pace.counted((now, Instant::now()), free, cache_max - cached);
        }
        if pace.is_due(now, free) || floor == Floor::Count {
            let results = measured(launch.results.host.clone()).await;
            if results.exceeds(most) {
                return Ending::TooMuchWritten;
            }
            if process.is_none() {
                process = first_process(client, id).await;
            }
            let unnamed = unnamed(process, share.device()).await;
            let written = results.bytes.saturating_add(unnamed);
            if written > most {
                return Ending::TooMuchWritten;
            }
            let ended = Instant::now();
            let in_cache = cached.saturating_sub(cached_before.unwrap_or(cached));
            share.note(written.saturating_add(in_cache), ended);
            pace.counted((now, ended), free, most - written);
        }
    }
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
