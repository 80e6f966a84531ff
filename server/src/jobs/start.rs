//! Starting jobs: everything is resolved and checked first, and then the run is accepted.

use common::ids::JobId;
use common::package::config::JobConfig;
use common::package::engine;
use common::package::tag::Tag;
use common::plan::Phase;
use common::run::spec::RunSpec;

use super::Job;
use super::monitoring::status::find_job;
use super::quote::{self, Quote};
use super::resolve::resolve;
use crate::app::App;
use crate::coordinator;
use crate::error::Result;
use crate::people::caller::Caller;

/// A job that can be started as it is now.
pub struct Ready {
    job: Job,
    /// The job's own config from its start on.
    config: JobConfig,
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
    if job.run.is_some() {
        return Err(coordinator::Error::AlreadyStarted.into());
    }
    let config = job.config.overlaid(over);
    let spec = resolve(app, caller, &job, job.config().overlaid(over)).await?;
    Ok(Ready { job, config, spec })
}

impl Ready {
    pub fn remarks(&self) -> Vec<Remark> {
        let (job, plan) = (&self.job, &self.spec.plan);
        let mut remarks = Vec::new();
        if self.spec.terms.is_test {
            remarks.push(Remark::TestJob);
        }
        let params = job.params();
        let partitioner = plan.cut().and_then(|_| tag_name(&job.template.partitioner));
        let assembler = plan.assembler().and_then(|_| tag_name(&job.template.assembler));
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

    /// Starts its run.
    pub async fn start(self, app: &App) -> Result<()> {
        start(app, &self.job, self.config, self.spec).await
    }
}

fn tag_name(tag: &str) -> Option<String> {
    tag.parse::<Tag>().ok().map(|tag| tag.name)
}

/// Starts the run of a job, with this config as the job's own.
pub(super) async fn start(app: &App, job: &Job, config: JobConfig, spec: RunSpec) -> Result<()> {
    app.coordinator.start_job(spec, job.draft, config).await?;
    Ok(())
}
