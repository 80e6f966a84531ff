//! What time alone brings about.

use chrono::{DateTime, Utc};

use super::Market;
use crate::ids::RunId;

impl Market {
    /// Begins runs that are due, ends those that are past their limits, offers the tasks of silent
    /// nodes to others, and keeps holds as large as running tasks need them. To be called about
    /// once a second. Runs that only wait cost nothing.
    pub fn tick(&mut self, now: DateTime<Utc>) {
        self.renew_caps(now);
        self.begin_due(now);
        self.end_pauses(now);
        self.offer_silent(now);
        self.follow_probes(now);
        self.end_past_deadline(now);
        self.end_unbegun(now);
        self.end_all_stopped(now);
        let working: Vec<RunId> = self.working.iter().copied().collect();
        for id in working {
            self.lose_overdue(id, now);
            self.end_late_checks(id, now);
            self.meter(id, now);
            self.trim(id, now);
            if self.runs.get(&id).is_none_or(|run| !run.is_worked_on()) {
                self.working.remove(&id);
            }
        }
    }
}
