//! The names of work: which task of which stage, and which try of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use uuid::Uuid;

use crate::ids::{RunId, TaskId};

/// A set of tasks that may run side by side. A template compiles to these three, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Partition,
    Process,
    Assemble,
}

impl Stage {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Partition => "partition",
            Self::Process => "process",
            Self::Assemble => "assemble",
        }
    }

    /// What a customer reads of a task of this stage.
    pub fn task_name(self, index: u32) -> String {
        match self {
            Self::Process => format!("chunk {index}"),
            Self::Partition => "the partitioner".to_owned(),
            Self::Assemble => "the assembler".to_owned(),
        }
    }

    /// The number that stands for the stage in the database.
    pub const fn number(self) -> i16 {
        match self {
            Self::Partition => 0,
            Self::Process => 1,
            Self::Assemble => 2,
        }
    }

    pub const fn from_number(number: i16) -> Option<Self> {
        match number {
            0 => Some(Self::Partition),
            1 => Some(Self::Process),
            2 => Some(Self::Assemble),
            _ => None,
        }
    }
}

/// Names a task. In the process stage the index is the chunk number, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskRef {
    pub run: RunId,
    pub stage: Stage,
    pub index: u32,
}

impl TaskRef {
    /// The task's own name: its run's with the stage and the index laid over its random end, so
    /// that it need not be kept and leads back to the task.
    pub fn id(self) -> TaskId {
        TaskId::new(Uuid::from_u128(self.run.uuid().as_u128() ^ self.mark()))
    }

    /// The task of this run that has this name.
    pub fn find(run: RunId, id: TaskId) -> Option<Self> {
        let mark = run.uuid().as_u128() ^ id.uuid().as_u128();
        let index = u32::try_from(mark & u128::from(u32::MAX)).ok()?;
        let number = i16::try_from(mark >> 32).ok()?.checked_sub(1)?;
        Some(Self { run, stage: Stage::from_number(number)?, index })
    }

    /// Never zero, and never as long as to touch what says that an id is one.
    fn mark(self) -> u128 {
        let stage = u128::from(self.stage.number().unsigned_abs()) + 1;
        stage << 32 | u128::from(self.index)
    }
}

impl fmt::Display for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.run, self.stage.as_str(), self.index)
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
    fn a_tasks_name_leads_back_to_it_and_to_no_other() {
        let run = RunId::new(Uuid::from_u128(0x0192_3456_789a_7bcd_8ef0_1234_5678_9abc));
        for stage in [Stage::Partition, Stage::Process, Stage::Assemble] {
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
