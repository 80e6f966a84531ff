//! Why runs were started, and whom they tell, as columns.

use common::ids::RunId;
use common::run::callback::Callback;
use common::run::spec::{Origin, Parent};
use common::run::task::StageNo;
use sea_orm::DbErr;

use super::Model;
use crate::store::query::document;
use crate::store::{corrupt, time};

const MANUAL: &str = "manual";
const SCHEDULE: &str = "schedule";
pub(super) const PART: &str = "part";
pub(super) const CALLBACK: &str = "callback";
pub(super) const DETACHED: &str = "detached";

pub(super) const fn origin_name(origin: Origin) -> &'static str {
    match origin {
        Origin::Manual => MANUAL,
        Origin::Schedule(_) => SCHEDULE,
        Origin::Part(_) => PART,
        Origin::Callback(_) => CALLBACK,
        Origin::Detached(_) => DETACHED,
    }
}

/// The run that this one belongs to.
pub(super) const fn parent(origin: Origin) -> Option<RunId> {
    match origin {
        Origin::Manual | Origin::Schedule(_) | Origin::Detached(None) => None,
        Origin::Part(parent) | Origin::Detached(Some(parent)) => Some(parent.run),
        Origin::Callback(run) => Some(run),
    }
}

pub(super) fn callbacks(callbacks: &[Callback]) -> Result<Option<String>, DbErr> {
    if callbacks.is_empty() { Ok(None) } else { document::unproven(&callbacks).map(Some) }
}

pub(super) fn origin(row: &Model) -> Result<Origin, DbErr> {
    match (row.origin.as_str(), row.parent, row.parent_stage, row.nominal_us) {
        (MANUAL, None, None, None) => Ok(Origin::Manual),
        (DETACHED, None, None, None) => Ok(Origin::Detached(None)),
        (SCHEDULE, None, None, Some(at)) => Ok(Origin::Schedule(time(at))),
        (kind @ (PART | DETACHED), Some(run), Some(stage), None) => {
            let stage = u32::try_from(stage).map_err(|_| corrupt("stage"))?;
            let parent = Parent { run: RunId::new(run), stage: StageNo::new(stage) };
            Ok(if kind == PART { Origin::Part(parent) } else { Origin::Detached(Some(parent)) })
        }
        (CALLBACK, Some(run), None, None) => Ok(Origin::Callback(RunId::new(run))),
        (_, _, _, _) => Err(corrupt("origin of run")),
    }
}
