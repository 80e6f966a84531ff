//! Going on with a run that has failed or was cancelled: what its outermost blocks have done counts,
//! and the others run again.

use std::collections::BTreeSet;

use common::expression::Template;
use common::ids::RunId;
use common::market::StageRecord;
use common::package::config::JobConfig;
use common::plan::{Block, BlockId, Name, Plan};
use common::run::spec::RunSpec;
use uuid::Uuid;

use super::PlanRun;
use crate::app::App;
use crate::error::{Error, Result};
use crate::jobs::resolve;
use crate::people::caller::Caller;
use crate::store::jobs::StartAs;
use crate::store::market::{plan_runs, runs, stages};

/// The condition of a block whose work the run before has done.
const DONE_BEFORE: &str = "{{ false }}";
/// The most stages that are looked through.
const STAGES_MAX: u64 = 100_000;

/// Whether a block has this condition because its work was done before.
pub(super) fn is_done_before(when: &Template) -> bool {
    when.source() == DONE_BEFORE
}

/// Starts a run that goes on from where this one has ended.
pub async fn restart(app: &App, caller: &Caller, ended: &PlanRun) -> Result<()> {
    let done = done(app, ended).await?;
    let mut spec = resolve::resolve(app, caller, &ended.job, JobConfig::default()).await?;
    spec.plan = without(&spec.plan, &done)?;
    add_values(app, ended, &mut spec).await?;
    let how = StartAs::Again(RunId::new(Uuid::now_v7()));
    app.coordinator.start_job(spec, ended.job.draft, how).await?;
    Ok(())
}

/// The outermost blocks that need not run again.
async fn done(app: &App, ended: &PlanRun) -> Result<BTreeSet<BlockId>> {
    let stages = stages::find(&app.db, ended.run.id, None, STAGES_MAX).await?;
    let is_done = |stage: &StageRecord| {
        stage.parent == Some(BlockId::ROOT.stage())
            && stage.ended.is_some_and(|end| !end.is_cut_off())
    };
    Ok(stages.into_iter().filter(is_done).map(|stage| stage.block).collect())
}

/// The same plan, in which these blocks do nothing.
fn without(plan: &Plan, done: &BTreeSet<BlockId>) -> Result<Plan> {
    let nothing = Template::new(DONE_BEFORE).expect("the condition is an expression");
    let block = |(id, block): (BlockId, &Block)| {
        let when = if done.contains(&id) { Some(nothing.clone()) } else { block.when.clone() };
        Block { when, ..block.clone() }
    };
    let changed =
        Plan::new(plan.blocks().map(block).collect()).and_then(|changed| match plan.output() {
            Some(output) => changed.with_output(output.clone()),
            None => Ok(changed),
        });
    // Data that is delivered comes from blocks that are never skipped.
    changed.map_err(|error| Error::NotNow(format!("it cannot be gone on with: {error}")))
}

/// Gives the run what the blocks before have given.
async fn add_values(app: &App, ended: &PlanRun, spec: &mut RunSpec) -> Result<()> {
    // What came from runs still further back is in the run's own scope.
    spec.scope.values = runs::scope(&app.db, ended.run.id).await?.values;
    for (name, value) in plan_runs::values_of(&app.db, ended.run.id).await? {
        if let Ok(name) = name.parse::<Name>() {
            spec.scope.values.insert(name, value);
        }
    }
    Ok(())
}
