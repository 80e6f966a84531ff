//! Runs that other runs of their job have started: where in the plan of the job they stand.

use std::collections::BTreeMap;

use common::ids::RunId;
use common::plan::BlockId;
use common::run::spec::Origin;
use uuid::Uuid;

use super::executions;
use crate::app::App;
use crate::error::Result;
use crate::jobs::RunView;
use crate::store::market::{plan_runs, runs, stages};

/// A plan nests no deeper.
const DEPTH_MAX: usize = 64;

/// Where a run stands that another one has started.
#[derive(Debug, Clone)]
pub struct PartOf {
    /// The block that it is the work of, behind those that the runs around it are the work of: the
    /// first is one of the job's own plan.
    pub path: Vec<BlockId>,
    /// The name of what has started it among the executions of the run around it.
    pub starter: Uuid,
    /// The outermost run that waits for it; itself, where none does.
    pub root: RunId,
    /// What it was given.
    pub inputs: BTreeMap<String, String>,
}

/// Where this run stands; `None` where no other has started it, or it is not known any more.
pub(super) async fn find(app: &App, run: &RunView) -> Result<Option<PartOf>> {
    let Some(first) = run.origin.starter() else { return Ok(None) };
    let (mut path, mut origin, mut root) = (Vec::new(), run.origin, run.id);
    let mut is_waited_for = true;
    while let Some(parent) = origin.starter() {
        let stage = stages::one(&app.db, parent.run, parent.stage).await?;
        let around = plan_runs::find(&app.db, run.workspace, parent.run).await?;
        let (Some(stage), Some(around)) = (stage, around) else { return Ok(None) };
        path.push(stage.block);
        is_waited_for &= matches!(origin, Origin::Part(_));
        if is_waited_for {
            root = parent.run;
        }
        origin = around.origin;
        if path.len() > DEPTH_MAX {
            return Ok(None);
        }
    }
    path.reverse();
    let inputs = runs::scope(&app.db, run.id).await?.inputs;
    Ok(Some(PartOf {
        path,
        starter: executions::stage_id(first.run, first.stage),
        root,
        inputs: inputs.into_iter().map(|(name, value)| (name.to_string(), value)).collect(),
    }))
}
