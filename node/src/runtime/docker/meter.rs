//! What a container used: by the kernel's counters of its control group where the node has one for
//! it, else by samples of the engine's, which forgets all at the container's end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bollard::Docker as Client;
use bollard::models::ContainerStatsResponse;
use bollard::query_parameters::StatsOptionsBuilder;
use chrono::{DateTime, Utc};
use common::compute::resources::{Metering, Resources, Usage};
use common::run::task::Lease;
use futures::StreamExt as _;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::cgroup::Group;
use super::samples::{self, Samples};

/// The engine's first sample comes soon, the others at this distance.
const FIRST: Duration = Duration::from_millis(250);
const PERIOD: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(5);
/// The memory in a group costs little to read: first at this distance, then at larger ones.
const GROUP_FIRST: Duration = Duration::from_millis(20);
const GROUP_PERIOD: Duration = Duration::from_millis(500);
/// What the runtimes' own programs are called, which set a container up from within.
const RUNTIMES: [&str; 2] = ["runc", "crun"];

/// What a container's group had used when the runtime gave way to the container's own program.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Baseline {
    cpu_ns: u64,
    /// When the program was first seen.
    pub began: Option<DateTime<Utc>>,
}

impl Baseline {
    /// Of a program that is started in a container in which others ran before.
    pub fn of(group: &Group) -> Self {
        Self { cpu_ns: group.cpu_ns().unwrap_or(0), began: None }
    }

    #[cfg(test)]
    pub const fn seen_at(began: Option<DateTime<Utc>>) -> Self {
        Self { cpu_ns: 0, began }
    }

    /// Looks at a container that is being started.
    pub fn look(&mut self, group: &Group) {
        let Some(program) = group.program().filter(|_| self.began.is_none()) else { return };
        let program = program.to_string_lossy();
        if RUNTIMES.iter().any(|runtime| program.contains(runtime)) {
            self.cpu_ns = group.cpu_ns().unwrap_or(0);
        } else {
            self.began = Some(SystemTime::now().into());
        }
    }
}

/// Meters one container until it is dropped.
pub struct Meter {
    client: Client,
    id: String,
    group: Option<Arc<Group>>,
    baseline: Baseline,
    start: Instant,
    seen: Arc<Mutex<Seen>>,
    _sampling: AbortOnDropHandle<()>,
}

/// What samples have shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Seen {
    /// CPU time at the last sample, and when that was.
    cpu_ms: u64,
    at_ms: u64,
    /// Memory × time up to the last sample, and the memory then.
    memory_mib_ms: u64,
    memory_mib: u64,
    memory_peak_bytes: u64,
    /// Received and sent, up to the last sample.
    network_bytes: u64,
}

/// What is known of a container at some time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Looked {
    at_ms: u64,
    cpu_ms: u64,
    seen: Seen,
}

impl Looked {
    /// The thousandths of a core, and the bytes of memory, that were in use since an earlier time.
    fn since(self, before: Self) -> (u32, u64) {
        let passed = self.at_ms.saturating_sub(before.at_ms).max(1);
        let cpu_ms = self.cpu_ms.saturating_sub(before.cpu_ms);
        let millis = u32::try_from(cpu_ms.saturating_mul(1000) / passed).unwrap_or(u32::MAX);
        let sampled = self.seen.at_ms.saturating_sub(before.seen.at_ms);
        let memory = self.seen.memory_mib_ms.saturating_sub(before.seen.memory_mib_ms);
        // Without a sample in between, memory is what it was.
        let mib = memory.checked_div(sampled).unwrap_or(self.seen.memory_mib);
        (millis, mib << 20)
    }
}

/// What the node's own program in a container says beside the counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
    /// What it used itself, which is not the task's.
    pub own_cpu_ns: u64,
    /// The most memory of one process, where the kernel does not count that of all.
    pub peak_bytes: u64,
}

/// What a group's counters say at the end.
#[derive(Debug, Clone, Copy)]
struct Counters {
    cpu_ns: u64,
    memory_peak_bytes: Option<u64>,
}

impl Meter {
    pub fn start(
        client: Client,
        id: String,
        group: Option<Arc<Group>>,
        baseline: Baseline,
    ) -> Self {
        let (start, seen) = (Instant::now(), Arc::new(Mutex::default()));
        let sampling = tokio::spawn({
            let (client, id, group) = (client.clone(), id.clone(), group.clone());
            let seen = Arc::clone(&seen);
            async move {
                match group {
                    Some(group) => watch_group(&group, start, &seen).await,
                    None => watch_engine(&client, &id, start, &seen).await,
                }
            }
        });
        let sampling = AbortOnDropHandle::new(sampling);
        Self { client, id, group, baseline, start, seen, _sampling: sampling }
    }

