//! What a schedule that is due comes to: runs, or a note of why there is none.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{Skip, SkipCause};
use crate::ids::RunId;
use crate::market::{Market, Refused};
use crate::run::cause::{Cause, CauseKind};
use crate::run::spec::{Origin, RunSpec};
use crate::schedule::{Overlap, Schedule};

impl Market {
    /// Decides what becomes of the nominal times of a schedule until now: of each exactly once.
    /// `schedule` is what is stored, and `order` what its job comes to as it is now, or why it
    /// cannot be run. Where the market knows a newer schedule, nothing changes.
    pub fn fired(
        &mut self,
        schedule: Schedule,
        order: &Result<RunSpec, String>,
        now: DateTime<Utc>,
    ) {
        let known = self.schedules.active.get(&schedule.job);
        let is_known = known.is_some_and(|known| {
            known.revision == schedule.revision && Some(known.at) == schedule.next
        });
        if !is_known {
            return;
        }
        let Some(due) = schedule.due(now) else {
            // The clock went back since it was told to be due.
            self.schedules.plan(&schedule);
            return;
        };
        if let Some((first, last)) = due.missed {
            self.skip(&schedule, (first, last), SkipCause::Missed, now);
        }
        for at in due.runs {
            if let Err(why) = self.start_scheduled(&schedule, at, order, now) {
                self.skip(&schedule, (at, at), why, now);
            }
        }
        self.put_schedule(schedule.moved_on(due.last, due.next));
    }

    /// Starts the run of a nominal time. Where the wallet is too low, the run has failed.
    fn start_scheduled(
        &mut self,
        schedule: &Schedule,
        at: DateTime<Utc>,
        order: &Result<RunSpec, String>,
        now: DateTime<Utc>,
    ) -> Result<(), SkipCause> {
        let going: Vec<RunId> = self.runs_of(schedule.job).collect();
        let most = match schedule.rules.overlap {
            Overlap::Forbid => 1,
            Overlap::Allow(most) => usize::from(most),
            Overlap::Replace => usize::MAX,
        };
        if going.len() >= most {
            return Err(SkipCause::Overlap);
        }
        let order = order.clone().map_err(SkipCause::Job)?;
        let spec = Arc::new(RunSpec { origin: Origin::Schedule(at), ..order });
        if schedule.rules.overlap == Overlap::Replace {
            for run in going {
                // One that is being stopped has been cancelled already.
                let _ = self.cancel(run, format!("replaced by the run that was due at {at}"), now);
            }
        }
        let id = RunId::of_fire(schedule.job, at);
        match self.start_run(id, Arc::clone(&spec), now) {
            Ok(()) => {}
            Err(refused @ (Refused::Wallet { .. } | Refused::Cap { .. })) => {
                let cause = Cause::new(CauseKind::Credits, refused.to_string());
                self.start_failed(id, spec, cause, now);
            }
            Err(refused @ Refused::NoQueue) => {
                let cause = Cause::new(CauseKind::Plan, refused.to_string());
                self.start_failed(id, spec, cause, now);
            }
            // It can only be the same run.
            Err(
                Refused::AlreadyStarted
                | Refused::NoRun
                | Refused::NotDeliverable
                | Refused::NotRetryable
                | Refused::SamePlan
                | Refused::Stopping,
            ) => {}
        }
        self.outbox.changes.fired.insert(schedule.job, id);
        Ok(())
    }

    fn skip(
        &mut self,
        schedule: &Schedule,
        (first, last): (DateTime<Utc>, DateTime<Utc>),
        why: SkipCause,
        now: DateTime<Utc>,
    ) {
        let skip = Skip { job: schedule.job, first, last, why, at: now };
        self.outbox.changes.skips.push(skip);
    }
}
