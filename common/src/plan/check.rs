//! Whether blocks make a plan: a tree in which everything that is named is there in time.

mod names;

use super::{Block, BlockId, Body, DataTask, Each, Group, List, Reads, Uncompilable};
use crate::call::InvalidCall;
use crate::compute::container::ContainerSpec;
use crate::expression::Template;
use names::Names;

/// The most blocks of a plan.
pub const BLOCKS_MAX: usize = 1_000;
/// The most blocks that lie within one another.
pub const DEPTH_MAX: usize = 32;

/// Why blocks are no plan. Blocks are numbered from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("a plan has between 1 and {BLOCKS_MAX} blocks")]
    Size,
    #[error("block {0} names a block that is not there, or comes before it")]
    NoBlock(u16),
    #[error("block {0} is in no other block, or in more than one")]
    NoTree(u16),
    #[error("block {0} lies within more than {DEPTH_MAX} others")]
    TooDeep(u16),
    #[error("the order of the blocks in group {0} goes in a circle, or names what is not there")]
    Order(u16),
    #[error("block {0} reads what is not there when it begins")]
    Reads(u16),
    #[error("block {0} is reserved and in a list: how often it runs is not known")]
    Reserved(u16),
    #[error("the container of block {0}: {1}")]
    Container(u16, Uncompilable),
    #[error("the call of block {0}: {field}: {1}", field = .1.field())]
    Call(u16, InvalidCall),
    #[error("block {0} names a value that it does not have, or that its list has")]
    Value(u16),
    #[error("an element of the list of block {0} cannot be called so")]
    Item(u16),
    #[error("block {0} has an expression that names {1}, which is not there")]
    Name(u16, String),
    #[error("block {0} has an expression that names tasks.{1}, which no block before it sets")]
    Task(u16, String),
    #[error("block {0} has too many inputs")]
    Inputs(u16),
}

/// What a check finds out of each block.
pub(super) struct Checked {
    /// Which one it is in.
    pub parents: Vec<Option<BlockId>>,
    /// Whether it is opened once for each element of a list.
    pub repeated: Vec<bool>,
    /// What nodes run, where it is work in a container.
    pub containers: Vec<Option<ContainerSpec>>,
}

pub(super) fn check(blocks: &[Block], output: Option<&Template>) -> Result<Checked, PlanError> {
    if blocks.is_empty() || blocks.len() > BLOCKS_MAX {
        return Err(PlanError::Size);
    }
    let mut parents = vec![None; blocks.len()];
    let mut repeated = vec![false; blocks.len()];
    let mut depth = vec![1_usize; blocks.len()];
    for (id, block) in (0..).zip(blocks) {
        let here = usize::from(id);
        if id > 0 && parents[here].is_none() {
            return Err(PlanError::NoTree(id));
        }
        if depth[here] > DEPTH_MAX {
            return Err(PlanError::TooDeep(id));
        }
        if let Body::Group(group) = &block.body {
            check_order(id, group)?;
        }
        for child in children(block) {
            let at = child.index();
            if at <= here || at >= blocks.len() {
                return Err(PlanError::NoBlock(id));
            }
            if parents[at].replace(BlockId(id)).is_some() {
                return Err(PlanError::NoTree(child.number()));
            }
            repeated[at] = repeated[here] || matches!(block.body, Body::Each(_));
            depth[at] = depth[here] + 1;
        }
    }
    let mut containers = Vec::with_capacity(blocks.len());
    let tree = Tree { blocks, parents: &parents, repeated: &repeated };
    let names = Names::new(&tree);
    if let Some(output) = output {
        names.check_output(output)?;
    }
    for id in (0..).map(BlockId).take(blocks.len()) {
        tree.check_reads(id)?;
        names.check(id)?;
        if repeated[id.index()] && blocks[id.index()].is_reserved() {
            return Err(PlanError::Reserved(id.number()));
        }
        containers.push(match &blocks[id.index()].body {
            Body::Container(task) => {
                let compiled = task.container.compile(tree.names_value(id));
                Some(compiled.map_err(|error| PlanError::Container(id.number(), error))?)
            }
            Body::Call(task) => {
                task.check().map_err(|error| PlanError::Call(id.number(), error))?;
                None
            }
            Body::Child(child) => {
                names::check_child(id, child)?;
                None
            }
            Body::Group(_) | Body::Each(_) | Body::Data(_) => None,
        });
    }
    Ok(Checked { parents, repeated, containers })
}

fn children(block: &Block) -> &[BlockId] {
    match &block.body {
        Body::Group(group) => &group.of,
        Body::Each(each) => std::slice::from_ref(&each.body),
        Body::Child(_) | Body::Container(_) | Body::Data(_) | Body::Call(_) => &[],
    }
}

/// Takes blocks away whose predecessors are gone, until none is left.
fn check_order(id: u16, group: &Group) -> Result<(), PlanError> {
    let Group { of, after } = group;
    let known = |before: &u16| usize::from(*before) < of.len();
    if of.is_empty() || after.len() != of.len() || !after.iter().flatten().all(known) {
        return Err(PlanError::Order(id));
    }
    let mut gone = vec![false; of.len()];
    loop {
        let free: Vec<usize> = (0..of.len())
            .filter(|n| !gone[*n] && after[*n].iter().all(|before| gone[usize::from(*before)]))
            .collect();
        if free.is_empty() {
            break;
        }
        for n in free {
            gone[n] = true;
        }
    }
    if gone.contains(&false) { Err(PlanError::Order(id)) } else { Ok(()) }
}

