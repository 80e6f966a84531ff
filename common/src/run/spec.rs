//! The order for a run.
//!
//! A `RunSpec` is complete: later edits of the job, the template or a package touch the next run
//! only.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::{JobId, QueueId, RunId, WorkspaceId};
use crate::plan::{ContainerTask, Name, Plan};
use crate::run::callback::{Callback, RunEvent};
use crate::run::queue::InQueue;
use crate::run::scheduling::Terms;
use crate::run::task::StageNo;
use crate::secret::SecretId;

/// An order for a run: what it does, for whom, and on which terms.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSpec {
    pub job: JobId,
    pub workspace: WorkspaceId,
    /// The job's name; the wallet's line of this run shows it.
    pub name: String,
    pub template: String,
    pub plan: Plan,
    /// What its expressions know beside the values of its blocks.
    pub scope: RunScope,
    /// Seconds from the start of the run's work to its end; `None` is no limit.
    pub timeout_secs: Option<u32>,
    pub terms: Terms,
    pub origin: Origin,
    /// Whom its end is told.
    pub callbacks: Vec<Callback>,
}

/// What the expressions of a run know from its start.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunScope {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<Name, String>,
    /// Which of the workspace's secrets have these names. Never their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<Name, SecretId>,
    /// What has become of the run that this one tells of.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub event: EventScope,
}

/// What has become of a run, by name.
pub type EventScope = BTreeMap<String, String>;

/// Why a run was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Somebody asked for it.
    Manual,
    /// The job's schedule, which names this time: the run may begin later.
    Schedule(DateTime<Utc>),
    /// It is a part of another run.
    Part(Parent),
    /// It tells a receiver how this run has ended.
    Callback(RunId),
    /// Another run of the same job has started it, and does not wait for it; `None` where it is not
    /// known any more which.
    Detached(Option<Parent>),
}

impl RunSpec {
    /// The queue that a task of it stands in: its own, or that of the run.
    pub fn queue_of<'a>(&'a self, task: &'a ContainerTask) -> Option<&'a InQueue> {
        task.queue.as_ref().or(self.terms.queue.as_ref())
    }

    /// Whether some receiver is told of this.
    pub fn tells(&self, event: RunEvent) -> bool {
        self.callbacks.iter().any(|callback| callback.on.contains(&event))
    }

    /// The queues that it stands in, it or any task of it.
    pub fn queues(&self) -> BTreeSet<QueueId> {
        let mut all = self.plan.queues();
        all.extend(self.terms.queue_id());
        all
    }

    /// Whether it executes its job as a whole: it was started by no other run.
    pub const fn is_whole(&self) -> bool {
        match self.origin {
            Origin::Manual | Origin::Schedule(_) => true,
            Origin::Part(_) | Origin::Callback(_) | Origin::Detached(_) => false,
        }
    }

    /// The run and its stage that this one is a part of.
    pub const fn parent(&self) -> Option<Parent> {
        match self.origin {
            Origin::Part(parent) => Some(parent),
            Origin::Manual | Origin::Schedule(_) | Origin::Callback(_) | Origin::Detached(_) => {
                None
            }
        }
    }
}

impl Origin {
    /// The time that the job's schedule names for the run.
    pub const fn nominal(self) -> Option<DateTime<Utc>> {
        match self {
            Self::Schedule(at) => Some(at),
            Self::Manual | Self::Part(_) | Self::Callback(_) | Self::Detached(_) => None,
        }
    }

    /// The run whose end it tells.
    pub const fn callback_of(self) -> Option<RunId> {
        match self {
            Self::Callback(run) => Some(run),
            Self::Manual | Self::Schedule(_) | Self::Part(_) | Self::Detached(_) => None,
        }
    }

    /// The run and its stage that have started it, whether they wait for it or not.
    pub const fn starter(self) -> Option<Parent> {
        match self {
            Self::Part(parent) => Some(parent),
            Self::Detached(parent) => parent,
            Self::Manual | Self::Schedule(_) | Self::Callback(_) => None,
        }
    }
}

/// A stage of a run that waits for the end of another run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Parent {
    pub run: RunId,
    pub stage: StageNo,
}

/// The name under which a process task's result file `name` is handed on: unique over the run and
/// sortable by chunk. A single-chunk run keeps the name as it is.
pub fn result_name(index: u32, total: u32, name: &str) -> String {
    if total == 1 { name.to_owned() } else { format!("{index:07}_{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_names_sort_by_chunk() {
        let names: Vec<_> =
            [2, 10, 100].into_iter().map(|i| result_name(i, 101, "out.txt")).collect();

        assert!(names.is_sorted());
        assert_eq!(result_name(0, 1, "out.txt"), "out.txt");
    }
}
