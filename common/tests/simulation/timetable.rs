//! Schedules that customers set, and what the store must never see of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use common::ids::{JobId, RunId};
use common::market::{Changes, RunRecord, Skip, SkipCause};
use common::run::RunState;
use common::run::spec::RunSpec;
use common::schedule::{Missed, Overlap, RUN_ALL_MAX, Rules, Schedule, ScheduleState, When};
use uuid::Uuid;

use crate::customer::{self, Order};
use crate::random::Random;

/// A job that makes runs by itself while everything goes wrong.
#[derive(Debug, Clone)]
pub struct Timetable {
    pub job: JobId,
    pub rules: Rules,
    /// What each of its runs is.
    pub order: Order,
}

impl Timetable {
    pub fn new(n: u32, random: &mut Random) -> Self {
        let job = JobId::new(Uuid::from_u128(0x4000 + u128::from(n)));
        let mut order = customer::order(n, random);
        let spec = Arc::make_mut(&mut order.spec);
        spec.job = job;
        spec.terms.start_at = None;
        let secs = random.between(5, 60);
        let rules = Rules {
            when: When::Every { secs, from: customer::start() },
            overlap: match random.between(0, 2) {
                0 => Overlap::Forbid,
                1 => Overlap::Replace,
                _ => Overlap::Allow(u16::try_from(random.between(1, 4)).expect("a few")),
            },
            missed: random
                .pick(&[Missed::Skip, Missed::RunOnce, Missed::RunAll])
                .copied()
                .unwrap_or_default(),
            grace_secs: random.chance(300).then(|| random.between(0, 90)),
            jitter_secs: if random.chance(300) { random.between(1, 90) } else { 0 },
        };
        Self { job, rules, order }
    }

    pub fn spec(&self) -> RunSpec {
        RunSpec::clone(&self.order.spec)
    }
}

/// What is stored of schedules.
#[derive(Debug, Default)]
pub struct Timetables {
    pub schedules: BTreeMap<JobId, Schedule>,
    /// Nominal times that made a run or were skipped.
    settled: BTreeSet<(JobId, DateTime<Utc>)>,
}

type Checked = Result<(), String>;

impl Timetables {
    /// One transaction: each nominal time is settled once, and none is left out.
    pub fn apply(&mut self, changes: &Changes) -> Checked {
        let mut new_runs: BTreeSet<RunId> = changes.new_runs.clone();
        new_runs.retain(|run| {
            changes.runs.iter().any(|record| record.id == *run && self.is_scheduled(record))
        });
        let mut skips: Vec<&Skip> = changes.skips.iter().collect();
        for (job, after) in &changes.schedules {
            let before = self.schedules.get(job).cloned();
            if let Some(before) = &before
                && before.last != after.last
            {
                self.settle(before, after, &mut new_runs, &mut skips)?;
            }
            self.schedules.insert(*job, after.clone());
        }
        if !new_runs.is_empty() || !skips.is_empty() {
            return Err(format!("of no nominal time are {new_runs:?} and {skips:?}"));
        }
        Ok(())
    }

    fn is_scheduled(&self, run: &RunRecord) -> bool {
        run.spec.is_whole() && self.schedules.contains_key(&run.spec.job)
    }

    fn settle(
        &mut self,
        before: &Schedule,
        after: &Schedule,
        new_runs: &mut BTreeSet<RunId>,
        skips: &mut Vec<&Skip>,
    ) -> Checked {
        let job = before.job;
        let first = before.next.ok_or("a schedule without a next time had one")?;
        let last = after.last.ok_or("a schedule forgot its last time")?;
        let when = &before.rules.when;
        let times: Vec<DateTime<Utc>> =
            std::iter::successors(Some(first), |at| when.next(*at).filter(|at| *at <= last))
                .collect();
        for at in &times {
            let skip =
                skips.iter().find(|skip| skip.job == job && (skip.first..=skip.last).contains(at));
            let is_run = new_runs.remove(&RunId::of_fire(job, *at));
            if is_run == skip.is_some() {
                return Err(format!("{job:?} at {at} has a run: {is_run}, and {skip:?}"));
            }
            let all = before.rules.missed == Missed::RunAll && before.rules.grace_secs.is_none();
            if all
                && times.len() <= RUN_ALL_MAX
                && skip.is_some_and(|skip| skip.why == SkipCause::Missed)
            {
                return Err(format!("{job:?} at {at} was left out of {times:?}"));
            }
            let is_first = self.settled.insert((job, *at));
            if !is_first {
                return Err(format!("{job:?} at {at} was settled twice"));
            }
        }
        skips.retain(|skip| skip.job != job);
        Ok(())
    }

    /// No more runs of a job go on than its rules allow. What its customer has delivered again is
    /// none of them.
    pub fn check_overlap(&self, runs: &BTreeMap<RunId, RunRecord>) -> Checked {
        for (job, schedule) in &self.schedules {
            let going = runs.values().filter(|run| {
                run.spec.job == *job
                    && run.spec.is_whole()
                    && !run.state.is_final()
                    && run.times.of(RunState::Failed).is_none()
            });
            let (most, counted): (usize, usize) = match schedule.rules.overlap {
                Overlap::Forbid => (1, going.count()),
                Overlap::Allow(most) => (most.into(), going.count()),
                Overlap::Replace => (1, going.filter(|run| run.state != RunState::Ending).count()),
            };
            if counted > most {
                return Err(format!("{counted} runs of {job:?} go on, {most} may"));
            }
        }
        Ok(())
    }

    /// Whether a schedule is there, and not removed.
    pub fn has(&self, job: JobId) -> bool {
        self.schedules.get(&job).is_some_and(|schedule| schedule.state != ScheduleState::Removed)
    }

    /// Whether all schedules are removed.
    pub fn is_over(&self) -> bool {
        self.schedules.keys().all(|job| !self.has(*job))
    }

    /// Whether all nominal times until now are settled.
    pub fn is_settled(&self, job: JobId, now: DateTime<Utc>) -> bool {
        let due = self.schedules.get(&job).and_then(Schedule::due_at);
        due.is_none_or(|due| due > now + TimeDelta::milliseconds(1))
    }
}
