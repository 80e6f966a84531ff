//! What a run does: a tree of blocks, of which the leaves are tasks.
//!
//! A plan is complete when a run starts, and never changes. What becomes of it is decided in
//! `market`: an opened block is a stage there. A plan is checked when it is made, so that a value
//! of the type can be followed without further questions.

mod block;
mod check;
mod container;
mod contract;
mod estimate;
mod expressions;
mod late;
mod name;
mod phase;
mod pipeline;
mod reservation;

use block::narrow;
pub use block::{
    Block, BlockId, Body, Child, ContainerTask, DataTask, Each, Group, KnownEnd, List, Reads,
};
use check::Checked;
pub use check::PlanError;
pub use container::{
    Code, Container, Image, ImageCode, PackageCode, PackagePin, Params, params_text,
};
pub use contract::{CHUNK_FILE, Contract, PROGRESS_FILE, PROGRESS_NAME, Uncompilable, VALUE_FILE};
pub use estimate::{Estimate, OpenList};
pub use late::{LateText, TextPlace};
pub use name::{InvalidName, Name};
pub use phase::Phase;
pub use pipeline::{Assemble, Assembler, Limits, Partition, Partitioner, Pipeline};

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::call::CallTask;
use crate::compute::container::ContainerSpec;
use crate::data::location::Source;
use crate::expression::Template;
use crate::ids::QueueId;
use crate::run::task::StageNo;

/// The blocks of a run. The first is the root; parents come before their children. Clones share
/// the blocks.
///
/// ```
/// use common::plan::Plan;
///
/// // What a template compiles to: cut the source, process each chunk, deliver.
/// let plan = common::testing::pipeline().plan();
///
/// let names: Vec<&str> = plan.blocks().map(|(_, block)| block.name.as_str()).collect();
/// assert_eq!(names, ["run", "partitioner", "app", "app", "assembler"]);
/// assert!(Plan::new(Vec::new()).is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "PlanParts", into = "PlanParts")]
pub struct Plan(Arc<Blocks>);

/// A plan as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanParts {
    blocks: Vec<Block>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    output: Option<Template>,
}

#[derive(Debug, Clone, PartialEq)]
struct Blocks {
    blocks: Vec<Block>,
    /// What the run gives at its end.
    output: Option<Template>,
    /// Of each block, which one it is in.
    parents: Vec<Option<BlockId>>,
    /// Of each block, whether it is opened once for each element of a list.
    repeated: Vec<bool>,
    /// Of each block of container work, what nodes run.
    containers: Vec<Option<ContainerSpec>>,
    /// Container work whose reservation is held from the run's start.
    reserved: Vec<BlockId>,
}

impl Plan {
    /// A plan of these blocks, in which the first is the root.
    ///
    /// # Errors
    /// The blocks are no tree, name what is not there, or have a container that cannot be
    /// compiled.
    pub fn new(blocks: Vec<Block>) -> Result<Self, PlanError> {
        Self::of(blocks, None)
    }

    /// The same plan, of which a run gives this at its end.
    ///
    /// # Errors
    /// It reads what no block gives.
    pub fn with_output(self, output: Template) -> Result<Self, PlanError> {
        Self::of(self.0.blocks.clone(), Some(output))
    }

    fn of(blocks: Vec<Block>, output: Option<Template>) -> Result<Self, PlanError> {
        let Checked { parents, repeated, containers } = check::check(&blocks, output.as_ref())?;
        let reserved = (0..).map(BlockId).zip(&blocks).filter(|(_, block)| block.is_reserved());
        let reserved = reserved.map(|(id, _)| id).collect();
        Ok(Self(Arc::new(Blocks { blocks, output, parents, repeated, containers, reserved })))
    }

    /// What a run gives at its end.
    pub fn output(&self) -> Option<&Template> {
        self.0.output.as_ref()
    }

    pub fn blocks(&self) -> impl Iterator<Item = (BlockId, &Block)> {
        (0..).map(BlockId).zip(&self.0.blocks)
    }

    /// # Panics
    /// The id is of another plan.
    pub fn block(&self, id: BlockId) -> &Block {
        &self.0.blocks[id.index()]
    }

