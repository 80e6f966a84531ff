//! Lists of runs of ordered plans, found by words and tags.

use std::collections::HashMap;

use common::ids::{JobId, RunId};
use common::run::RunState;
use common::schedule::Schedule;

use super::{PlanRun, with_place};
use crate::app::App;
use crate::error::Result;
use crate::jobs::{ApiName, Job, schedules};
use crate::people::caller::Caller;
use crate::store::jobs;
use crate::store::market::plan_runs::{self, Listed};

/// The newest so many runs are looked through for words.
pub const SCANNED: u64 = 2_000;

/// Whether a run is meant, by its state, and its job's name and description.
pub type Matches<'a> = &'a (dyn Fn(RunState, &str, &str) -> bool + Sync);

/// Which runs are asked for.
pub struct Query<'a> {
    pub api: &'a ApiName,
    /// Of jobs with one of these tags; none stands for all.
    pub tags: Vec<String>,
    /// What must be found in a run's state, or its job's name or description; `None` is anything.
    pub matches: Option<Matches<'a>>,
    pub skipped: u64,
    pub limit: u64,
}

/// A part of a list, and how long the whole is.
pub struct Page<T> {
    pub items: Vec<T>,
    pub total: u64,
}

/// The caller's runs, the newest first, each with how many blocks of it have ended.
pub async fn list(app: &App, caller: &Caller, query: Query<'_>) -> Result<Page<(PlanRun, u64)>> {
    let Query { api, tags, matches, skipped, limit } = query;
    let part = if matches.is_some() { (0, SCANNED) } else { (skipped, limit) };
    let found = plan_runs::list(&app.db, caller.workspace, api, &tags, part).await?;
    let (mut listed, mut total) = found;
    if let Some(matches) = matches {
        listed.retain(|run| matches(run.state, &run.name, &run.description));
        total = listed.len() as u64;
        let cut = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        listed = listed.into_iter().skip(cut(skipped)).take(cut(limit)).collect();
    }
    Ok(Page { items: details(app, caller, listed).await?, total })
}

async fn details(app: &App, caller: &Caller, listed: Vec<Listed>) -> Result<Vec<(PlanRun, u64)>> {
    if listed.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<RunId> = listed.iter().map(|run| run.run).collect();
    let of_jobs: Vec<JobId> = listed.iter().map(|run| run.job).collect();
    let found = plan_runs::find_many(&app.db, caller.workspace, &ids).await?;
    let mut by_id: HashMap<RunId, _> = found.into_iter().map(|run| (run.id, run)).collect();
    let found = jobs::find_many(&app.db, caller.workspace, &of_jobs).await?;
    let by_job: HashMap<JobId, Job> = found.into_iter().map(|job| (job.id, job)).collect();
    let scheduled = schedules::of_jobs(app, &of_jobs).await?;
    let ended = plan_runs::ended_blocks(&app.db, &ids).await?;
    let mut all = Vec::with_capacity(listed.len());
    for Listed { run, job, .. } in listed {
        let Some((run, job)) = by_id.remove(&run).zip(by_job.get(&job).cloned()) else { continue };
        let schedule = run.origin.nominal().and_then(|_| scheduled.get(&job.id).cloned());
        let ended = ended.get(&run.id).copied().unwrap_or(0);
        let placed = with_place(app, job, run, schedule).await?;
        all.extend(placed.map(|run| (run, ended)));
    }
    Ok(all)
}

/// The caller's plans of an API that have a schedule, the newest first.
pub async fn scheduled(
    app: &App,
    caller: &Caller,
    api: &ApiName,
    (skipped, limit): (usize, usize),
) -> Result<Page<(Job, Schedule)>> {
    let mut all = schedules::list(app, caller, None, schedules::LIST_MAX).await?;
    all.reverse();
    let ids: Vec<JobId> = all.iter().map(|found| found.schedule.job).collect();
    let plans = plan_runs::of_api(&app.db, caller.workspace, api, &ids).await?;
    all.retain(|found| plans.contains(&found.schedule.job));
    let total = all.len() as u64;
    let part: Vec<Schedule> =
        all.into_iter().skip(skipped).take(limit).map(|found| found.schedule).collect();
    let ids: Vec<JobId> = part.iter().map(|schedule| schedule.job).collect();
    let found = jobs::find_many(&app.db, caller.workspace, &ids).await?;
    let mut by_id: HashMap<JobId, Job> = found.into_iter().map(|job| (job.id, job)).collect();
    let each = |schedule: Schedule| Some((by_id.remove(&schedule.job)?, schedule));
    Ok(Page { items: part.into_iter().filter_map(each).collect(), total })
}
