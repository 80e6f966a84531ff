//! Starting jobs: everything is resolved and checked first, and then the run is accepted.

use common::ids::{JobId, RunId};
use common::package::config::JobConfig;
use common::package::engine;
use common::package::tag::Tag;
use common::plan::Phase;
use common::run::spec::RunSpec;
use uuid::Uuid;

use crate::app::App;
use crate::coordinator;
use crate::error::Result;
use crate::idempotency::{self, RequestKey};
use crate::jobs::Job;
use crate::jobs::monitoring::status::find_job;
use crate::jobs::quote::{self, Quote};
use crate::jobs::resolve::resolve;
use crate::people::caller::Caller;
use crate::store::jobs::{JobWork, StartAs};
use crate::store::schedules;

/// A job that can be started as it is now.
pub struct Ready {
    job: Job,
    how: StartAs,
    /// The same was asked for before under the same key.
    is_repeat: bool,
    spec: RunSpec,
}

/// What is right, but may not be what the caller had in mind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remark {
    /// It works on the first chunks only.
    TestJob,
    /// The built-in of this phase has no such param.
    IgnoredParam { phase: Phase, param: String },
}

/// Makes the caller's job of this id ready to start, with `over` laid over its config.
pub async fn prepare(app: &App, caller: &Caller, id: JobId, over: JobConfig) -> Result<Ready> {
    let job = find_job(app, caller, id).await?;
    let (spec, how) = match &job.work {
        JobWork::Template(work) if schedules::has(&app.db, job.id).await? => {
            let spec = resolve(app, caller, &job, work.config().overlaid(over)).await?;
            (spec, StartAs::Again(RunId::new(Uuid::now_v7())))
        }
        JobWork::Template(_) if job.run.is_some() => {
            return Err(coordinator::Error::AlreadyStarted.into());
        }
        JobWork::Template(work) => {
            let spec = resolve(app, caller, &job, work.config().overlaid(over)).await?;
            (spec, StartAs::Only(work.config.overlaid(over)))
        }
        JobWork::Call(_) | JobWork::Container(_) | JobWork::Plan(_) => {
            let run = RunId::new(Uuid::now_v7());
            (resolve(app, caller, &job, over).await?, StartAs::Again(run))
        }
    };
    Ok(Ready { job, how, is_repeat: false, spec })
}

impl Ready {
    pub fn remarks(&self) -> Vec<Remark> {
        let (work, plan) = (self.job.work.template(), &self.spec.plan);
        let mut remarks = Vec::new();
        if self.spec.terms.is_test {
            remarks.push(Remark::TestJob);
        }
        let Some(work) = work else { return remarks };
        let params = work.params();
        let partitioner = plan.cut().and_then(|_| tag_name(&work.template.partitioner));
        let assembler = plan.assembler().and_then(|_| tag_name(&work.template.assembler));
        let partitioner = partitioner.and_then(|name| engine::builtin_partitioner(&name));
        let assembler = assembler.and_then(|name| engine::builtin_assembler(&name));
        for (phase, builtin, params) in [
            (Phase::Partition, partitioner, &params.partitioner),
            (Phase::Assemble, assembler, &params.assembler),
        ] {
            let ignored = builtin.iter().flat_map(|name| engine::passed_over(name, params));
            remarks.extend(
                ignored.map(|param| Remark::IgnoredParam { phase, param: param.to_owned() }),
            );
        }
        remarks
    }

    /// What it is expected to cost.
    pub async fn quote(&self, app: &App, caller: &Caller) -> Result<Quote> {
        quote::of(app, caller, &self.job, &self.spec.plan, None).await
    }

    /// The same under a key of the caller's: a start that is asked for again is the same start.
    ///
    /// # Errors
    /// A key that was used with another request.
    pub async fn under(
        mut self,
        app: &App,
        caller: &Caller,
        key: Option<&RequestKey>,
    ) -> Result<Self> {
        if let StartAs::Again(run) = &mut self.how {
            let new = idempotency::new_id(app, caller, key, run.uuid()).await?;
            *run = RunId::new(new.id);
            self.is_repeat = new.again;
        }
        Ok(self)
    }

    /// Starts its run, and gives its id.
    pub async fn start(self, app: &App) -> Result<RunId> {
        let run = self.how.run(self.job.id);
        match app.coordinator.start_job(self.spec, self.job.draft, self.how).await {
            // The first of several calls under one key has started it.
            Err(coordinator::Error::AlreadyStarted) if self.is_repeat => Ok(run),
            started => Ok(started?),
        }
    }
}

fn tag_name(tag: &str) -> Option<String> {
    tag.parse::<Tag>().ok().map(|tag| tag.name)
}

/// Starts a run of a job.
pub(in crate::jobs) async fn start(
    app: &App,
    job: &Job,
    how: StartAs,
    spec: RunSpec,
) -> Result<()> {
    app.coordinator.start_job(spec, job.draft, how).await?;
    Ok(())
}
