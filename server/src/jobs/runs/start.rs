//! Starting jobs: everything is resolved and checked first, and then the run is accepted.

use common::ids::{JobId, RunId};
use common::package::config::JobConfig;
use common::package::engine;
use common::package::tag::Tag;
use common::plan::Phase;
use common::run::spec::RunSpec;
use uuid::Uuid;

use crate::app::App;
use crate::coordinator::{self, ReadJob};
use crate::error::{Error, Result};
use crate::idempotency::{self, RequestKey};
use crate::jobs::quote::{self, Quote};
use crate::jobs::resolve::resolve;
use crate::people::caller::Caller;
use crate::store::jobs::{IdOrigin, JobWork, StartAs};

/// A job that can be started as it is now.
pub struct Ready {
    read: ReadJob,
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
    let read = read(app, caller, id).await?;
    let job = &read.job;
    let again = || StartAs::Again { run: RunId::new(Uuid::now_v7()), origin: IdOrigin::Drawn };
    let (spec, how) = match &job.work {
        JobWork::Template(work) if read.is_scheduled => {
            (resolve(app, caller, job, work.config().overlaid(over)).await?, again())
        }
        JobWork::Template(_) if job.run.is_some() => {
            return Err(coordinator::Error::AlreadyStarted.into());
        }
        JobWork::Template(work) => {
            let spec = resolve(app, caller, job, work.config().overlaid(over)).await?;
            (spec, StartAs::Only(work.config.overlaid(over)))
        }
        JobWork::Call(_) | JobWork::Container(_) | JobWork::Plan(_) => {
            (resolve(app, caller, job, over).await?, again())
        }
    };
    Ok(Ready { read, how, is_repeat: false, spec })
}

impl Ready {
    pub fn remarks(&self) -> Vec<Remark> {
        let (work, plan) = (self.read.job.work.template(), &self.spec.plan);
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
        quote::of(app, caller, &self.read.job, &self.spec.plan, None).await
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
        if let StartAs::Again { run, origin } = &mut self.how {
            let new = idempotency::new_id(app, caller, key, run.uuid()).await?;
            (*run, *origin) = (RunId::new(new.id), new.origin());
            self.is_repeat = new.again;
        }
        Ok(self)
    }

    /// Starts its run, and gives its id.
    pub async fn start(self, app: &App) -> Result<RunId> {
        let run = self.how.run(self.read.job.id);
        match app.coordinator.start_job(self.spec, self.read, self.how).await {
            // The first of several calls under one key has started it.
            Err(coordinator::Error::AlreadyStarted) if self.is_repeat => Ok(run),
            started => Ok(started?),
        }
    }
}

fn tag_name(tag: &str) -> Option<String> {
    tag.parse::<Tag>().ok().map(|tag| tag.name)
}

/// The caller's job of this id, to be started as it is now.
pub(in crate::jobs) async fn read(app: &App, caller: &Caller, id: JobId) -> Result<ReadJob> {
    let read = app.coordinator.read_job(caller.workspace, id).await?;
    read.ok_or_else(|| Error::not_found("job", &id.to_string()))
}
