//! Delivering the results of a failed run again. Its tasks are done and paid for; only what the
//! server itself does afterwards is done once more, and costs nothing.

use chrono::{DateTime, TimeDelta, Utc};

use crate::market::run::Run;
use crate::market::stage::Open;
use crate::market::{Market, Refused};
use crate::plan::{Body, DataTask};
use crate::run::RunState;

impl Market {
    /// Takes up a run that failed after its last task, as it was stored, with the stages that were
    /// open at its end.
    ///
    /// # Errors
    /// Where nodes would have to work for it again, or it goes on already.
    pub fn deliver_again(&mut self, mut run: Run, now: DateTime<Utc>) -> Result<(), Refused> {
        let id = run.id;
        if self.runs.contains_key(&id) || !run.can_deliver_again() {
            return Err(Refused::NotDeliverable);
        }
        run.clear_cause();
        self.outbox.stages.extend(run.stages().map(|stage| (id, stage.no)));
        self.runs.insert(id, run);
        self.note_job(id);
        self.enter_queue(id);
        self.running += 1;
        self.enter(id, RunState::Running, now);
        self.resume(id, now);
        Ok(())
    }
}

impl Run {
    /// Whether nothing of it was open but deliveries, and what they are in.
    fn can_deliver_again(&self) -> bool {
        let mut deliveries = 0;
        let is_delivery = |stage: &crate::market::Stage| match (&stage.open, self.step(stage)) {
            (Open::Step, Some(DataTask::Deliver { .. })) => {
                deliveries += 1;
                true
            }
            (Open::Group(_), _) => true,
            (_, _) => false,
        };
        let all = self.stages().all(is_delivery);
        self.state() == RunState::Failed && all && deliveries > 0
    }

    fn step(&self, stage: &crate::market::Stage) -> Option<&DataTask> {
        match &self.spec.plan.block(stage.block).body {
            Body::Data(task) => Some(task),
            Body::Group(_)
            | Body::Each(_)
            | Body::Child(_)
            | Body::Container(_)
            | Body::Call(_) => None,
        }
    }

    /// Whether it has ended before: its customer's statement has its line.
    pub(in crate::market) fn has_ended_before(&self) -> bool {
        self.times().of(RunState::Failed).is_some()
    }

    /// When it must have ended, where its work has begun and has a limit: counted from when it was
    /// taken up again, where it was. It may have waited for a time that its customer chose.
    pub(in crate::market) fn deadline(&self) -> Option<DateTime<Utc>> {
        let secs = self.spec.timeout_secs?;
        let began = if self.has_ended_before() {
            self.times().of(RunState::Running)
        } else {
            self.times().began()
        };
        Some(began? + TimeDelta::seconds(secs.into()))
    }
}
