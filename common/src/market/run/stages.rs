//! The open stages of a run.

use super::Run;
use crate::ids::RunId;
use crate::market::stage::{Open, Stage};
use crate::plan::{BlockId, Body, Group, Phase};
use crate::run::task::StageNo;

impl Run {
    pub fn stages(&self) -> impl Iterator<Item = &Stage> {
        self.stages.values().map(Box::as_ref)
    }

    pub fn stage(&self, no: StageNo) -> Option<&Stage> {
        self.stages.get(&no).map(Box::as_ref)
    }

    /// The phase that an open stage belongs to.
    pub(in crate::market) fn phase_of(&self, no: StageNo) -> Option<Phase> {
        self.spec.plan.block(self.stages.get(&no)?.block).phase
    }

    pub(in crate::market) fn stage_mut(&mut self, no: StageNo) -> Option<&mut Stage> {
        self.stages.get_mut(&no).map(Box::as_mut)
    }

    /// The number of the next stage of a block.
    pub(in crate::market) fn number_stage(&mut self, block: BlockId) -> StageNo {
        if !self.spec.plan.is_repeated(block) {
            return block.stage();
        }
        let no = self.next_stage;
        self.next_stage = no.next();
        no
    }

    /// Whether a block, which is opened once, has been.
    pub(in crate::market) fn has_begun(&self, block: BlockId) -> bool {
        let Some(parent) = self.spec.plan.parent(block) else { return !self.stages.is_empty() };
        if self.stages.contains_key(&block.stage()) {
            return true;
        }
        match (self.stages.get(&parent.stage()).map(|stage| &stage.open), self.group(parent)) {
            (Some(Open::Group(members)), Some(group)) => {
                let place = group.of.iter().position(|of| *of == block);
                place.is_some_and(|place| members.has_ended(place))
            }
            (Some(_), _) => false,
            // A block that has ended has had all that is in it.
            (None, _) => self.has_begun(parent),
        }
    }

    /// How many of the outermost group's blocks have ended, and how many there are.
    pub(in crate::market) fn outermost_done(&self) -> Option<(usize, usize)> {
        match &self.stages.get(&BlockId::ROOT.stage())?.open {
            Open::Group(members) => Some(members.done()),
            Open::Each(_)
            | Open::Tasks(_)
            | Open::Step
            | Open::Child(_)
            | Open::Call(_)
            | Open::Resolving
            | Open::Output => None,
        }
    }

    /// Whether a task can be handed out.
    pub(in crate::market) fn has_waiting(&self) -> bool {
        self.task_stages().any(|stage| stage.tasks.has_waiting())
    }

    /// Whether blocks with container work are still to be opened, beside those whose reservation
    /// is kept.
    pub(in crate::market) fn has_work_to_come(&self) -> bool {
        let plan = &self.spec.plan;
        let elements = self.stages.values().any(|stage| match &stage.open {
            Open::Each(elements) => elements.has_more(),
            // Nothing is known of it yet.
            Open::Resolving => true,
            Open::Group(_)
            | Open::Tasks(_)
            | Open::Step
            | Open::Child(_)
            | Open::Call(_)
            | Open::Output => false,
        });
        elements || plan.unreserved().any(|block| !self.has_begun(plan.outermost(block)))
    }

    /// Whether the stages are there that an open stage waits for.
    pub(in crate::market) fn has_opened(&self, stage: &Stage) -> bool {
        let inside = |block: BlockId| {
            let is_inside = |other: &&Stage| other.parent == Some(stage.no) && other.block == block;
            self.stages().filter(is_inside).count()
        };
        match (&stage.open, &self.spec.plan.block(stage.block).body) {
            (Open::Group(members), Body::Group(group)) => (0..group.of.len())
                .all(|place| inside(group.of[place]) == usize::from(members.is_open(place))),
            (Open::Each(elements), Body::Each(each)) => {
                inside(each.body) == elements.open() as usize
            }
            (_, _) => true,
        }
    }

    pub(in crate::market) fn group(&self, block: BlockId) -> Option<&Group> {
        match &self.spec.plan.block(block).body {
            Body::Group(group) => Some(group),
            Body::Each(_) | Body::Child(_) | Body::Container(_) | Body::Data(_) | Body::Call(_) => {
                None
            }
        }
    }

    pub(in crate::market) fn open(&mut self, stage: Stage) {
        self.stages.insert(stage.no, Box::new(stage));
    }

    /// Takes a stage that has ended, with the values that belong to it.
    pub(in crate::market) fn close(&mut self, no: StageNo) -> Option<Stage> {
        let stage = self.stages.remove(&no)?;
        self.values.forget(no);
        Some(*stage)
    }

    /// The runs that its stages wait for.
    pub fn children(&self) -> impl Iterator<Item = RunId> {
        self.stages.values().filter_map(|stage| match stage.open {
            Open::Child(run) => Some(run),
            Open::Group(_)
            | Open::Each(_)
            | Open::Tasks(_)
            | Open::Step
            | Open::Call(_)
            | Open::Resolving
            | Open::Output => None,
        })
    }
}
