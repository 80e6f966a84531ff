//! Places for the steps that the server does itself: this many in all, this many for each workspace,
//! and who holds and waits for them. Copying a slow source as a whole has places of its own, so
//! that it keeps no cut or fold waiting.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::ids::{RunId, WorkspaceId};

use crate::data::pace::{Pace, Slow};
use crate::limits::concurrency::{KeyedSemaphore, Permit};

/// Steps of one workspace that are worked on at once.
const OWN_MAX: usize = 2;
/// The same of all workspaces: each may hold tens of MiB.
const STEPS_MAX: usize = 16;
/// Sources that are copied as a whole at once, beside those steps.
const COPIES_MAX: usize = 8;

/// What a place is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Looking at a source, cutting it, collecting, folding, delivering.
    Step,
    /// Copying a source that gives no ranges.
    Copy,
}

/// What holds up a run's step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hindrance {
    /// The workspace's other runs hold as many places as it may have.
    Own { kind: Kind, held: usize, most: usize },
    /// All workspaces together do.
    All { kind: Kind, most: usize },
    /// It has a place, and somebody else's server is slow.
    Slow(Slow),
    /// It has failed, and is tried again: what it waits for.
    Away(String),
}

/// The places; clones share them.
#[derive(Clone)]
pub struct Turns {
    steps: KeyedSemaphore<WorkspaceId>,
    copies: KeyedSemaphore<WorkspaceId>,
    board: Arc<Mutex<Board>>,
}

/// Who holds or waits for a place.
#[derive(Default)]
struct Board {
    next: u64,
    entries: HashMap<u64, Entry>,
    /// What each run's step waits for that is away.
    away: HashMap<RunId, String>,
}

struct Entry {
    run: RunId,
    workspace: WorkspaceId,
    kind: Kind,
    holds: bool,
    pace: Pace,
}

/// A place that is held.
pub struct Turn {
    _place: Permit<WorkspaceId>,
    _notice: Notice,
}

/// What a step waits for that is away, as long as it waits.
pub struct Waits {
    board: Arc<Mutex<Board>>,
    run: RunId,
}

/// An entry of the board, for as long as it is true.
struct Notice {
    board: Arc<Mutex<Board>>,
    id: u64,
}

impl Turns {
    pub fn new() -> Self {
        Self {
            steps: KeyedSemaphore::new(OWN_MAX, STEPS_MAX),
            copies: KeyedSemaphore::new(OWN_MAX, COPIES_MAX),
            board: Arc::default(),
        }
    }

    /// Waits for a place. `pace` tells how fast the step's server is while it is held.
    pub async fn take(&self, kind: Kind, workspace: WorkspaceId, run: RunId, pace: &Pace) -> Turn {
        let notice = {
            let mut board = lock(&self.board);
            let id = board.next;
            board.next += 1;
            let entry = Entry { run, workspace, kind, holds: false, pace: pace.clone() };
            board.entries.insert(id, entry);
            Notice { board: Arc::clone(&self.board), id }
        };
        let places = match kind {
            Kind::Step => &self.steps,
            Kind::Copy => &self.copies,
        };
        let place = places.take(workspace).await;
        if let Some(entry) = lock(&self.board).entries.get_mut(&notice.id) {
            entry.holds = true;
        }
        Turn { _place: place, _notice: notice }
    }

    /// Notes what a run's step waits for.
    pub fn waits(&self, run: RunId, what: String) -> Waits {
        lock(&self.board).away.insert(run, what);
        Waits { board: Arc::clone(&self.board), run }
    }

    /// What a run's step waits for, where something holds it up.
    pub fn hindrance(&self, run: RunId) -> Option<Hindrance> {
        let board = lock(&self.board);
        if let Some(what) = board.away.get(&run) {
            return Some(Hindrance::Away(what.clone()));
        }
        let entry = board.entries.values().find(|entry| entry.run == run)?;
        if entry.holds {
            return entry.pace.slow().map(Hindrance::Slow);
        }
        let kind = entry.kind;
        let own = |other: &&Entry| {
            other.holds && other.kind == kind && other.workspace == entry.workspace
        };
        let held = board.entries.values().filter(own).count();
        if held >= OWN_MAX {
            return Some(Hindrance::Own { kind, held, most: OWN_MAX });
        }
        let most = match kind {
            Kind::Step => STEPS_MAX,
            Kind::Copy => COPIES_MAX,
        };
        Some(Hindrance::All { kind, most })
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        lock(&self.board).away.remove(&self.run);
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        lock(&self.board).entries.remove(&self.id);
    }
}

fn lock(board: &Mutex<Board>) -> MutexGuard<'_, Board> {
    // Each change is one insert, remove or assignment.
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use uuid::Uuid;

    use super::*;
    use crate::data::pace::Side;

    fn workspace(n: u128) -> WorkspaceId {
        WorkspaceId::new(Uuid::from_u128(n))
    }

    fn run(n: u128) -> RunId {
        RunId::new(Uuid::from_u128(n))
    }

    #[tokio::test]
    async fn workspace_uses_only_its_own_places_and_has_that_reason() {
        let (turns, pace) = (Turns::new(), Pace::new(Side::Source));
        let take = |kind, owner, n| turns.take(kind, workspace(owner), run(n), &pace);
        let _held = (take(Kind::Step, 1, 1).await, take(Kind::Step, 1, 2).await);
        let mut third = Box::pin(take(Kind::Step, 1, 3));
        assert!(third.as_mut().now_or_never().is_none());

        let own = Hindrance::Own { kind: Kind::Step, held: 2, most: 2 };
        assert_eq!(turns.hindrance(run(3)), Some(own));
        assert_eq!(turns.hindrance(run(1)), None);
        // Neither another workspace nor a copy waits for them.
        assert!(take(Kind::Step, 2, 4).now_or_never().is_some());
        assert!(take(Kind::Copy, 1, 5).now_or_never().is_some());
    }

    #[test]
    fn step_that_waits_for_an_unreachable_service_has_that_reason() {
        let turns = Turns::new();
        let waits = turns.waits(run(1), "the bucket".to_owned());

        assert_eq!(turns.hindrance(run(1)), Some(Hindrance::Away("the bucket".to_owned())));
        assert_eq!(turns.hindrance(run(2)), None);
        drop(waits);
        assert_eq!(turns.hindrance(run(1)), None);
    }

    #[tokio::test]
    async fn abandoned_wait_is_removed() {
        let (turns, pace) = (Turns::new(), Pace::new(Side::Source));
        let mut held = Vec::new();
        for n in 0..STEPS_MAX as u128 {
            held.push(turns.take(Kind::Step, workspace(n / 2), run(n), &pace).await);
        }
        let mut late = Box::pin(turns.take(Kind::Step, workspace(99), run(99), &pace));
        assert!(late.as_mut().now_or_never().is_none());
        let all = Hindrance::All { kind: Kind::Step, most: STEPS_MAX };
        assert_eq!(turns.hindrance(run(99)), Some(all));

        drop(late);
        drop(held);

        assert_eq!(turns.hindrance(run(99)), None);
        assert!(lock(&turns.board).entries.is_empty());
    }
}
