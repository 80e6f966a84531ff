//! What a template compiles to: look or cut, process each chunk, fold, deliver.

use serde::{Deserialize, Serialize};

use super::{
    Block, BlockId, Body, Container, ContainerTask, DataTask, Each, Group, List, Phase, Plan, Reads,
};
use crate::data::location::{Destination, Source};
use crate::money::price::TASK_TIMEOUT_SECS;
use crate::run::scheduling::{TEST_CHUNKS, TaskPriority};

/// A job of a template, with everything pinned.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    pub source: Source,
    pub destination: Destination,
    pub partition: Partition,
    pub process: Container,
    pub assemble: Assemble,
    pub limits: Limits,
    /// Only the first `TEST_CHUNKS` chunks are processed.
    pub is_test: bool,
}

/// How a run's data is cut.
#[derive(Debug, Clone, PartialEq)]
pub enum Partition {
    /// By ranges that the server computes; nothing is copied.
    Builtin(Partitioner),
    /// By the customer's container, on a node.
    Custom(Box<Container>),
}

/// The partitioners that need no container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Partitioner {
    /// The whole source is one chunk. Several objects are one chunk each.
    Passthrough,
    /// Chunks of about `bytes`, each ending where a line ends. What is no text is one chunk.
    Lines { bytes: u64 },
    /// The same of records of CSV, which line ends within quotes do not end.
    Csv { bytes: u64 },
    /// Chunks of about `bytes` that are whole members of tar archives. What is no archive is one
    /// chunk.
    Tar { bytes: u64 },
    /// Chunks of exactly `bytes`, the last of an object shorter.
    Bytes { bytes: u64 },
    /// Each object of the source is one chunk.
    File,
    /// Each object of the source, `copies` times.
    Replicate { copies: u32 },
}

/// How a run's results are folded.
#[derive(Debug, Clone, PartialEq)]
pub enum Assemble {
    /// By the server, streaming.
    Builtin(Assembler),
    /// By the customer's container, on a node.
    Custom(Box<Container>),
}

/// The assemblers that need no container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Assembler {
    /// Every result file goes to the destination under its unique name.
    Passthrough,
    /// All result files one after the other, in chunk order, as one file of this name. The
    /// separator stands between two files, except where the first ends with it already or is
    /// empty.
    Concat { name: String, separator: String },
    /// All result files in one archive of this name.
    Zip { name: String },
}

/// When a run stops trying, and which results it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Seconds that one attempt's container may run.
    pub task_timeout_secs: u32,
    /// Seconds from the start of the run's work to its end; `None` is no limit.
    pub job_timeout_secs: Option<u32>,
    /// Further attempts after a task's first failed.
    pub task_retries: u32,
    /// A process task that gives no results has failed.
    pub require_results: bool,
    /// The same input gives the same results, so that a second node can check the first.
    pub deterministic: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            task_timeout_secs: TASK_TIMEOUT_SECS,
            job_timeout_secs: None,
            task_retries: 0,
            require_results: false,
            deterministic: true,
        }
    }
}

impl Pipeline {
    /// The plan of this job. Built-in engines are steps of the server; custom ones are tasks with
    /// a step before or after.
    pub fn plan(&self) -> Plan {
        let mut blocks = Sequence::new();
        let chunks = match &self.partition {
            Partition::Builtin(partitioner) => {
                let (source, partitioner) = (self.source.clone(), *partitioner);
                blocks.data("partitioner", Phase::Fetch, DataTask::Cut { source, partitioner })
            }
            Partition::Custom(container) => {
                let source = self.source.clone();
                let found = blocks.data("source", Phase::Fetch, DataTask::Look { source });
                let task = self.task(container, Reads::Objects(found));
                let task = blocks.container("partitioner", Phase::Partition, task);
                blocks.data("collector", Phase::Partition, DataTask::Collect { of: task })
            }
        };
        let results = blocks.each(chunks, self.is_test, {
            let Limits { require_results, deterministic, .. } = self.limits;
            ContainerTask {
                require_results,
                deterministic,
                ..self.task(&self.process, Reads::Element)
            }
        });
        let destination = self.destination.clone();
        match &self.assemble {
            Assemble::Builtin(assembler) => {
                let assembler = Some(assembler.clone());
                let task = DataTask::Deliver { of: results, assembler, destination };
                blocks.data("assembler", Phase::Assemble, task);
            }
            Assemble::Custom(container) => {
                let task = self.task(container, Reads::Results(results));
                let task = ContainerTask { is_reserved: true, ..task };
                let of = blocks.container("assembler", Phase::Assemble, task);
                let task = DataTask::Deliver { of, assembler: None, destination };
                blocks.data("delivery", Phase::Deliver, task);
            }
        }
        blocks.plan()
    }

    fn task(&self, container: &Container, reads: Reads) -> ContainerTask {
        ContainerTask {
            container: container.clone(),
            reads,
            queue: None,
            timeout_secs: self.limits.task_timeout_secs,
            retries: self.limits.task_retries,
            waits: None,
            require_results: false,
            deterministic: false,
            priority: TaskPriority::default(),
            is_reserved: false,
        }
    }
}

/// Blocks one after the other.
struct Sequence {
    /// The first is the group.
    blocks: Vec<Block>,
    of: Vec<BlockId>,
}

impl Sequence {
    fn new() -> Self {
        let body = Body::Group(Group::sequence(Vec::new()));
        let root = Block::new("run", body);
        Self { blocks: vec![root], of: Vec::new() }
    }

    fn push(&mut self, name: &str, phase: Option<Phase>, body: Body) -> BlockId {
        let id = BlockId(u16::try_from(self.blocks.len()).expect("a pipeline has a few blocks"));
        self.blocks.push(Block { phase, ..Block::new(name, body) });
        id
    }

    fn add(&mut self, name: &str, phase: Phase, body: Body) -> BlockId {
        let id = self.push(name, Some(phase), body);
        self.of.push(id);
        id
    }

    fn data(&mut self, name: &str, phase: Phase, task: DataTask) -> BlockId {
        self.add(name, phase, Body::Data(Box::new(task)))
    }

    fn container(&mut self, name: &str, phase: Phase, task: ContainerTask) -> BlockId {
        self.add(name, phase, Body::Container(Box::new(task)))
    }

    fn each(&mut self, chunks: BlockId, is_test: bool, task: ContainerTask) -> BlockId {
        let id = self.blocks.len() + 1;
        let each = Each {
            list: List::Chunks(chunks),
            item: "chunk".to_owned(),
            body: BlockId(u16::try_from(id).expect("a pipeline has a few blocks")),
            at_once: None,
            first: is_test.then_some(TEST_CHUNKS),
        };
        let id = self.add("app", Phase::Process, Body::Each(each));
        self.push("app", None, Body::Container(Box::new(task)));
        id
    }

    fn plan(mut self) -> Plan {
        self.blocks[0].body = Body::Group(Group::sequence(self.of));
        Plan::new(self.blocks).expect("each block of a pipeline reads what those before it made")
    }
}

#[cfg(test)]
mod tests;