    /// Tells what the container uses, period by period, until it is dropped.
    pub fn report(&self, lease: Lease, samples: Samples) -> AbortOnDropHandle<()> {
        let (group, baseline) = (self.group.clone(), self.baseline);
        let (seen, start) = (Arc::clone(&self.seen), self.start);
        let look = move || {
            let seen = *seen.lock().unwrap_or_else(PoisonError::into_inner);
            let counted = group.as_ref().and_then(|group| group.cpu_ns());
            let cpu_ms = match counted {
                Some(ns) => ns.saturating_sub(baseline.cpu_ns) / 1_000_000,
                None => seen.cpu_ms,
            };
            Looked { at_ms: millis(start.elapsed()), cpu_ms, seen }
        };
        AbortOnDropHandle::new(tokio::spawn(async move {
            let mut before = Looked::default();
            loop {
                let (end_us, left) = samples::period_end(samples::now_us());
                sleep(left).await;
                let now = look();
                let (cpu_millis, memory_bytes) = now.since(before);
                samples.add(lease, end_us, cpu_millis, memory_bytes);
                before = now;
            }
        }))
    }

    /// Takes one more sample now, where a container that is about to be ended needs one.
    pub async fn sample(&self) {
        if self.group.is_none() {
            sample(&self.client, &self.id, self.start, &self.seen).await;
        }
    }

    /// What the container used in `wall`, once it has ended.
    pub fn usage(&self, needs: Resources, wall: Duration, told: Told) -> Usage {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.usage(self.counters(told), needs, millis(wall))
    }

    /// Nothing runs without any CPU time: a group that has counted none is not the container's.
    fn counters(&self, told: Told) -> Option<Counters> {
        let group = self.group.as_ref()?;
        let cpu_ns = group.cpu_ns().filter(|ns| *ns > 0)?.saturating_sub(self.baseline.cpu_ns);
        let cpu_ns = cpu_ns.saturating_sub(told.own_cpu_ns);
        let counted = group.peak_bytes();
        let memory_peak_bytes = counted.or(Some(told.peak_bytes).filter(|bytes| *bytes > 0));
        Some(Counters { cpu_ns, memory_peak_bytes })
    }
}

impl Seen {
    fn usage(self, counters: Option<Counters>, needs: Resources, wall_ms: u64) -> Usage {
        let usage = match counters {
            Some(counters) => self.counted(counters, wall_ms),
            None if self.at_ms > 0 => self.sampled(wall_ms),
            None => return Usage::floor(needs, wall_ms),
        };
        usage.at_most(Usage::full(needs, wall_ms))
    }

    /// By counters. Memory stays what it was at the last sample; before there is any, it counts as
    /// the most that it was.
    fn counted(self, counters: Counters, wall_ms: u64) -> Usage {
        let peak = counters.memory_peak_bytes.unwrap_or(0).max(self.memory_peak_bytes);
        let (until, since) = (self.at_ms.min(wall_ms), wall_ms.saturating_sub(self.at_ms));
        let last_mib = if self.at_ms == 0 { mib(peak) } else { self.memory_mib };
        Usage {
            cpu_ms: counters.cpu_ns.div_ceil(1_000_000),
            memory_mib_ms: part(self.memory_mib_ms, until, self.at_ms)
                .saturating_add(last_mib.saturating_mul(since)),
            wall_ms,
            memory_peak_bytes: peak,
            metering: Metering::Counters,
            ..Usage::default()
        }
    }

    /// By samples alone: the time after the last one counts as the time before it.
    fn sampled(self, wall_ms: u64) -> Usage {
        Usage {
            cpu_ms: part(self.cpu_ms, wall_ms, self.at_ms),
            memory_mib_ms: part(self.memory_mib_ms, wall_ms, self.at_ms),
            wall_ms,
            memory_peak_bytes: self.memory_peak_bytes,
            network_bytes: self.network_bytes,
            metering: Metering::Samples,
            ..Usage::default()
        }
    }

    /// Adds a sample: until it, memory was what it is now.
    fn add(&mut self, at_ms: u64, Figures { cpu_ms, memory_bytes, network_bytes }: Figures) {
        let passed = at_ms.saturating_sub(self.at_ms);
        self.memory_mib = mib(memory_bytes);
        let added = self.memory_mib.saturating_mul(passed);
        self.memory_mib_ms = self.memory_mib_ms.saturating_add(added);
        self.cpu_ms = self.cpu_ms.max(cpu_ms);
        self.memory_peak_bytes = self.memory_peak_bytes.max(memory_bytes);
        self.network_bytes = self.network_bytes.max(network_bytes);
        self.at_ms = self.at_ms.max(at_ms);
    }
}

