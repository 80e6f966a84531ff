//! What the node takes of its owner's disk: one budget for everything that it keeps and that tasks
//! write, and a floor of free space.
//!
//! A task holds a share of the budget from before its input is fetched until its folder is gone.
//! What it writes is counted as the disk counts it; the file system's free space tells when to
//! count, and shows what cannot be counted.

pub mod count;
pub mod pace;
pub mod unlinked;

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

/// How long an ended task may take to give its space back before another one is ended.
const VICTIM_PATIENCE: Duration = Duration::from_secs(10);
/// A file system with so little free space is as good as full.
const FULL: u64 = 1 << 20;
/// How long a new task waits for the free space to come back.
const LOW_PATIENCE: Duration = Duration::from_secs(30);
const LOW_POLL: Duration = Duration::from_millis(250);

/// What the owner allows, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For everything of the node.
    pub budget: u64,
    /// What stays free on the file system, whoever fills it.
    pub keep_free: u64,
}

impl Limits {
    /// The part that is always for what is kept between tasks; they use more while tasks leave it.
    pub const fn kept(self) -> u64 {
        self.budget / 4
    }

    /// The most that tasks get together.
    pub const fn tasks(self) -> u64 {
        self.budget - self.kept()
    }
}

/// The node's part of the disk.
#[derive(Debug)]
pub struct Disk {
    gauge: Gauge,
    device: u64,
    limits: Limits,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
enum Gauge {
    FileSystem(PathBuf),
    #[cfg(test)]
    Told(Arc<std::sync::atomic::AtomicU64>),
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    shares: BTreeMap<u64, Held>,
    low: Option<Low>,
}

#[derive(Debug)]
struct Held {
    reserved: u64,
    /// What the task is known to have on the disk, and when that was counted while it ran.
    used: u64,
    running: Option<Option<Instant>>,
}

/// The free space is below the floor.
#[derive(Debug)]
struct Low {
    since: Instant,
    victim: Option<(u64, Instant)>,
}

/// The disk stays too full for a new task.
#[derive(Debug, thiserror::Error)]
#[error("the node's disk has less free space than its owner keeps free")]
pub struct TooLow;

impl Disk {
    /// The budget for what lies in this folder.
    pub fn open(folder: &Path, limits: Limits) -> io::Result<Arc<Self>> {
        Self::with(Gauge::FileSystem(folder.to_owned()), folder, limits)
    }

    /// One whose free space is what the test says.
    #[cfg(test)]
    pub fn told(
        folder: &Path,
        limits: Limits,
        free: Arc<std::sync::atomic::AtomicU64>,
    ) -> io::Result<Arc<Self>> {
        Self::with(Gauge::Told(free), folder, limits)
    }

    fn with(gauge: Gauge, folder: &Path, limits: Limits) -> io::Result<Arc<Self>> {
        let device = std::fs::metadata(folder)?.dev();
        let (state, changed) = (Mutex::default(), Notify::new());
        Ok(Arc::new(Self { gauge, device, limits, state, changed }))
    }

    pub const fn limits(&self) -> Limits {
        self.limits
    }

    /// The bytes that anybody can still write; none where the file system does not tell.
    pub fn free(&self) -> u64 {
        match &self.gauge {
            Gauge::FileSystem(folder) => free_bytes(folder).unwrap_or(0),
            #[cfg(test)]
            Gauge::Told(free) => free.load(Ordering::Relaxed),
        }
    }

    pub fn is_low(&self) -> bool {
        self.free() < self.limits.keep_free
    }

    /// What tasks can have in all, for the server to place them by; `kept` is what the node keeps
    /// between tasks and can give up.
    pub fn lends(&self, kept: u64) -> u64 {
        let free = self.free();
        if free < self.limits.keep_free {
            return 0;
        }
        let can_have = (free - self.limits.keep_free).saturating_add(self.used());
        let can_have = can_have.saturating_add(kept);
        can_have.min(self.limits.tasks())
    }

    /// What tasks are known to have on the disk.
    pub fn used(&self) -> u64 {
        self.lock().shares.values().map(|held| held.used).sum()
    }

    /// What all shares and `kept` take beyond the budget.
    pub fn excess(&self, kept: u64) -> u64 {
        self.reserved().saturating_add(kept).saturating_sub(self.limits.budget)
    }

    /// What tasks may take in all.
    pub fn reserved(&self) -> u64 {
        self.lock().shares.values().map(|held| held.reserved).sum()
    }

