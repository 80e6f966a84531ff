//! Starting a job, and taking its run up again.
//!
//! The market remembers no draft and no run that has ended. So what is to be known of them is read
//! here, under the job's lock, which goes with the command until the batch is on disk.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use common::ids::{JobId, RunId, WorkspaceId};
use common::market::{Interrupted, Market, Refused, Run};
use common::run::spec::RunSpec;
use tracing::Span;

use super::{Command, Coordinator, Error};
use crate::store;
use crate::store::jobs::{IdOrigin, Job, JobLock, JobLook, StartAs};
use crate::store::market::{interrupted, plans, runs};

/// A job as it was read to start it.
#[derive(Debug)]
pub struct ReadJob {
    pub job: Job,
    /// It has a schedule, which makes its runs.
    pub is_scheduled: bool,
    look: JobLook,
}

/// How a run that has ended is taken up.
pub(super) enum Again {
    /// What the server itself does after its last task is done once more.
    Deliver(Box<Run>),
    /// It goes on, with those that are parts of it.
    Retry(Vec<Interrupted>),
}

impl Again {
    pub fn apply(self, market: &mut Market, now: DateTime<Utc>) -> Result<(), Refused> {
        match self {
            Self::Deliver(run) => market.deliver_again(*run, now),
            Self::Retry(runs) => market.retry(runs, now),
        }
    }
}

impl Coordinator {
    /// Waits until no start of the job is under way, and keeps others from it: what changes or
    /// deletes a draft needs its lock.
    pub async fn lock_job(&self, job: JobId) -> Result<JobLock, Error> {
        self.in_time(self.job_locks.lock(job)).await
    }

    /// Stores a new job; false where its id is taken. On `Ok` it is on disk.
    pub async fn create_job(&self, job: &Job, id: IdOrigin) -> Result<bool, Error> {
        if job.scope.is_some() {
            // Whether its name is free, only its own statement tells.
            return Ok(store::jobs::insert(&self.db, job).await?);
        }
        let created = Box::new(job.created()?);
        let lock = match id {
            IdOrigin::Drawn => None,
            IdOrigin::Given => {
                let lock = self.lock_job(job.id).await?;
                if store::jobs::is_taken(&self.db, job.id).await? {
                    return Ok(false);
                }
                Some(lock)
            }
        };
        self.ask(|reply| Command::Create { job: created, lock, reply }).await??;
        Ok(true)
    }

    /// A job of this workspace, to be started as it is now.
    pub async fn read_job(&self, owner: WorkspaceId, job: JobId) -> Result<Option<ReadJob>, Error> {
        let look = self.job_locks.look(job);
        let found = store::jobs::find_with_schedule(&self.db, owner, job).await?;
        Ok(found.map(|(job, is_scheduled)| ReadJob { job, is_scheduled, look }))
    }

    /// Starts a job: makes it a run, with the credits that the run holds, where the job is still
    /// the one that the run was made from. On `Ok` all of it is on disk; where it is refused, the
    /// job is as it was. Asked for again, it starts nothing.
    pub async fn start_job(
        &self,
        spec: RunSpec,
        read: ReadJob,
        how: StartAs,
    ) -> Result<RunId, Error> {
        plans::prove(&self.db, &spec.plan)?;
        let lock = self.lock_job(spec.job).await?;
        let draft = read.job.draft;
        let job = match lock.is_unchanged_since(read.look) {
            true => read.job,
            false => {
                let found = store::jobs::find(&self.db, spec.workspace, spec.job).await?;
                found.ok_or(Error::JobChanged)?
            }
        };
        let is_started = match how {
            StartAs::Only(_) => job.run.is_some(),
            StartAs::Again { origin: IdOrigin::Drawn, .. } => false,
            StartAs::Again { run, origin: IdOrigin::Given } => runs::exists(&self.db, run).await?,
        };
        if is_started {
            return Err(Error::AlreadyStarted);
        }
        if job.draft != draft {
            return Err(Error::JobChanged);
        }
        let (run, spec) = (how.run(job.id), Arc::new(spec));
        let job = Box::new(job.started(how)?);
        let request = Span::current();
        self.ask(|reply| Command::Start { run, spec, job, lock, request, reply }).await??;
        Ok(run)
    }

    /// Folds and delivers the results of a job's run again that failed after its last task.
    pub async fn deliver_again(&self, job: JobId, run: RunId) -> Result<(), Error> {
        let lock = self.lock_job(job).await?;
        let failed = runs::ended(&self.db, run).await?.ok_or(Error::NotDeliverable)?;
        let again = Again::Deliver(Box::new(failed));
        Ok(self.ask(|reply| Command::Again { again, lock, reply }).await??)
    }

    /// Goes on with a job's run that failed or was cancelled, and with the runs that are parts of
    /// it.
    pub async fn retry(&self, job: JobId, run: RunId) -> Result<(), Error> {
        let lock = self.lock_job(job).await?;
        let runs = interrupted::find(&self.db, run).await?.ok_or(Error::NotKept)?;
        let again = Again::Retry(runs);
        Ok(self.ask(|reply| Command::Again { again, lock, reply }).await??)
    }
}
