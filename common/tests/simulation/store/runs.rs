//! Runs and their stages: what of them may change, and in which order.

use std::collections::BTreeSet;

use common::ids::RunId;
use common::market::{
    Changes, Cursor, Resolution, RunRecord, StageOutcome, StageRecord, TaskState,
};
use common::plan::Body;
use common::run::RunState;
use common::run::task::StageNo;

use super::{Checked, Store};

impl Store {
    /// What expressions gave is stored once, and so is each value.
    pub(super) fn put_answers(&mut self, changes: &Changes) -> Checked {
        for (run, no, resolution) in &changes.resolutions {
            let key = (*run, *no);
            if self.resolutions.insert(key, Resolution::clone(resolution)).is_some() {
                return Err(format!("{key:?} was resolved twice"));
            }
        }
        for value in &changes.values {
            let key = (value.run, value.seq);
            if self.values.insert(key, value.clone()).is_some() {
                return Err(format!("the value {key:?} came twice"));
            }
        }
        Ok(())
    }

    pub(super) fn put_run(&mut self, run: &RunRecord, is_new: bool) -> Checked {
        match self.runs.get(&run.id) {
            None if !is_new => return Err(format!("{:?} was never new", run.id)),
            Some(before) if before.state == RunState::Failed && run.state == RunState::Running => {}
            // It is retried; it may have ended again in the same batch.
            Some(before)
                if matches!(before.state, RunState::Failed | RunState::Cancelled)
                    && run.times.states != before.times.states => {}
            Some(before) if before.state.is_final() => {
                return Err(format!("{:?} had ended and changed", run.id));
            }
            Some(before) if run.state < before.state || run.counts.done < before.counts.done => {
                return Err(format!("{:?} went back to {:?}", run.id, run.state));
            }
            Some(_) | None => {}
        }
        let begun = run.times.began();
        if run.spec.terms.start_at.is_some_and(|at| begun.is_some_and(|begun| begun < at)) {
            return Err(format!("{:?} began too early", run.id));
        }
        let purse = self.purses.entry(run.id).or_default();
        let cost = purse.captured;
        let held = purse.ever_held - cost - purse.voided;
        if run.held.units() != held || run.captured.units() != cost {
            return Err(format!("{:?} holds {:?}, its transfers {purse:?}", run.id, run.held));
        }
        if cost > purse.ever_held || cost != purse.prices {
            return Err(format!("{:?} cost what it should not: {purse:?}", run.id));
        }
        // A run that is cancelled is settled at once.
        let is_over = run.state.is_final() || run.state == RunState::Ending;
        if is_over && (held != 0 || purse.billed != cost) {
            return Err(format!("{:?} ended unsettled: {purse:?}", run.id));
        }
        self.runs.insert(run.id, run.clone());
        Ok(())
    }

    pub(super) fn check_ended(&self, run: &RunRecord) -> Checked {
        let tasks = || self.tasks_of(run.id);
        if let Some(task) =
            tasks().find(|task| matches!(task.state, TaskState::Waiting | TaskState::Leased))
        {
            return Err(format!("{} outlives its run", task.task));
        }
        let is_complete = run.state == RunState::Succeeded;
        if is_complete == run.cause.is_some() {
            return Err(format!("{:?} ended {:?}: {:?}", run.id, run.state, run.cause));
        }
        for stage in self.stages_of(run.id) {
            if stage.ended.is_none() {
                return Err(format!("stage {} outlives {:?}", stage.no, run.id));
            }
            let is_skipped = stage.ended.is_some_and(|end| end.how == StageOutcome::Skipped);
            if is_skipped && tasks().any(|task| task.task.stage == stage.no) {
                return Err(format!("{stage:?} is skipped and has tasks"));
            }
            let Cursor::Tasks { len, done, .. } = stage.cursor else { continue };
            let stored = tasks()
                .filter(|task| task.task.stage == stage.no && task.state == TaskState::Done)
                .count();
            if stored != done as usize || (is_complete && done != len) {
                return Err(format!("{:?}: {stored} done, its stage says {stage:?}", run.id));
            }
        }
        Ok(())
    }

    /// A stage is opened once everything that it comes after has ended, and never changes once it
    /// has ended itself.
    pub(super) fn put_stages(&mut self, stages: &[StageRecord]) -> Checked {
        let mut seen = BTreeSet::new();
        for stage in stages {
            let key = (stage.run, stage.no);
            if !seen.insert(key) {
                return Err(format!("{key:?} comes twice in one transaction"));
            }
            let before = self.stages.insert(key, stage.clone());
            // One that was cut off goes on when its results are delivered again.
            if before.is_some_and(|before| before.ended.is_some_and(|end| !end.is_cut_off())) {
                return Err(format!("{key:?} had ended and changed"));
            }
        }
        for stage in stages {
            self.check_order(stage)?;
            if let Cursor::Each(elements) = &stage.cursor
                && elements.open() > 256
            {
                return Err(format!("{} elements are open in {stage:?}", elements.open()));
            }
        }
        Ok(())
    }

    pub(super) fn check_order(&self, stage: &StageRecord) -> Checked {
        let Some(parent) = stage.parent else { return Ok(()) };
        let plan = &self.runs.get(&stage.run).ok_or("a stage without a run")?.spec.plan;
        let parent = self.stages.get(&(stage.run, parent)).ok_or("a stage without its parent")?;
        let Body::Group(group) = &plan.block(parent.block).body else { return Ok(()) };
        let place = group.of.iter().position(|of| *of == stage.block).ok_or("not of its group")?;
        for before in &group.after[place] {
            let block = group.of[usize::from(*before)];
            let earlier = self.stages_of(stage.run).find(|other| {
                other.block == block && other.parent == stage.parent && other.ended.is_some()
            });
            if earlier.is_none() {
                return Err(format!("{stage:?} was opened before block {block:?} had ended"));
            }
        }
        Ok(())
    }

    pub(super) fn stages_of(&self, run: RunId) -> impl Iterator<Item = &StageRecord> {
        let all = (run, StageNo::new(0))..=(run, StageNo::MAX);
        self.stages.range(all).map(|(_, stage)| stage)
    }

    /// The run that this one is a part of, or itself.
    pub fn root_of(&self, run: RunId) -> RunId {
        let parent = self.runs.get(&run).and_then(|run| run.spec.parent());
        parent.map_or(run, |parent| self.root_of(parent.run))
    }
}
