//! Schedules of jobs: what use cases change of them, and what they are told is due.

pub use common::market::Fire;
use common::run::spec::RunSpec;
use common::schedule::Schedule;
use tokio::sync::mpsc;

use super::{Command, Coordinator, Error};
use crate::store;
use crate::store::jobs::JobLock;
use crate::store::schedules;

/// The schedules that are due, each once. What was not answered before a restart comes again.
pub type Fires = mpsc::UnboundedReceiver<Fire>;

/// A schedule that is due, as it is stored. Nothing changes it or its job until it is answered.
pub struct DueSchedule {
    pub schedule: Schedule,
    lock: JobLock,
}

impl Coordinator {
    /// Puts a job's schedule in place of the one that it has. On `Ok` it is on disk.
    pub async fn put_schedule(&self, schedule: Schedule, lock: JobLock) -> Result<(), Error> {
        store::prove_rules(&schedule.rules)?;
        let schedule = Box::new(schedule);
        Ok(self.ask(|reply| Command::PutSchedule { schedule, lock, reply }).await??)
    }

    /// The schedule that a fire is about; `None` where it has changed since.
    pub async fn due_schedule(&self, fire: Fire) -> Result<Option<DueSchedule>, Error> {
        let lock = self.lock_job(fire.job).await?;
        let Some(schedule) = schedules::find(&self.db, fire.job).await? else { return Ok(None) };
        let is_due = schedule.revision == fire.revision && schedule.next == Some(fire.at);
        Ok(is_due.then_some(DueSchedule { schedule, lock }))
    }

    /// Answers a schedule that is due: with what a run of its job is, or why there can be none.
    pub async fn fired(
        &self,
        due: DueSchedule,
        order: Result<RunSpec, String>,
    ) -> Result<(), Error> {
        if let Ok(spec) = &order {
            store::prove_plan(&spec.plan)?;
        }
        let DueSchedule { schedule, lock } = due;
        let command = Command::Fired { schedule: Box::new(schedule), order: Box::new(order), lock };
        let sent = self.in_time(self.commands.send(command)).await?;
        sent.map_err(|_| Error::Stopping)
    }
}

impl DueSchedule {
    /// The schedule, and the lock under which it can be changed.
    pub fn into_parts(self) -> (Schedule, JobLock) {
        (self.schedule, self.lock)
    }
}
