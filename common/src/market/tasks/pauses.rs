//! Tasks between two tries: each waits in its run until its time, and costs nothing meanwhile.

use chrono::{DateTime, Utc};

use super::active::Tries;
use crate::market::Market;
use crate::run::task::TaskRef;

impl Market {
    /// Hands a task out again, after a pause or at once.
    pub(in crate::market) fn try_again(
        &mut self,
        task: TaskRef,
        tries: Tries,
        at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) {
        let Some(run) = self.runs.get_mut(&task.run) else { return };
        let Some(tasks) = run.tasks_mut(task.stage) else { return };
        if at > now {
            tasks.pausing.insert(task.index, (at, tries));
            self.pauses.insert((at, task));
        } else {
            tasks.waiting.insert(task.index, tries);
        }
        self.note_runnable(task.run);
    }

    /// Ends the pauses whose time has come.
    pub(in crate::market) fn end_pauses(&mut self, now: DateTime<Utc>) {
        let mut woken = false;
        while let Some((at, task)) = self.pauses.first().copied()
            && at <= now
        {
            self.pauses.pop_first();
            let run = self.runs.get_mut(&task.run);
            let Some(tasks) = run.and_then(|run| run.tasks_mut(task.stage)) else { continue };
            let Some((_, tries)) = tasks.pausing.remove(&task.index) else { continue };
            tasks.waiting.insert(task.index, tries);
            self.note_runnable(task.run);
            woken = true;
        }
        if woken {
            // They may have declined what else its run had.
            self.room.open_all();
        }
    }
}
