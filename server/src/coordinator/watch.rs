//! What others may see of runs as they go: their progress, and a stream of events. Both tell only
//! what is on disk.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::ids::{JobId, RunId, WorkspaceId};
use common::market::{Changes, Notice, Owner, Progress, TaskState};
use common::plan::Phase;
use common::run::RunState;
use common::run::cause::Cause;
use common::run::spec::Origin;
use common::run::task::{Lease, TaskRef};
use tokio::sync::broadcast;

use crate::clock;

/// Events kept for slow listeners and for those that come back; one that has fallen further
/// behind is told so.
const EVENTS_MAX: usize = 4_096;

/// What has happened to a run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunEvent {
    pub id: EventId,
    pub workspace: WorkspaceId,
    pub job: JobId,
    pub run: RunId,
    pub origin: Origin,
    pub change: Change,
}

impl RunEvent {
    /// Whether it tells how a job goes: callbacks do not, and of parts of runs their tasks only.
    pub fn is_of_job(&self) -> bool {
        match (self.origin, &self.change) {
            (Origin::Manual | Origin::Schedule(_) | Origin::Detached(_), _)
            | (Origin::Part(_), Change::Task { .. } | Change::Log { .. }) => true,
            (Origin::Part(_), Change::State { .. }) | (Origin::Callback(_), _) => false,
        }
    }
}

/// Which event of which life of the server: a listener that comes back names the last it heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventId {
    /// When this server's process started, in microseconds since 1970.
    boot: i64,
    /// Rising, without gaps, since then.
    seq: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.boot, self.seq)
    }
}

/// The text is no event's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not the id of an event")]
pub struct NotAnEventId;

impl FromStr for EventId {
    type Err = NotAnEventId;

    fn from_str(text: &str) -> Result<Self, NotAnEventId> {
        let (boot, seq) = text.split_once('-').ok_or(NotAnEventId)?;
        let (boot, seq) = (boot.parse().ok(), seq.parse().ok());
        boot.zip(seq).map(|(boot, seq)| Self { boot, seq }).ok_or(NotAnEventId)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    State {
        state: RunState,
        phase: Option<Phase>,
        cause: Option<Cause>,
    },
    Task {
        task: TaskRef,
        phase: Option<Phase>,
        attempt: u32,
        state: TaskState,
    },
    /// A task has written: the stored batch of lines of this number.
    Log {
        lease: Lease,
        phase: Option<Phase>,
        number: i64,
    },
}

/// Lines of an attempt's log that are stored, as one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredLines {
    pub lease: Lease,
    pub owner: Owner,
    pub phase: Option<Phase>,
    /// The batch's number.
    pub number: i64,
}

#[derive(Clone)]
pub(super) struct Watch {
    events: broadcast::Sender<RunEvent>,
    recent: Arc<Mutex<Recent>>,
    progress: Arc<Mutex<HashMap<RunId, Progress>>>,
}

/// The last events, oldest first.
struct Recent {
    next: EventId,
    events: VecDeque<RunEvent>,
}

impl Watch {
    pub fn new() -> Self {
        let (events, _) = broadcast::channel(EVENTS_MAX);
        let next = EventId { boot: clock::now().timestamp_micros(), seq: 0 };
        let recent = Recent { next, events: VecDeque::with_capacity(EVENTS_MAX) };
        Self { events, recent: Arc::new(Mutex::new(recent)), progress: Arc::default() }
    }

    pub fn subscribe(&self) -> broadcast::Receiver<RunEvent> {
        self.events.subscribe()
    }

    /// Everything from now on, and what came after an event before; `None` where some of that is
    /// no longer known.
    pub fn resume(&self, after: EventId) -> (Option<Vec<RunEvent>>, broadcast::Receiver<RunEvent>) {
        // No event is told while this is held, so that none falls in between.
        let recent = self.recent();
        let receiver = self.events.subscribe();
        let first = recent.events.front().map_or(recent.next.seq, |event| event.id.seq);
        let known = after.boot == recent.next.boot
            && after.seq < recent.next.seq
            && after.seq.saturating_add(1) >= first;
        let missed = || recent.events.iter().filter(|event| event.id.seq > after.seq).cloned();
        (known.then(|| missed().collect()), receiver)
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn progress(&self, run: RunId) -> Option<Progress> {
        let known = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&run).cloned()
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
        let changes = notices.into_iter().map(|notice| match notice {
            Notice::State { run, owner, state, phase, cause } => {
                (run, owner, Change::State { state, phase, cause })
            }
            Notice::Task { task, owner, phase, attempt, state } => {
                (task.run, owner, Change::Task { task, phase, attempt, state })
            }
        });
        self.send(changes);
    }

    /// Tells of lines that have been stored.
    pub fn tell_lines(&self, lines: impl IntoIterator<Item = StoredLines>) {
        let change = |StoredLines { lease, owner, phase, number }| {
            (lease.task.run, owner, Change::Log { lease, phase, number })
        };
        self.send(lines.into_iter().map(change));
    }

    fn send(&self, changes: impl Iterator<Item = (RunId, Owner, Change)>) {
        let mut recent = self.recent();
        for (run, Owner { workspace, job, origin }, change) in changes {
            let event = RunEvent { id: recent.next, workspace, job, run, origin, change };
            recent.next.seq += 1;
            if recent.events.len() == EVENTS_MAX {
                recent.events.pop_front();
            }
            recent.events.push_back(event.clone());
            // Nobody listening is no failure.
            let _ = self.events.send(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn tell(watch: &Watch, count: usize) {
        let owner = Owner {
            workspace: WorkspaceId::new(Uuid::from_u128(1)),
            job: JobId::new(Uuid::from_u128(2)),
            origin: Origin::Manual,
        };
        let notice = || Notice::State {
            run: RunId::new(Uuid::from_u128(3)),
            owner,
            state: RunState::Accepted,
            phase: None,
            cause: None,
        };
        let notices = std::iter::repeat_with(notice).take(count).collect();
        watch.tell(&mut Changes { notices, ..Changes::default() });
    }

    #[test]
    fn returning_watcher_gets_each_missed_event_once() {
        let watch = Watch::new();
        let mut first = watch.subscribe();
        tell(&watch, 5);
        let heard = first.try_recv().unwrap().id;

        let (missed, mut receiver) = watch.resume(heard);
        tell(&watch, 1);

        let missed: Vec<_> = missed.unwrap().iter().map(|event| event.id.seq).collect();
        assert_eq!(missed, [1, 2, 3, 4]);
        assert_eq!(receiver.try_recv().unwrap().id.seq, 5);
    }

    #[test]
    fn event_id_that_is_too_old_or_of_another_boot_is_unknown() {
        let watch = Watch::new();
        let boot = watch.recent().next.boot;
        tell(&watch, EVENTS_MAX + 2);
        for (id, known) in [
            (EventId { boot, seq: 0 }, false),
            (EventId { boot, seq: 1 }, true),
            (EventId { boot, seq: EVENTS_MAX as u64 + 1 }, true),
            (EventId { boot, seq: EVENTS_MAX as u64 + 2 }, false),
            (EventId { boot, seq: u64::MAX }, false),
            (EventId { boot: boot - 1, seq: 7 }, false),
        ] {
            assert_eq!(watch.resume(id).0.is_some(), known, "{id}");
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for text in ["", "7", "a-b", "1-99999999999999999999999"] {
            assert_eq!(text.parse::<EventId>(), Err(NotAnEventId));
        }
    }
}
