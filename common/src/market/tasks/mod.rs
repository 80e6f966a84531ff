//! The tasks of a stage: a number while they wait, and memory only once they are handed out.

pub(super) mod active;
pub(super) mod overdue;
pub(super) mod pauses;
pub(super) mod receipts;
pub(super) mod task_stage;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::placement::queue::{Line, Place};
use super::stage::Cursor;
use super::trust::Taken;
use super::trust::checks::Check;
use crate::compute::resources::Resources;
use crate::data::chunk_table::ChunkTable;
use crate::ids::WorkspaceId;
use active::{Active, Tries};

/// A task that can be handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// It has been handed out before.
    Again(u32),
    /// The next one that never was.
    Fresh,
    /// One that is done, to check its results.
    Check(u32),
}

#[derive(Debug)]
pub struct Tasks {
    /// The data that is cut among them; `None` where they read no chunks.
    table: Option<Arc<ChunkTable>>,
    len: u32,
    /// The first that was never handed out.
    next: u32,
    done: u32,
    /// So many are handed out at a time, where there is a limit.
    at_once: Option<NonZeroU32>,
    /// What one needs of its node: what its package asks for, and disk for its input.
    needs: Resources,
    pub(super) active: BTreeMap<u32, Box<Active>>,
    /// Those that were handed out and must be handed out again.
    pub(super) waiting: BTreeMap<u32, Tries>,
    /// The same, but not before a time.
    pub(super) pausing: BTreeMap<u32, (DateTime<Utc>, Tries)>,
    /// What each operator has taken since the stage began, or the server started.
    pub(super) taken: BTreeMap<WorkspaceId, Taken>,
    /// Done tasks whose results are being checked.
    pub(super) checks: BTreeMap<u32, Check>,
    /// How long the accepted attempts since the server started took, and how many they are.
    ran: (u64, u32),
    /// Where it waits: by the kind of node that it asks for, and its run's queue.
    pub(super) line: Option<Line>,
    /// Where it stands in the queue, if it has a task to hand out.
    pub(super) place: Option<Place>,
}

impl Tasks {
    /// Tasks of which this many were handed out and are done; those that nodes hold are given
    /// afterwards.
    pub(super) fn new(
        needs: Resources,
        table: Option<Arc<ChunkTable>>,
        [len, next, done]: [u32; 3],
        at_once: Option<NonZeroU32>,
    ) -> Self {
        Self {
            table,
            len,
            next,
            done,
            at_once,
            needs,
            active: BTreeMap::new(),
            waiting: BTreeMap::new(),
            pausing: BTreeMap::new(),
            taken: BTreeMap::new(),
            checks: BTreeMap::new(),
            ran: (0, 0),
            line: None,
            place: None,
        }
    }

    pub fn table(&self) -> Option<&Arc<ChunkTable>> {
        self.table.as_ref()
    }

    pub const fn len(&self) -> u32 {
        self.len
    }

    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub const fn needs(&self) -> Resources {
        self.needs
    }

    /// None was ever handed out.
    pub(super) const fn is_untouched(&self) -> bool {
        self.next == 0
    }

    /// All have their results.
    pub(super) const fn is_done(&self) -> bool {
        self.done == self.len
    }

    /// All have their results, and nothing is left to check.
    pub(super) fn is_over(&self) -> bool {
        self.is_done() && self.checks.is_empty()
    }

    /// A task has its result, after this many milliseconds.
    pub(super) fn accept(&mut self, ms: u64) {
        self.done += 1;
        self.ran = (self.ran.0.saturating_add(ms), self.ran.1.saturating_add(1));
    }

    /// How many milliseconds a task took on average, where enough have been accepted to tell.
    pub(super) fn mean_ms(&self, of_at_least: u32) -> Option<u64> {
        let (sum, count) = self.ran;
        (count >= of_at_least).then(|| sum / u64::from(count.max(1)))
    }

    /// Whether a task can be handed out.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty() || self.has_fresh()
    }

    /// Whether a check can be handed out.
    pub(super) fn has_check(&self) -> bool {
        self.checks.values().any(|check| check.waits)
    }

    /// Whether only some are handed out at a time.
    pub(super) const fn is_limited(&self) -> bool {
        self.at_once.is_some()
    }

    fn has_fresh(&self) -> bool {
        self.fresh() > 0
    }

    /// How many were never handed out and may be.
    pub(super) fn fresh(&self) -> u32 {
        let open = self.next - self.done;
        let room = self.at_once.map_or(u32::MAX, |most| most.get().saturating_sub(open));
        room.min(self.len - self.next)
    }

    /// Chooses a task to hand out to a node: one that must be tried again before a fresh one, and
    /// last one that has failed there before, if `stuck` says that it has nowhere else to go.
    /// Before them all comes a check that the node may make.
    pub(super) fn choose(
        &self,
        failed_there: impl Fn(&Tries) -> bool,
        stuck: impl Fn(&Tries) -> bool,
        may_check: impl Fn(&Check) -> bool,
    ) -> Option<Choice> {
        let mut checks = self.checks.iter().filter(|(_, check)| check.waits);
        if let Some((index, _)) = checks.find(|(_, check)| may_check(check)) {
            return Some(Choice::Check(*index));
        }
        let first = |(index, _): (&u32, &Tries)| Choice::Again(*index);
        self.waiting
            .iter()
            .find(|(_, tries)| !failed_there(tries))
            .map(first)
            .or_else(|| self.has_fresh().then_some(Choice::Fresh))
            .or_else(|| self.waiting.iter().find(|(_, tries)| stuck(tries)).map(first))
    }

    /// Takes the chosen task.
    pub(super) fn take(&mut self, choice: Choice) -> Option<(u32, Tries)> {
        match choice {
            Choice::Check(index) => {
                let attempt = self.checks.get(&index)?.attempt;
                Some((index, Tries { attempt, ..Tries::default() }))
            }
            Choice::Again(index) => self.waiting.remove(&index).map(|tries| (index, tries)),
            Choice::Fresh => {
                self.next += 1;
                Some((self.next - 1, Tries::default()))
            }
        }
    }

    /// When the first pause of its tasks ends, where one has.
    pub(super) fn next_try(&self) -> Option<DateTime<Utc>> {
        self.pausing.values().map(|(at, _)| *at).min()
    }

    /// Takes everything that was handed out, is not held, and has no result.
    pub(super) fn take_waiting(&mut self) -> BTreeMap<u32, Tries> {
        let mut waiting = std::mem::take(&mut self.waiting);
        let pausing = std::mem::take(&mut self.pausing);
        waiting.extend(pausing.into_iter().map(|(index, (_, tries))| (index, tries)));
        waiting
    }

    pub(super) fn cursor(&self) -> Cursor {
        Cursor::Tasks { len: self.len, next: self.next, done: self.done }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let checks = self.active.values().filter(|active| active.is_check).count();
        let out = self.active.len() - checks + self.waiting.len() + self.pausing.len();
        if self.next > self.len || self.done as usize + out != self.next as usize {
            let Self { done, next, len, .. } = self;
            return Err(format!("{done} done and {out} handed out are not {next} of {len}"));
        }
        Ok(())
    }
}
