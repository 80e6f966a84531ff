//! What a container uses, sampled while it runs: the engine forgets it at the container's end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::Docker as Client;
use bollard::models::ContainerStatsResponse;
use bollard::query_parameters::StatsOptionsBuilder;
use common::resources::{Resources, Usage};
use futures::StreamExt as _;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

/// The first sample comes soon, the others at this distance.
const FIRST: Duration = Duration::from_millis(250);
const PERIOD: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(5);

/// Samples one container until it is dropped.
pub struct Meter {
    client: Client,
    id: String,
    start: Instant,
    seen: Arc<Mutex<Seen>>,
    _sampling: AbortOnDropHandle<()>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Seen {
    /// CPU time at the last sample, and when that was.
    cpu_ms: u64,
    at_ms: u64,
    /// Memory × time up to the last sample.
    memory_mib_ms: u64,
    memory_peak_bytes: u64,
    /// Received and sent, up to the last sample.
    network_bytes: u64,
}

impl Meter {
    pub fn start(client: Client, id: String) -> Self {
        let (start, seen) = (Instant::now(), Arc::new(Mutex::default()));
        let sampling = tokio::spawn({
            let (client, id, seen) = (client.clone(), id.clone(), Arc::clone(&seen));
            async move {
                sleep(FIRST).await;
                loop {
                    sample(&client, &id, start, &seen).await;
                    sleep(PERIOD).await;
                }
            }
        });
        Self { client, id, start, seen, _sampling: AbortOnDropHandle::new(sampling) }
    }

    /// Takes one more sample now.
    pub async fn sample(&self) {
        sample(&self.client, &self.id, self.start, &self.seen).await;
    }

    /// What the container used in `wall`. The time after the last sample counts as the time
    /// before it; a container too short for any sample counts with all it could have used.
    pub fn usage(&self, needs: Resources, wall: Duration) -> Usage {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.usage(needs, millis(wall))
    }
}

impl Seen {
    fn usage(self, needs: Resources, wall_ms: u64) -> Usage {
        let full = Usage::full(needs, wall_ms);
        if self.at_ms == 0 {
            return full;
        }
        let stretch = |amount: u64| {
            let whole = u128::from(amount) * u128::from(wall_ms) / u128::from(self.at_ms);
            u64::try_from(whole).unwrap_or(u64::MAX)
        };
        Usage {
            cpu_ms: stretch(self.cpu_ms),
            memory_mib_ms: stretch(self.memory_mib_ms),
            wall_ms,
            memory_peak_bytes: self.memory_peak_bytes,
            network_bytes: self.network_bytes,
            ..Usage::default()
        }
        .at_most(full)
    }

    /// Adds a sample: until it, memory was what it is now.
    fn add(&mut self, at_ms: u64, Figures { cpu_ms, memory_bytes, network_bytes }: Figures) {
        let passed = at_ms.saturating_sub(self.at_ms);
        let mib = memory_bytes.div_ceil(1 << 20);
        self.memory_mib_ms = self.memory_mib_ms.saturating_add(mib.saturating_mul(passed));
        self.cpu_ms = self.cpu_ms.max(cpu_ms);
        self.memory_peak_bytes = self.memory_peak_bytes.max(memory_bytes);
        self.network_bytes = self.network_bytes.max(network_bytes);
        self.at_ms = self.at_ms.max(at_ms);
    }
}

async fn sample(client: &Client, id: &str, start: Instant, seen: &Mutex<Seen>) {
    let options = StatsOptionsBuilder::new().stream(false).one_shot(true).build();
    let mut stats = client.stats(id, Some(options));
    let Ok(Some(Ok(stats))) = timeout(PATIENCE, stats.next()).await else { return };
    let Some(figures) = figures(&stats) else { return };
    let at_ms = millis(start.elapsed());
    seen.lock().unwrap_or_else(PoisonError::into_inner).add(at_ms, figures);
}

/// One sample.
#[derive(Debug, Clone, Copy)]
struct Figures {
    cpu_ms: u64,
    memory_bytes: u64,
    network_bytes: u64,
}

/// What the engine says now; `None` where the container has ended and it reports nothing.
fn figures(stats: &ContainerStatsResponse) -> Option<Figures> {
    let cpu_ns = stats.cpu_stats.as_ref()?.cpu_usage.as_ref()?.total_usage?;
    let memory = stats.memory_stats.as_ref()?;
    let usage = memory.usage.filter(|bytes| *bytes > 0)?;
    // Files the kernel could forget are not the container's need. The two names are those of
    // the first and the second version of control groups.
    let cache = memory
        .stats
        .as_ref()
        .and_then(|stats| stats.get("total_inactive_file").or_else(|| stats.get("inactive_file")));
    let networks = stats.networks.iter().flat_map(|networks| networks.values());
    let network_bytes =
        networks.flat_map(|network| [network.rx_bytes, network.tx_bytes]).flatten().sum();
    Some(Figures {
        cpu_ms: cpu_ns / 1_000_000,
        memory_bytes: usage.saturating_sub(cache.copied().unwrap_or(0)),
        network_bytes,
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDS: Resources = Resources::new(2000, 100);

    fn sampled(cpu_ms: u64, memory_bytes: u64) -> Figures {
        Figures { cpu_ms, memory_bytes, network_bytes: 7 }
    }

    #[test]
    fn samples_are_stretched_to_the_whole_time() {
        let mut seen = Seen::default();
        seen.add(1000, sampled(500, 30 << 20));
        seen.add(2000, sampled(1500, 10 << 20));

        let usage = seen.usage(NEEDS, 3000);

        let expected = Usage {
            cpu_ms: 2250,
            memory_mib_ms: 60_000,
            wall_ms: 3000,
            memory_peak_bytes: 30 << 20,
            network_bytes: 7,
            ..Usage::default()
        };
        assert_eq!(usage, expected);
    }

    #[test]
    fn without_a_sample_the_most_counts() {
        assert_eq!(Seen::default().usage(NEEDS, 100), Usage::full(NEEDS, 100));
    }

    #[test]
    fn more_than_the_limits_is_never_counted() {
        let mut seen = Seen::default();
        seen.add(100, sampled(100_000, 1 << 40));

        let usage = seen.usage(NEEDS, 100);

        let full = Usage::full(NEEDS, 100);
        assert_eq!((usage.cpu_ms, usage.memory_mib_ms), (full.cpu_ms, full.memory_mib_ms));
    }
}
