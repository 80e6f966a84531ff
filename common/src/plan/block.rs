//! The blocks of a plan, and what each kind of them does.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::{Assembler, Container, Name, Partitioner, Phase, Plan};
use crate::call::{CallTask, Waits};
use crate::data::chunk_table::ChunkTable;
use crate::data::location::{Destination, Source};
use crate::data::object_list::{Object, Objects};
use crate::expression::Template;
use crate::run::queue::InQueue;
use crate::run::scheduling::TaskPriority;
use crate::run::task::StageNo;

/// Names a block by its place in its plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BlockId(pub(super) u16);

impl BlockId {
    pub const ROOT: Self = Self(0);

    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    pub const fn number(self) -> u16 {
        self.0
    }

    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }

    /// The stage of a block that is opened once: of one that is not in an [`Each`].
    pub const fn stage(self) -> StageNo {
        StageNo::new(self.0 as u32)
    }
}

/// A part of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// What a customer reads of it.
    pub name: String,
    /// The part of the run that begins with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// It is skipped where this gives the text `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Template>,
    /// The name under which blocks after it read its value. One that is set in an [`Each`] is seen
    /// in the same element only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub var: Option<Name>,
    pub body: Body,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Body {
    Group(Group),
    Each(Each),
    /// A run of its own, of the same job.
    Child(Box<Child>),
    Container(Box<ContainerTask>),
    /// Work on data that the server does itself.
    Data(Box<DataTask>),
    /// An HTTP request, which the server makes.
    Call(Box<CallTask>),
}

/// Several blocks, each of which begins when those have ended that it comes after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    pub of: Vec<BlockId>,
    /// For each of them, the places in `of` of those that it comes after.
    pub after: Vec<Vec<u16>>,
}

impl Block {
    /// A block without a phase, a condition and a value.
    pub fn new(name: impl Into<String>, body: Body) -> Self {
        Self { name: name.into(), phase: None, when: None, var: None, body }
    }

    pub(super) fn is_reserved(&self) -> bool {
        matches!(&self.body, Body::Container(task) if task.is_reserved)
    }
}

impl Group {
    /// The blocks one after the other.
    pub fn sequence(of: Vec<BlockId>) -> Self {
        let after = (0..of.len()).map(|n| n.checked_sub(1).map(narrow).into_iter().collect());
        Self { after: after.collect(), of }
    }

    /// The blocks side by side.
    pub fn parallel(of: Vec<BlockId>) -> Self {
        Self { after: vec![Vec::new(); of.len()], of }
    }
}

/// A place in a group, or of a block. A plan that is checked has no more blocks than fit.
pub(super) fn narrow(n: usize) -> u16 {
    u16::try_from(n).unwrap_or(u16::MAX)
}

/// One block, once for each element of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Each {
    pub list: List,
    /// What one element is called, such as `chunk`.
    pub item: String,
    pub body: BlockId,
    /// This many elements at a time; `None` is as many as there is room for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_once: Option<NonZeroU32>,
    /// Only the first elements of the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<NonZeroU32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum List {
    /// The chunks that this data block has made.
    Chunks(BlockId),
    /// This many elements without data.
    Copies(u32),
    /// What an expression gives: a list, or a number of elements.
    Items(Template),
}

/// A run of its own, of the same job. It sees the secrets of the run that it is in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Child {
    /// What its run is called; `None` is as the run that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub plan: Plan,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<Name, Template>,
    /// Nothing waits for it, and it goes on when the run that started it has ended.
    #[serde(default)]
    pub detached: bool,
}

/// Work in a container on a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerTask {
    pub container: Container,
    pub reads: Reads,
    /// The queue that it stands in; `None` is that of its run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<InQueue>,
    /// Which of the open blocks of its run it comes before.
    #[serde(default, skip_serializing_if = "TaskPriority::is_usual")]
    pub priority: TaskPriority,
    /// Seconds that one attempt's container may run.
    pub timeout_secs: u32,
    /// Further attempts after the first failed.
    pub retries: u32,
    /// The pauses before them; `None` is what the market finds right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<Waits>,
    /// An attempt that gives no results has failed.
    pub require_results: bool,
    /// The same input gives the same results, so that a second node can check the first.
    pub deterministic: bool,
    /// Its reservation is held from the run's start, so that the run does not end without money
    /// for it when everything before it has been paid.
    pub is_reserved: bool,
}

/// What a container gets to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Reads {
    Nothing,
    /// The element of the [`Each`] that it is the body of: one chunk.
    Element,
    /// The objects that this data block has found.
    Objects(BlockId),
    /// All accepted results of this block.
    Results(BlockId),
}

/// Work on data that the server does itself. Done twice, it gives the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum DataTask {
    /// Finds the objects of a source.
    Look { source: Source },
    /// Finds the objects of a source, and cuts them.
    Cut { source: Source, partitioner: Partitioner },
    /// Makes chunks of what this block's container wrote.
    Collect { of: BlockId },
    /// Folds the results of a block, where there is an assembler, and takes them to where they
    /// should be.
    Deliver { of: BlockId, assembler: Option<Assembler>, destination: Destination },
}

/// What data work gives of which everything is known before it begins.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownEnd {
    /// What it has found or cut.
    pub table: Option<ChunkTable>,
    /// The phase in which it ends.
    pub phase: Option<Phase>,
}

impl DataTask {
    /// The end of work that reads and moves no byte; `None` where the server has to do it.
    ///
    /// A run that is part of another has other work, too: it never ends while it is started, which
    /// would make the length of a list of such runs a depth of calls.
    pub fn known_end(&self) -> Option<KnownEnd> {
        let nothing = |source: &Source| match source {
            Source::Bypass => Objects::pack(&[Object::nothing()]).ok(),
            Source::File(_) | Source::Cloud { .. } | Source::Url { .. } => None,
        };
        match self {
            Self::Look { source } => {
                let table = Some(ChunkTable::whole(nothing(source)?));
                Some(KnownEnd { table, phase: None })
            }
            Self::Cut { source, partitioner } => {
                let objects = nothing(source)?;
                let table = match *partitioner {
                    Partitioner::Replicate { copies } => {
                        ChunkTable::copies(objects, copies).ok()?
                    }
                    Partitioner::Passthrough | Partitioner::File => ChunkTable::whole(objects),
                    Partitioner::Lines { .. }
                    | Partitioner::Csv { .. }
                    | Partitioner::Tar { .. }
                    | Partitioner::Bytes { .. } => return None,
                };
                let phase = Some(Phase::Partition);
                // Why there are no chunks, the server's step explains.
                (!table.is_empty()).then_some(KnownEnd { table: Some(table), phase })
            }
            Self::Deliver { destination: Destination::Bypass, .. } => {
                Some(KnownEnd { table: None, phase: Some(Phase::Deliver) })
            }
            Self::Collect { .. } | Self::Deliver { .. } => None,
        }
    }
}