    pub fn has(&self, id: BlockId) -> bool {
        id.index() < self.0.blocks.len()
    }

    pub fn parent(&self, id: BlockId) -> Option<BlockId> {
        self.0.parents[id.index()]
    }

    /// The innermost block around this one, or itself, that is opened once.
    pub fn outermost(&self, id: BlockId) -> BlockId {
        let mut at = id;
        while self.is_repeated(at)
            && let Some(parent) = self.parent(at)
        {
            at = parent;
        }
        at
    }

    /// Which of the outermost group's blocks this one is, or lies in; `None` where the root is no
    /// group, or the block is the root.
    pub fn place(&self, id: BlockId) -> Option<usize> {
        let Body::Group(group) = &self.block(BlockId::ROOT).body else { return None };
        let above = std::iter::successors(Some(id), |id| self.parent(*id));
        let outermost = above.take_while(|id| *id != BlockId::ROOT).last()?;
        group.of.iter().position(|of| *of == outermost)
    }

    /// Whether the block is opened once for each element of a list.
    pub fn is_repeated(&self, id: BlockId) -> bool {
        self.0.repeated[id.index()]
    }

    /// The first number of a stage that is no block's own: of blocks in an [`Each`].
    pub fn first_free_stage(&self) -> StageNo {
        StageNo::new(u32::from(narrow(self.0.blocks.len())))
    }

    /// The container work of a block: its own, or that of the elements of its list.
    pub fn container_task(&self, id: BlockId) -> Option<&ContainerTask> {
        match &self.block(self.worker(id)).body {
            Body::Container(task) => Some(task),
            Body::Group(_) | Body::Each(_) | Body::Child(_) | Body::Data(_) | Body::Call(_) => None,
        }
    }

    /// The call of a block.
    pub fn call_task(&self, id: BlockId) -> Option<&CallTask> {
        match &self.block(id).body {
            Body::Call(task) => Some(task),
            Body::Group(_)
            | Body::Each(_)
            | Body::Child(_)
            | Body::Container(_)
            | Body::Data(_) => None,
        }
    }

    /// What nodes run for the container work of a block, as [`Self::container_task`] has it.
    pub fn container_spec(&self, id: BlockId) -> Option<&ContainerSpec> {
        self.0.containers[self.worker(id).index()].as_ref()
    }

    /// The block whose work the tasks of a block do: its own, or that of its list's elements.
    fn worker(&self, id: BlockId) -> BlockId {
        match &self.block(id).body {
            Body::Each(each) => each.body,
            Body::Group(_)
            | Body::Child(_)
            | Body::Container(_)
            | Body::Data(_)
            | Body::Call(_) => id,
        }
    }

    /// The block whose container work belongs to a phase, and its stage.
    pub fn container_of(&self, phase: Phase) -> Option<(StageNo, &ContainerTask)> {
        self.blocks().find_map(|(id, block)| {
            let task = self.container_task(id).filter(|_| block.phase == Some(phase))?;
            Some((id.stage(), task))
        })
    }

    /// All container work, each once.
    pub fn container_tasks(&self) -> impl Iterator<Item = &ContainerTask> {
        self.0.blocks.iter().filter_map(|block| match &block.body {
            Body::Container(task) => Some(&**task),
            Body::Group(_) | Body::Each(_) | Body::Child(_) | Body::Data(_) | Body::Call(_) => None,
        })
    }

    /// The queues that tasks of it stand in, those of its parts too.
    pub fn queues(&self) -> BTreeSet<QueueId> {
        let mut all = BTreeSet::new();
        for block in &self.0.blocks {
            match &block.body {
                Body::Container(task) => all.extend(task.queue.as_ref().map(|queue| queue.id)),
                Body::Child(child) => all.extend(child.plan.queues()),
                Body::Group(_) | Body::Each(_) | Body::Data(_) | Body::Call(_) => {}
            }
        }
        all
    }

