//! Tasks between two tries: each waits in its run until its time, and costs nothing meanwhile.

use chrono::{DateTime, Utc};

use super::Market;
use super::active::Tries;
use super::run::Run;
use crate::ids::RunId;

impl Market {
    /// Hands a task out again, after a pause or at once.
    pub(super) fn try_again(
        &mut self,
        id: RunId,
        index: u32,
        tries: Tries,
        at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        if at > now {
            run.pausing.insert(index, (at, tries));
            self.pauses.insert((at, id, index));
        } else {
            run.waiting.insert(index, tries);
        }
        self.note_runnable(id);
    }

    /// Ends the pauses whose time has come.
    pub(super) fn end_pauses(&mut self, now: DateTime<Utc>) {
        let mut woken = false;
        while let Some((at, id, index)) = self.pauses.first().copied()
            && at <= now
        {
            self.pauses.pop_first();
            let Some(run) = self.runs.get_mut(&id) else { continue };
            let Some((_, tries)) = run.pausing.remove(&index) else { continue };
            run.waiting.insert(index, tries);
            self.note_runnable(id);
            woken = true;
        }
        if woken {
            // They may have declined what else its run had.
            self.open.extend(self.nodes.keys());
        }
    }
}

impl Run {
    /// When the first pause of its tasks ends, where one has.
    pub(super) fn next_try(&self) -> Option<DateTime<Utc>> {
        self.pausing.values().map(|(at, _)| *at).min()
    }
}
