//! Who is called: it notes each request, and compares it with what the server has stored.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::market::{Changes, TaskState};
use common::run::task::{Lease, TaskRef};

use crate::store::Store;

#[derive(Default)]
pub struct Receiver {
    /// The last attempt that came of each call.
    heard: BTreeMap<TaskRef, u32>,
    /// When a stored pause ends.
    pauses: BTreeMap<TaskRef, DateTime<Utc>>,
}

impl Receiver {
    /// Notes what has been stored.
    pub fn note(&mut self, changes: &Changes) {
        for task in &changes.tasks {
            match task.not_before {
                // Its run has ended: it is not waited for if that is retried.
                _ if task.state == TaskState::Failed => {
                    self.pauses.remove(&task.task);
                }
                Some(until) => {
                    self.pauses.insert(task.task, until);
                }
                None => {}
            }
        }
    }

    /// A request comes: its lease is stored, its pause is over, and nothing was accepted before.
    pub fn hear(&mut self, lease: Lease, store: &Store, now: DateTime<Utc>) -> Result<(), String> {
        let stored = store.tasks.get(&lease.task);
        let stored = stored.ok_or_else(|| format!("{lease} was sent and is not stored"))?;
        if (stored.state, stored.attempt) != (TaskState::Leased, lease.attempt) {
            return Err(format!("{lease} was sent, and stored is {stored:?}"));
        }
        if self.pauses.get(&lease.task).is_some_and(|until| *until > now) {
            return Err(format!("{lease} was sent before {:?}", self.pauses.get(&lease.task)));
        }
        let before = self.heard.insert(lease.task, lease.attempt);
        if before.is_some_and(|before| before >= lease.attempt) {
            return Err(format!("{lease} was sent after attempt {before:?}"));
        }
        Ok(())
    }
}
