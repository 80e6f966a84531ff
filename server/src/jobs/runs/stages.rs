//! The stages of a run: which blocks of its plan have been opened, and how far each is.

use common::ids::RunId;
use common::market::StageRecord;
use common::plan::{Block, Body, Phase, Plan};
use common::run::task::StageNo;

use crate::app::App;
use crate::error::Result;
use crate::jobs::monitoring::status;
use crate::people::caller::Caller;
use crate::store::market::{runs, stages};

/// The most stages of one page.
pub const LIST_MAX: u32 = 1_000;

/// A stage, and what its block in the plan is.
#[derive(Debug)]
pub struct Stage {
    pub record: StageRecord,
    pub name: String,
    pub kind: StageKind,
    /// The phase that begins with it.
    pub phase: Option<Phase>,
}

/// What a stage does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StageKind {
    /// Several stages, each of which begins when those have ended that it comes after.
    Group,
    /// The same for each element of a list.
    List,
    /// A run of its own.
    Run,
    /// Work in containers.
    Container,
    /// Work on data that the server does itself.
    Data,
    /// An HTTP request that the server makes.
    Call,
}

/// Stages of the caller's run of this id, in the order of their numbers, after one of them.
pub async fn list(
    app: &App,
    caller: &Caller,
    run: RunId,
    after: Option<StageNo>,
    limit: u32,
) -> Result<Vec<Stage>> {
    let (_, run) = status::find(app, caller, run).await?;
    let Some(run) = run else { return Ok(Vec::new()) };
    let Some(plan) = runs::plan(&app.db, run.id).await? else { return Ok(Vec::new()) };
    let limit = limit.clamp(1, LIST_MAX);
    let found = stages::find(&app.db, run.id, after, limit.into()).await?;
    Ok(found.into_iter().filter_map(|record| Stage::of(&plan, record)).collect())
}

impl Stage {
    /// A stage of this plan; `None` where the plan has no such block.
    fn of(plan: &Plan, record: StageRecord) -> Option<Self> {
        let Block { name, phase, body, .. } =
            plan.has(record.block).then(|| plan.block(record.block))?;
        Some(Self { name: name.clone(), kind: StageKind::of(body), phase: *phase, record })
    }
}

impl StageKind {
    const fn of(body: &Body) -> Self {
        match body {
            Body::Group(_) => Self::Group,
            Body::Each(_) => Self::List,
            Body::Child(_) => Self::Run,
            Body::Container(_) => Self::Container,
            Body::Data(_) => Self::Data,
            Body::Call(_) => Self::Call,
        }
    }
}
