//! The names of work: which task of which stage, and which attempt of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use uuid::Uuid;

use crate::ids::{RunId, TaskId};

/// Names an opened block of a run's plan. A block that is opened once has its own number as its
/// stage's; those in lists get the next ones as they are opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StageNo(u32);

impl StageNo {
    /// The largest number, so that a task's name has room for it.
    pub const MAX: Self = Self((1 << 20) - 1);

    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    pub const fn number(self) -> u32 {
        self.0
    }

    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for StageNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names a task. In a stage that works on a list the index is the element's number, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskRef {
    pub run: RunId,
    pub stage: StageNo,
    pub index: u32,
}

/// The index of the name of a stage that has no task of its own.
const OF_STAGE: u32 = u32::MAX;

impl TaskRef {
    /// What names a stage that has no task of its own.
    pub const fn of_stage(run: RunId, stage: StageNo) -> Self {
        Self { run, stage, index: OF_STAGE }
    }

    /// The task's own name: its run's with the stage and the index laid over its random end, so
    /// that it need not be kept and leads back to the task.
    pub fn id(self) -> TaskId {
        TaskId::new(Uuid::from_u128(self.run.uuid().as_u128() ^ self.mark()))
    }

    /// The task of this run that has this name.
    pub fn find(run: RunId, id: TaskId) -> Option<Self> {
        let mark = run.uuid().as_u128() ^ id.uuid().as_u128();
        let index = u32::try_from(mark & u128::from(u32::MAX)).ok()?;
        let number = u32::try_from(mark >> 32).ok()?.checked_sub(1)?;
        let stage = StageNo(number);
        (stage <= StageNo::MAX).then_some(Self { run, stage, index })
    }

    /// Never zero, and never as long as to touch what says that an id is one.
    fn mark(self) -> u128 {
        let stage = u128::from(self.stage.number()) + 1;
        stage << 32 | u128::from(self.index)
    }
}

impl fmt::Display for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.run, self.stage, self.index)
    }
}

/// The right of one node to work on one attempt of a task. The attempt, from 1, is the fence: a
/// report under an older one changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    pub task: TaskRef,
    pub attempt: u32,
}

impl fmt::Display for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.task, self.attempt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_name_leads_back_to_its_task_only() {
        let run = RunId::new(Uuid::from_u128(0x0192_3456_789a_7bcd_8ef0_1234_5678_9abc));
        for stage in [StageNo::new(0), StageNo::new(7), StageNo::MAX] {
            for index in [0, 1, 77, u32::MAX] {
                let task = TaskRef { run, stage, index };

                assert_eq!(TaskRef::find(run, task.id()), Some(task));
                assert_ne!(task.id().uuid(), run.uuid());
            }
        }
        assert_eq!(TaskRef::find(run, TaskId::new(run.uuid())), None);
        assert_eq!(TaskRef::find(run, TaskId::new(Uuid::from_u128(5))), None);
    }
}