async fn watch_engine(client: &Client, id: &str, start: Instant, seen: &Mutex<Seen>) {
    sleep(FIRST).await;
    loop {
        sample(client, id, start, seen).await;
        sleep(PERIOD).await;
    }
}

async fn watch_group(group: &Group, start: Instant, seen: &Mutex<Seen>) {
    let mut pause = GROUP_FIRST;
    loop {
        sleep(pause).await;
        pause = (pause * 2).min(GROUP_PERIOD);
        // A group without anything in it is one whose container has ended.
        if let Some(memory_bytes) = group.memory_bytes().filter(|bytes| *bytes > 0) {
            let figures = Figures { cpu_ms: 0, memory_bytes, network_bytes: 0 };
            add(seen, start, figures);
        }
    }
}

async fn sample(client: &Client, id: &str, start: Instant, seen: &Mutex<Seen>) {
    let options = StatsOptionsBuilder::new().stream(false).one_shot(true).build();
    let mut stats = client.stats(id, Some(options));
    let Ok(Some(Ok(stats))) = timeout(PATIENCE, stats.next()).await else { return };
    if let Some(figures) = figures(&stats) {
        add(seen, start, figures);
    }
}

fn add(seen: &Mutex<Seen>, start: Instant, figures: Figures) {
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

/// An amount that came up in `of`, for `time`.
fn part(amount: u64, time: u64, of: u64) -> u64 {
    let whole = u128::from(amount) * u128::from(time) / u128::from(of.max(1));
    u64::try_from(whole).unwrap_or(u64::MAX)
}

const fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
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

    const fn counters(cpu_ns: u64, peak: u64) -> Counters {
        Counters { cpu_ns, memory_peak_bytes: Some(peak) }
    }

    #[test]
    fn samples_are_extended_to_the_whole_time() {
        let mut seen = Seen::default();
        seen.add(1000, sampled(500, 30 << 20));
        seen.add(2000, sampled(1500, 10 << 20));

        let usage = seen.usage(None, NEEDS, 3000);

        let expected = Usage {
            cpu_ms: 2250,
            memory_mib_ms: 60_000,
            wall_ms: 3000,
            memory_peak_bytes: 30 << 20,
            network_bytes: 7,
            metering: Metering::Samples,
            ..Usage::default()
        };
        assert_eq!(usage, expected);
    }

    #[test]
    fn period_has_the_means_of_its_time() {
        let mut seen = Seen::default();
        seen.add(1000, sampled(0, 10 << 20));
        let before = Looked { at_ms: 1000, cpu_ms: 200, seen };
        seen.add(2000, sampled(0, 20 << 20));
        seen.add(3000, sampled(0, 40 << 20));

        let now = Looked { at_ms: 3000, cpu_ms: 3200, seen };

        assert_eq!(now.since(before), (1500, 30 << 20));
        assert_eq!(Looked { at_ms: 4000, ..now }.since(now), (0, 40 << 20));
    }

    #[test]
    fn counters_meter_work_between_samples() {
        let usage = Seen::default().usage(Some(counters(3_200_000, 5 << 20)), NEEDS, 10);

        let expected = Usage {
            cpu_ms: 4,
            memory_mib_ms: 50,
            wall_ms: 10,
            memory_peak_bytes: 5 << 20,
            metering: Metering::Counters,
            ..Usage::default()
        };
        assert_eq!(usage, expected);
    }

    #[test]
    fn counters_give_the_cpu_time_and_samples_the_time_of_memory_use() {
        let mut seen = Seen::default();
        seen.add(1000, sampled(0, 10 << 20));
        seen.add(2000, sampled(0, 30 << 20));

        let usage = seen.usage(Some(counters(700_000_000, 90 << 20)), NEEDS, 2500);

        assert_eq!((usage.cpu_ms, usage.memory_mib_ms), (700, 10_000 + 30_000 + 15_000));
        assert_eq!(usage.memory_peak_bytes, 90 << 20);
    }

    #[test]
    fn usage_without_measurement_is_a_marked_lower_bound() {
        let usage = Seen::default().usage(None, Resources::new(16_000, 32 << 10), 100);

        assert_eq!(usage.metering, Metering::Floor);
        assert_eq!((usage.cpu_ms, usage.memory_mib_ms, usage.wall_ms), (100, 6400, 100));
    }

    #[test]
    fn usage_never_exceeds_the_limits() {
        let mut seen = Seen::default();
        seen.add(100, sampled(100_000, 1 << 40));

        let full = Usage::full(NEEDS, 100);
        for counters in [None, Some(counters(u64::MAX, u64::MAX))] {
            let usage = seen.usage(counters, NEEDS, 100);

            assert_eq!((usage.cpu_ms, usage.memory_mib_ms), (full.cpu_ms, full.memory_mib_ms));
        }
    }
}