    /// What most of a run's tasks are: those of its first list or, without one, its first.
    pub fn typical_task(&self) -> Option<&ContainerTask> {
        let lists = self.blocks().filter(|(_, block)| matches!(block.body, Body::Each(_)));
        let of_list = lists.filter_map(|(id, _)| self.container_task(id)).next();
        of_list.or_else(|| self.container_tasks().next())
    }

    /// Which source is cut how, where the server cuts one itself.
    pub fn cut(&self) -> Option<(&Source, Partitioner)> {
        self.data_tasks().find_map(|task| match task {
            DataTask::Cut { source, partitioner } => Some((source, *partitioner)),
            DataTask::Look { .. } | DataTask::Collect { .. } | DataTask::Deliver { .. } => None,
        })
    }

    /// The assembler with which the server folds results itself, where it does.
    pub fn assembler(&self) -> Option<&Assembler> {
        self.data_tasks().find_map(|task| match task {
            DataTask::Deliver { assembler, .. } => assembler.as_ref(),
            DataTask::Look { .. } | DataTask::Cut { .. } | DataTask::Collect { .. } => None,
        })
    }

    fn data_tasks(&self) -> impl Iterator<Item = &DataTask> {
        self.0.blocks.iter().filter_map(|block| match &block.body {
            Body::Data(task) => Some(&**task),
            Body::Group(_)
            | Body::Each(_)
            | Body::Child(_)
            | Body::Container(_)
            | Body::Call(_) => None,
        })
    }

    /// The most elements that a list of chunks is worked on, where there is a limit.
    pub fn chunks_max(&self) -> Option<NonZeroU32> {
        self.0.blocks.iter().find_map(|block| match &block.body {
            Body::Each(each) => each.first,
            Body::Group(_)
            | Body::Child(_)
            | Body::Container(_)
            | Body::Data(_)
            | Body::Call(_) => None,
        })
    }

    /// Whose objects a data block has found: `None` where they are the run's own.
    pub fn source_of(&self, id: BlockId) -> Option<&Source> {
        match &self.block(id).body {
            Body::Data(task) => match &**task {
                DataTask::Look { source } | DataTask::Cut { source, .. } => Some(source),
                DataTask::Collect { .. } | DataTask::Deliver { .. } => None,
            },
            Body::Group(_)
            | Body::Each(_)
            | Body::Child(_)
            | Body::Container(_)
            | Body::Call(_) => None,
        }
    }

    /// What a customer reads of a task of a stage that this block was opened as.
    pub fn task_name(&self, id: BlockId, index: u32) -> String {
        let block = self.block(id);
        match &block.body {
            Body::Each(each) => format!("{} {index}", each.item),
            Body::Group(_)
            | Body::Child(_)
            | Body::Container(_)
            | Body::Data(_)
            | Body::Call(_) => {
                format!("the {}", block.name)
            }
        }
    }

    /// The data block whose chunks the tasks of a block work on.
    pub fn chunks_of(&self, id: BlockId) -> Option<BlockId> {
        match &self.block(id).body {
            Body::Each(Each { list: List::Chunks(from), .. }) => Some(*from),
            Body::Each(_)
            | Body::Group(_)
            | Body::Child(_)
            | Body::Container(_)
            | Body::Data(_)
            | Body::Call(_) => None,
        }
    }

    /// How many elements the list of a block has; 1 where it has
    /// no list. `known` is how many there are of a list whose length the plan does not tell. The
    /// first number is before the limit of the list, the second after it.
    pub fn elements(&self, id: BlockId, known: u32) -> (u32, u32) {
        let Body::Each(each) = &self.block(id).body else { return (1, 1) };
        let found = match each.list {
            List::Chunks(_) | List::Items(_) => known,
            List::Copies(copies) => copies,
        };
        (found, each.first.map_or(found, |first| found.min(first.get())))
    }
}

impl From<Plan> for PlanParts {
    fn from(plan: Plan) -> Self {
        Self { blocks: plan.0.blocks.clone(), output: plan.0.output.clone() }
    }
}

impl TryFrom<PlanParts> for Plan {
    type Error = PlanError;

    fn try_from(PlanParts { blocks, output }: PlanParts) -> Result<Self, PlanError> {
        Self::of(blocks, output)
    }
}
