//! What others may see of runs as they go: their progress, and a stream of events. Both tell only
//! what is on disk.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use common::ids::{JobId, RunId, WorkspaceId};
use common::market::{Changes, Notice, Owner, Progress, TaskState};
use common::run::RunState;
use common::task::TaskRef;
use tokio::sync::broadcast;

/// Events kept for a slow listener; one that falls further behind is told so.
const EVENTS_MAX: usize = 4_096;

/// What has happened to a run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunEvent {
    /// Rising, without gaps, since this server's process started.
    pub seq: u64,
    pub workspace: WorkspaceId,
    pub job: JobId,
    pub run: RunId,
    pub change: Change,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    State { state: RunState, error: Option<String> },
    Task { task: TaskRef, attempt: u32, state: TaskState },
}

#[derive(Clone)]
pub(super) struct Watch {
    events: broadcast::Sender<RunEvent>,
    next: Arc<AtomicU64>,
    progress: Arc<Mutex<HashMap<RunId, Progress>>>,
}

impl Watch {
    pub fn new() -> Self {
        let (events, _) = broadcast::channel(EVENTS_MAX);
        Self { events, next: Arc::default(), progress: Arc::default() }
    }

    pub fn subscribe(&self) -> broadcast::Receiver<RunEvent> {
        self.events.subscribe()
    }

    pub fn progress(&self, run: RunId) -> Option<Progress> {
        let known = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&run).copied()
    }

    /// Tells what has been stored.
    pub fn tell(&self, changes: &mut Changes) {
        let mut known = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(changes.progress.drain(..));
        for ended in &changes.ended {
            known.remove(&ended.run);
        }
        drop(known);
        let notices = std::mem::take(&mut changes.notices);
        if self.events.receiver_count() == 0 {
            return;
        }
        for notice in notices {
            let (run, Owner { workspace, job }, change) = match notice {
                Notice::State { run, owner, state, error } => {
                    (run, owner, Change::State { state, error })
                }
                Notice::Task { task, owner, attempt, state } => {
                    (task.run, owner, Change::Task { task, attempt, state })
                }
            };
            let seq = self.next.fetch_add(1, Ordering::Relaxed);
            // Nobody listening is no failure.
            let _ = self.events.send(RunEvent { seq, workspace, job, run, change });
        }
    }
}
