//! Which of a run's tasks goes to a node next.

use super::active::Tries;
use super::checks::Check;
use super::run::{Run, Single};
use crate::ids::NodeId;
use crate::task::Stage;

/// A task that can be handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// It has been handed out before.
    Again(u32),
    /// The next one that never was.
    Fresh,
    /// One that is done, to check its results.
    Check(u32),
}

impl Run {
    /// Whether a task can be handed out.
    pub(super) fn has_waiting(&self) -> bool {
        self.stage().is_some_and(|stage| !self.waiting.is_empty() || self.has_fresh(stage))
    }

    /// Whether a check can be handed out.
    pub(super) fn has_check(&self) -> bool {
        self.checks.values().any(|check| check.waits)
    }

    fn has_fresh(&self, stage: Stage) -> bool {
        match stage {
            Stage::Process => self.next < self.total(),
            Stage::Partition | Stage::Assemble => self.single == Single::Fresh,
        }
    }

    /// Chooses a task to hand out to a node: one that must be tried again before a fresh one, and
    /// last one that has failed there before, if `stuck` says that it has nowhere else to go.
    /// Before them all comes a check that the node may make.
    pub(super) fn choose(
        &self,
        node: NodeId,
        stuck: impl Fn(&[NodeId]) -> bool,
        may_check: impl Fn(&Check) -> bool,
    ) -> Option<Choice> {
        let mut checks = self.checks.iter().filter(|(_, check)| check.waits);
        if let Some((index, _)) = checks.find(|(_, check)| may_check(check)) {
            return Some(Choice::Check(*index));
        }
        let elsewhere = |tries: &Tries| !tries.failed_on.contains(&node);
        let first = |(index, _): (&u32, &Tries)| Choice::Again(*index);
        self.waiting
            .iter()
            .find(|(_, tries)| elsewhere(tries))
            .map(first)
            .or_else(|| self.has_fresh(self.stage()?).then_some(Choice::Fresh))
            .or_else(|| self.waiting.iter().find(|(_, tries)| stuck(&tries.failed_on)).map(first))
    }

    /// Takes the chosen task.
    pub(super) fn take(&mut self, choice: Choice) -> Option<(u32, Tries)> {
        match (choice, self.stage()?) {
            (Choice::Check(index), _) => {
                let attempt = self.checks.get(&index)?.attempt;
                Some((index, Tries { attempt, ..Tries::default() }))
            }
            (Choice::Again(index), _) => self.waiting.remove(&index).map(|tries| (index, tries)),
            (Choice::Fresh, Stage::Process) => {
                self.next += 1;
                Some((self.next - 1, Tries::default()))
            }
            (Choice::Fresh, Stage::Partition | Stage::Assemble) => {
                self.single = Single::HandedOut;
                Some((0, Tries::default()))
            }
        }
    }
}