struct Tree<'a> {
    blocks: &'a [Block],
    parents: &'a [Option<BlockId>],
    repeated: &'a [bool],
}

impl Tree<'_> {
    /// Everything that a block reads was made by a block of the right kind, which is opened once
    /// and has ended by then.
    fn check_reads(&self, id: BlockId) -> Result<(), PlanError> {
        let is_fine = match &self.blocks[id.index()].body {
            Body::Each(Each { list: List::Chunks(from), .. }) => {
                self.is_before(*from, id) && self.makes_chunks(*from)
            }
            Body::Each(Each { list: List::Copies(_) | List::Items(_), .. })
            | Body::Group(_)
            | Body::Child(_)
            | Body::Call(_) => true,
            Body::Container(task) => match task.reads {
                Reads::Nothing => true,
                Reads::Element => self.is_element_of_chunks(id),
                Reads::Objects(from) => self.is_before(from, id) && self.finds_objects(from),
                Reads::Results(from) => self.is_before(from, id) && self.gives_results(from),
            },
            Body::Data(task) => match &**task {
                DataTask::Look { .. } | DataTask::Cut { .. } => true,
                DataTask::Collect { of } | DataTask::Deliver { of, .. } => {
                    self.is_before(*of, id) && self.gives_results(*of)
                }
            },
        };
        if is_fine { Ok(()) } else { Err(PlanError::Reads(id.number())) }
    }

    fn makes_chunks(&self, id: BlockId) -> bool {
        let Body::Data(task) = &self.blocks[id.index()].body else { return false };
        matches!(**task, DataTask::Cut { .. } | DataTask::Collect { .. })
    }

    fn finds_objects(&self, id: BlockId) -> bool {
        let Body::Data(task) = &self.blocks[id.index()].body else { return false };
        matches!(**task, DataTask::Look { .. })
    }

    fn gives_results(&self, id: BlockId) -> bool {
        let is_container = |id: BlockId| match self.blocks.get(id.index()) {
            Some(block) => matches!(block.body, Body::Container(_)),
            None => false,
        };
        match &self.blocks[id.index()].body {
            Body::Container(_) => true,
            Body::Each(each) => is_container(each.body),
            Body::Group(_) | Body::Child(_) | Body::Data(_) | Body::Call(_) => false,
        }
    }

    fn is_element_of_chunks(&self, id: BlockId) -> bool {
        let parent = self.parents[id.index()].map(|parent| &self.blocks[parent.index()].body);
        matches!(parent, Some(Body::Each(Each { list: List::Chunks(_), .. })))
    }

    /// Whether somebody reads the value of a block: it has a name, or its list's value has.
    fn names_value(&self, id: BlockId) -> bool {
        let has_name = |id: BlockId| self.blocks[id.index()].var.is_some();
        let list = self.parents[id.index()]
            .filter(|parent| matches!(self.blocks[parent.index()].body, Body::Each(_)));
        has_name(id) || list.is_some_and(has_name)
    }

    /// Whether `first` is there, is opened once, is never skipped, and has always ended when `then`
    /// begins.
    fn is_before(&self, first: BlockId, then: BlockId) -> bool {
        if first.index() >= self.blocks.len() || self.repeated[first.index()] {
            return false;
        }
        let mut at = first;
        while let Some(parent) = self.parents[at.index()]
            && !self.way_up(then).iter().any(|(of, _)| *of == parent)
        {
            if self.blocks[at.index()].when.is_some() {
                return false;
            }
            at = parent;
        }
        if self.blocks[at.index()].when.is_some() {
            return false;
        }
        let ways = [self.way_up(first), self.way_up(then)];
        let common = ways[0].iter().find(|(group, _)| ways[1].iter().any(|(id, _)| id == group));
        let Some((group, from)) = common else { return false };
        let to = ways[1].iter().find(|(id, _)| id == group).map(|(_, child)| *child);
        match &self.blocks[group.index()].body {
            Body::Group(group) => to.is_some_and(|to| follows(group, *from, to)),
            Body::Each(_) | Body::Child(_) | Body::Container(_) | Body::Data(_) | Body::Call(_) => {
                false
            }
        }
    }

    /// The blocks that a block is in, innermost first, each with the child that it is in there.
    fn way_up(&self, id: BlockId) -> Vec<(BlockId, BlockId)> {
        let mut way = Vec::new();
        let mut child = id;
        while let Some(parent) = self.parents[child.index()] {
            way.push((parent, child));
            child = parent;
        }
        way
    }
}

/// Whether one block of a group begins only after another has ended.
fn follows(group: &Group, first: BlockId, then: BlockId) -> bool {
    let place = |id: BlockId| group.of.iter().position(|of| *of == id);
    let (Some(first), Some(then)) = (place(first), place(then)) else { return false };
    let (mut seen, mut open) = (vec![false; group.of.len()], vec![then]);
    while let Some(n) = open.pop() {
        for before in group.after[n].iter().map(|before| usize::from(*before)) {
            if before == first {
                return true;
            }
            if !std::mem::replace(&mut seen[before], true) {
                open.push(before);
            }
        }
    }
    false
}

#[cfg(test)]
mod names_tests;
#[cfg(test)]
mod tests;
