//! Whether the templates of a plan name only what is there when they are evaluated.

use std::collections::BTreeSet;

use super::{PlanError, Tree};
use crate::expression::{Reads, Template};
use crate::plan::expressions::Used;
use crate::plan::{Block, BlockId, Body, Child, Each, Group, Name};

/// What every template may name.
const ALWAYS: [&str; 3] = ["inputs", "job", "run"];
/// What no element of a list can be called.
const TAKEN: [&str; 6] = ["event", "inputs", "job", "run", "secrets", "tasks"];

pub(super) struct Names<'a> {
    tree: &'a Tree<'a>,
    /// The blocks whose values have names.
    vars: Vec<(BlockId, &'a Name)>,
    /// Of each group, which of its blocks have always ended when one begins.
    before: Vec<Option<Before>>,
}

impl<'a> Names<'a> {
    pub fn new(tree: &'a Tree<'a>) -> Self {
        let ids = (0..).map(BlockId).zip(tree.blocks);
        let vars = ids.filter_map(|(id, block)| Some((id, block.var.as_ref()?))).collect();
        let before = tree.blocks.iter().map(|block| match &block.body {
            Body::Group(group) => Some(Before::new(group)),
            Body::Each(_) | Body::Child(_) | Body::Container(_) | Body::Data(_) | Body::Call(_) => {
                None
            }
        });
        Self { vars, before: before.collect(), tree }
    }

    /// Checks what a block names, and what its value is called.
    pub fn check(&self, id: BlockId) -> Result<(), PlanError> {
        let block = &self.tree.blocks[id.index()];
        if block.var.is_some() && !self.has_value(id, block) {
            return Err(PlanError::Value(id.number()));
        }
        if let Body::Each(Each { item, .. }) = &block.body
            && (!Name::is_name(item) || TAKEN.contains(&item.as_str()))
        {
            return Err(PlanError::Item(id.number()));
        }
        let used = block.templates();
        let reads_tasks = |used: &Used<'_>| used.template.reads("tasks") != Reads::Nothing;
        let seen = if used.iter().any(reads_tasks) { self.seen_by(id) } else { BTreeSet::new() };
        for used in &used {
            self.check_roots(id, used)?;
            check_tasks(id, used.template, &seen)?;
        }
        Ok(())
    }

    /// Checks what a run gives at its end.
    pub fn check_output(&self, output: &Template) -> Result<(), PlanError> {
        let set = |(id, name): &(BlockId, &'a Name)| {
            let is_of_all = !self.tree.repeated[id.index()];
            is_of_all.then(|| name.as_str())
        };
        let seen = self.vars.iter().filter_map(set).collect();
        self.check_roots(BlockId::ROOT, &Used { template: output, may_be_secret: false })?;
        check_tasks(BlockId::ROOT, output, &seen)
    }

    fn has_value(&self, id: BlockId, block: &Block) -> bool {
        let blocks = self.tree.blocks;
        let parent = self.tree.parents[id.index()].map(|parent| &blocks[parent.index()].body);
        // The list has the values of its elements.
        if matches!(parent, Some(Body::Each(_))) {
            return false;
        }
        match &block.body {
            Body::Each(each) => blocks[each.body.index()].has_value(),
            Body::Group(_)
            | Body::Child(_)
            | Body::Container(_)
            | Body::Data(_)
            | Body::Call(_) => block.has_value(),
        }
    }

    fn check_roots(&self, id: BlockId, used: &Used<'_>) -> Result<(), PlanError> {
        let is_item = |root: &str| {
            self.tree.way_up(id).iter().any(|(parent, _)| {
                let body = &self.tree.blocks[parent.index()].body;
                matches!(body, Body::Each(each) if each.item == root)
            })
        };
        for root in used.template.roots() {
            let is_known = match root {
                "tasks" => true,
                "secrets" => used.may_be_secret,
                "event" => self.is_one_call(),
                root => ALWAYS.contains(&root) || is_item(root),
            };
            if !is_known {
                return Err(PlanError::Name(id.number(), root.to_owned()));
            }
        }
        Ok(())
    }

    /// Whether the plan is a call alone, which may tell what has become of another run.
    fn is_one_call(&self) -> bool {
        matches!(self.tree.blocks, [Block { body: Body::Call(_), .. }])
    }

    /// The names of values that are there whenever the block begins, where theirs were not
    /// skipped.
    fn seen_by(&self, id: BlockId) -> BTreeSet<&'a str> {
        let to = self.tree.way_up(id);
        let sees = |(from, _): &&(BlockId, &Name)| self.sees(*from, &to);
        self.vars.iter().filter(sees).map(|(_, name)| name.as_str()).collect()
    }

    /// Whether a block has ended, in the same element of every list, before another that lies
    /// there begins.
    fn sees(&self, first: BlockId, then: &[(BlockId, BlockId)]) -> bool {
        let mut child = first;
        while let Some(parent) = self.tree.parents[child.index()] {
            if let Some((_, to)) = then.iter().find(|(group, _)| *group == parent) {
                let before = self.before[parent.index()].as_ref();
                return before.is_some_and(|before| before.is_before(child, *to));
            }
            if matches!(self.tree.blocks[parent.index()].body, Body::Each(_)) {
                return false;
            }
            child = parent;
        }
        false
    }
}

fn check_tasks(id: BlockId, template: &Template, seen: &BTreeSet<&str>) -> Result<(), PlanError> {
    match template.reads("tasks") {
        Reads::Nothing | Reads::All => Ok(()),
        Reads::Members(names) => match names.iter().find(|name| !seen.contains(name.as_str())) {
            Some(name) => Err(PlanError::Task(id.number(), name.clone())),
            None => Ok(()),
        },
    }
}

/// Checks what a part of a run is given.
pub(super) fn check_child(id: BlockId, child: &Child) -> Result<(), PlanError> {
    const INPUTS_MAX: usize = 256;
    if child.inputs.len() > INPUTS_MAX {
        return Err(PlanError::Inputs(id.number()));
    }
    Ok(())
}

/// Which blocks of a group come before which, by any number of steps.
struct Before {
    of: Vec<BlockId>,
    /// For each block, one bit for each that comes before it.
    bits: Vec<Vec<u64>>,
}

impl Before {
    /// The order of the group has no circle.
    fn new(group: &Group) -> Self {
        let len = group.of.len();
        let mut bits: Vec<Option<Vec<u64>>> = vec![None; len];
        let mut open: Vec<usize> = (0..len).collect();
        while let Some(n) = open.pop() {
            if bits[n].is_some() {
                continue;
            }
            let direct = || group.after[n].iter().map(|before| usize::from(*before));
            if let Some(unknown) = direct().find(|before| bits[*before].is_none()) {
                open.extend([n, unknown]);
                continue;
            }
            let mut own = vec![0; len.div_ceil(64)];
            for before in direct() {
                own[before / 64] |= 1 << (before % 64);
                for (word, more) in own.iter_mut().zip(bits[before].iter().flatten()) {
                    *word |= more;
                }
            }
            bits[n] = Some(own);
        }
        Self {
            of: group.of.clone(),
            bits: bits.into_iter().map(Option::unwrap_or_default).collect(),
        }
    }

    fn is_before(&self, first: BlockId, then: BlockId) -> bool {
        let place = |id: BlockId| self.of.iter().position(|of| *of == id);
        let (Some(first), Some(then)) = (place(first), place(then)) else { return false };
        self.bits[then].get(first / 64).is_some_and(|word| word >> (first % 64) & 1 == 1)
    }
}
