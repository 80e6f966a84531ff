//! Schedules of jobs: what use cases change of them, and what they are told is due.

pub use common::market::Fire;
use common::run::spec::RunSpec;
use common::schedule::Schedule;
use tokio::sync::mpsc;

use super::{Command, Coordinator, Error};
use crate::store;
use crate::store::jobs::JobLock;
use crate::store::market::plans;
use crate::store::schedules;

/// The schedules that are due, each once. What was not answered before a restart comes again.
pub type Fires = mpsc::Receiver<Fire>;

/// Schedules that are due and wait to be answered; others are told of after them.
pub(super) const FIRES_MAX: usize = 256;

impl Coordinator {
    /// Puts a job's schedule in place of the one that it has. On `Ok` it is on disk.
    pub async fn put_schedule(&self, schedule: Schedule, lock: JobLock) -> Result<(), Error> {
        store::prove_rules(&schedule.rules)?;
        let schedule = Box::new(schedule);
        Ok(self.ask(|reply| Command::PutSchedule { schedule, lock, reply }).await??)
    }

    /// The schedule that a fire is about; `None` where it has changed since.
    pub async fn due_schedule(&self, fire: Fire) -> Result<Option<Schedule>, Error> {
        let found = schedules::find(&self.db, fire.job).await?;
        Ok(found.filter(|schedule| is_of(schedule, fire)))
    }

    /// Answers a fire: with what a run of its job is, or why there can be none. Where its schedule
    /// has changed since, nothing happens.
    pub async fn fired(&self, fire: Fire, order: Result<RunSpec, String>) -> Result<(), Error> {
        if let Ok(spec) = &order {
            plans::prove(&self.db, &spec.plan)?;
        }
        let lock = self.lock_job(fire.job).await?;
        let Some(schedule) = self.due_schedule(fire).await? else { return Ok(()) };
        let (schedule, order) = (Box::new(schedule), Box::new(order));
        let command = Command::Fired { schedule, order, lock };
        let sent = self.in_time(self.commands.send(command)).await?;
        sent.map_err(|_| Error::Stopping)
    }
}

fn is_of(schedule: &Schedule, fire: Fire) -> bool {
    schedule.revision == fire.revision && schedule.next == Some(fire.at)
}