    /// A share for a task's input and what it may write, if there is room for it now.
    pub fn share(self: &Arc<Self>, kept: u64, input: u64, writes_max: u64) -> Option<Arc<Share>> {
        let bytes = input.checked_add(writes_max)?;
        if self.free() < self.limits.keep_free.saturating_add(input) {
            return None;
        }
        let mut state = self.lock();
        let reserved: u64 = state.shares.values().map(|held| held.reserved).sum();
        if reserved.saturating_add(kept).checked_add(bytes)? > self.limits.budget {
            return None;
        }
        state.next += 1;
        let number = state.next;
        state.shares.insert(number, Held { reserved: bytes, used: 0, running: None });
        let was_full = AtomicBool::new(false);
        Some(Arc::new(Share { disk: Arc::clone(self), number, input, writes_max, was_full }))
    }

    /// Whether any task has a share.
    pub fn is_shared(&self) -> bool {
        !self.lock().shares.is_empty()
    }

    /// Ends when a share has been given back.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Waits until there is enough free space for a new task.
    pub async fn above_floor(&self) -> Result<(), TooLow> {
        let until = Instant::now() + LOW_PATIENCE;
        while self.is_low() {
            if Instant::now() >= until {
                return Err(TooLow);
            }
            sleep(LOW_POLL).await;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The free bytes of the file system that holds this folder, as users other than root see them.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(folder)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// A task's part of the budget; it is given back when this is dropped.
#[derive(Debug)]
pub struct Share {
    disk: Arc<Disk>,
    number: u64,
    input: u64,
    writes_max: u64,
    was_full: AtomicBool,
}

impl Share {
    /// The most bytes that the task may write.
    pub const fn writes_max(&self) -> u64 {
        self.writes_max
    }

    /// The file system that its folders are on.
    pub fn device(&self) -> u64 {
        self.disk.device
    }

    pub fn free(&self) -> u64 {
        self.disk.free()
    }

    /// Takes note of the free space while the task runs.
    pub fn note_free(&self, free: u64) {
        if free < FULL {
            self.was_full.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the file system was full while the task ran, or has too little free space now: its
    /// writes may have failed for that.
    pub fn was_full(&self) -> bool {
        let free = self.free();
        self.note_free(free);
        self.was_full.load(Ordering::Relaxed) || free < self.disk.limits.keep_free
    }

    /// The task's container runs as long as this is held.
    pub fn running(self: &Arc<Self>) -> Running {
        self.change(|held| held.running = Some(None));
        Running(Arc::clone(self))
    }

    /// The task's input is here, and it has written so much.
    pub fn note(&self, written: u64, now: Instant) {
        let used = self.input.saturating_add(written);
        self.change(|held| {
            held.used = used;
            if let Some(counted) = &mut held.running {
                *counted = Some(now);
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut Held)) {
        if let Some(held) = self.disk.lock().shares.get_mut(&self.number) {
            change(held);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut state = self.disk.lock();
        state.shares.remove(&self.number);
        let of_it = |(number, _): (u64, Instant)| number == self.number;
        if state.low.as_ref().and_then(|low| low.victim).is_some_and(of_it) {
            state.low = None;
        }
        drop(state);
        self.disk.changed.notify_waiters();
    }
}

/// What a running task is to do about the free space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Floor {
    Kept,
    /// It is too low: how much this task has written must be known before one is ended.
    Count,
    /// Another one ends, or is yet to be counted.
    Wait,
    /// This one has written most.
    End,
}

/// A task whose container runs.
#[derive(Debug)]
pub struct Running(Arc<Share>);

impl Running {
    /// What this task is to do with so much free space.
    pub fn floor(&self, free: u64, now: Instant) -> Floor {
        let Share { disk, number, .. } = &*self.0;
        let mut state = disk.lock();
        if free >= disk.limits.keep_free {
            state.low = None;
            return Floor::Kept;
        }
        let State { shares, low, .. } = &mut *state;
        let low = low.get_or_insert(Low { since: now, victim: None });
        if let Some((victim, since)) = low.victim {
            if now < since + VICTIM_PATIENCE {
                return if victim == *number { Floor::End } else { Floor::Wait };
            }
            *low = Low { since: now, victim: None };
        }
        let running = || shares.iter().filter_map(|(n, held)| Some((n, held.used, held.running?)));
        let is_new = |counted: Option<Instant>| counted.is_some_and(|at| at >= low.since);
        if running().any(|(n, _, counted)| n == number && !is_new(counted)) {
            return Floor::Count;
        }
        if !running().all(|(_, _, counted)| is_new(counted)) {
            return Floor::Wait;
        }
        let largest = running().max_by_key(|(n, used, _)| (*used, **n)).map(|(n, ..)| *n);
        low.victim = largest.map(|victim| (victim, now));
        if largest == Some(*number) { Floor::End } else { Floor::Wait }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.change(|held| held.running = None);
    }
}

#[cfg(test)]
mod tests;
