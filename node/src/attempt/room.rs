//! Room on the disk: for an attempt before anything of it is fetched, and at the cost of what is
//! kept for later ones.

use std::sync::Arc;
use std::time::Duration;

use common::protocol::{InputFile, Work};
use tokio::time::{Instant, timeout};

use super::Tools;
use super::stopped::Stopped;
use crate::disk::Share;
use crate::server_client::ServerClient;

/// How long an attempt waits for others to end: the server gives a node no more than it lends.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(500);

/// An attempt's share of the disk, for its input and for what its package may write.
pub async fn share<R: ServerClient>(
    tools: &Tools<R>,
    work: &Work,
    files: &[InputFile],
) -> Result<Arc<Share>, Stopped> {
    // In whole MiB, as the server counts when it looks for a node.
    let input = files.iter().fold(0u64, |sum, file| sum.saturating_add(file.size)) >> 20 << 20;
    let writes_max = work.needs.disk_bytes();
    let needed = input.saturating_add(writes_max);
    let (lent, until) = (tools.disk.limits().tasks(), Instant::now() + PATIENCE);
    if needed > lent {
        return Err(too_small(needed, lent));
    }
    tools.disk.above_floor().await?;
    loop {
        let changed = tools.disk.changed();
        if let Some(share) = tools.disk.share(kept(tools), input, writes_max) {
            return Ok(share);
        }
        if evict(tools).await {
            continue;
        }
        if Instant::now() >= until || !tools.disk.is_shared() {
            return Err(too_small(needed, tools.disk.lends(kept(tools))));
        }
        // Free space comes back without a share's end, too.
        let _ = timeout(POLL, changed).await;
    }
}

/// Removes what is kept until it and all tasks fit into the budget, or all of it is in use.
pub async fn trim<R: ServerClient>(tools: &Tools<R>) {
    while tools.disk.excess(kept(tools)) > 0 && evict(tools).await {}
}

/// The bytes that are kept between tasks.
pub fn kept<R>(tools: &Tools<R>) -> u64 {
    let folders = tools.packages.bytes().saturating_add(tools.caches.bytes());
    folders.saturating_add(tools.engine.image_bytes())
}

/// Removes what was unused for longest; gives whether there was anything.
async fn evict<R>(tools: &Tools<R>) -> bool {
    let package = tools.packages.oldest_idle().map(|used| (used, Kind::Package));
    let cache = tools.caches.oldest_idle().map(|used| (used, Kind::Cache));
    let image = tools.engine.oldest_idle_image().map(|used| (used, Kind::Image));
    match [package, cache, image].into_iter().flatten().min() {
        None => false,
        Some((_, Kind::Package)) => tools.packages.evict_oldest(),
        Some((_, Kind::Cache)) => tools.caches.evict_oldest().await,
        Some((_, Kind::Image)) => tools.engine.evict_oldest_image().await,
    }
}

/// What is kept between tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Package,
    Cache,
    Image,
}

fn too_small(needed: u64, lent: u64) -> Stopped {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    Stopped::NodeFault(format!(
        "the task needs {} MiB of disk for its input and results, and this node lends tasks {} MiB \
         now",
        mib(needed),
        mib(lent)
    ))
}
