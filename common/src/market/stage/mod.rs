//! A stage: an opened block of a run's plan, and how far it is.

pub mod frozen;
pub mod members;
pub mod values;

use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::calls::open_call::OpenCall;
use super::tasks::Tasks;
use crate::expression::Items;
use crate::ids::RunId;
use crate::plan::{BlockId, Body, Plan};
use crate::run::task::StageNo;
use frozen::{Frozen, Resolution};
use members::{Elements, Members};

/// An opened block. One that has ended is no longer in memory.
#[derive(Debug)]
pub struct Stage {
    pub no: StageNo,
    pub block: BlockId,
    /// The stage of the block that it is in.
    pub parent: Option<StageNo>,
    /// Which element of its list it is for.
    pub item: Option<u32>,
    pub opened_at: DateTime<Utc>,
    /// How many values its run had by then: its expressions read no later ones.
    pub seen: u32,
    /// What its expressions gave, where something was to be decided by them.
    pub(super) resolved: Option<Arc<Resolution>>,
    /// What they read, once somebody has asked for it.
    pub(super) frozen: OnceLock<Arc<Frozen>>,
    pub(super) open: Open,
}

/// What an open stage waits for.
#[derive(Debug)]
pub(super) enum Open {
    Group(Members),
    Each(Elements),
    Tasks(Box<Tasks>),
    /// A step of the server itself.
    Step,
    /// The end of another run.
    Child(RunId),
    /// An HTTP request that the server makes.
    Call(Box<OpenCall>),
    /// What its expressions give. Nothing of it has begun.
    Resolving,
    /// What its run gives at its end. Everything in it has ended.
    Output,
}

/// How far a stage is, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cursor {
    Group(Members),
    Each(Elements),
    Tasks {
        len: u32,
        next: u32,
        done: u32,
    },
    Step,
    Child(RunId),
    /// How far it is, its task's row tells.
    Call,
    Resolving,
    Output,
}

/// A stage as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageRecord {
    pub run: RunId,
    pub no: StageNo,
    pub block: BlockId,
    pub parent: Option<StageNo>,
    pub item: Option<u32>,
    pub cursor: Cursor,
    pub opened_at: DateTime<Utc>,
    /// How many values its run had when it was opened.
    pub seen: u32,
    pub ended: Option<StageEnd>,
}

/// How and when a stage has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageEnd {
    pub at: DateTime<Utc>,
    pub how: StageOutcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StageOutcome {
    /// Everything in it is done.
    Done,
    /// Its condition was false.
    Skipped,
    /// Its run has ended before it.
    CutOff,
}

impl StageEnd {
    pub fn is_cut_off(self) -> bool {
        self.how == StageOutcome::CutOff
    }
}

impl Stage {
    pub fn tasks(&self) -> Option<&Tasks> {
        match &self.open {
            Open::Tasks(tasks) => Some(tasks),
            Open::Group(_)
            | Open::Each(_)
            | Open::Step
            | Open::Child(_)
            | Open::Call(_)
            | Open::Resolving
            | Open::Output => None,
        }
    }

    pub(super) fn tasks_mut(&mut self) -> Option<&mut Tasks> {
        match &mut self.open {
            Open::Tasks(tasks) => Some(tasks),
            Open::Group(_)
            | Open::Each(_)
            | Open::Step
            | Open::Child(_)
            | Open::Call(_)
            | Open::Resolving
            | Open::Output => None,
        }
    }

    pub(super) fn call(&self) -> Option<&OpenCall> {
        match &self.open {
            Open::Call(call) => Some(call),
            Open::Group(_)
            | Open::Each(_)
            | Open::Tasks(_)
            | Open::Step
            | Open::Child(_)
            | Open::Resolving
            | Open::Output => None,
        }
    }

    pub(super) fn call_mut(&mut self) -> Option<&mut OpenCall> {
        match &mut self.open {
            Open::Call(call) => Some(call),
            Open::Group(_)
            | Open::Each(_)
            | Open::Tasks(_)
            | Open::Step
            | Open::Child(_)
            | Open::Resolving
            | Open::Output => None,
        }
    }

    pub(super) const fn is_step(&self) -> bool {
        matches!(self.open, Open::Step)
    }

    /// Whether it waits for what expressions give.
    pub(in crate::market) const fn is_asking(&self) -> bool {
        matches!(self.open, Open::Resolving | Open::Output)
    }

    /// Whether it waits for the end of this run.
    pub(super) fn waits_for(&self, child: RunId) -> bool {
        matches!(self.open, Open::Child(run) if run == child)
    }

    /// Whether everything in its run has ended.
    pub(super) const fn is_output(&self) -> bool {
        matches!(self.open, Open::Output)
    }

    /// How many elements or tasks it has.
    pub(super) fn len(&self) -> u32 {
        match &self.open {
            Open::Each(elements) => elements.total(),
            Open::Tasks(tasks) => tasks.len(),
            Open::Group(_)
            | Open::Step
            | Open::Child(_)
            | Open::Call(_)
            | Open::Resolving
            | Open::Output => 0,
        }
    }

    /// The address that an expression gives for its call.
    pub fn url(&self) -> Option<&str> {
        self.resolved.as_ref()?.url.as_deref()
    }

    /// How many elements its list has, where an expression gives them.
    pub(super) fn items(&self) -> Option<u32> {
        self.resolved.as_ref()?.items.as_ref().map(Items::len)
    }

    pub(super) fn record(&self, run: RunId, ended: Option<StageEnd>) -> StageRecord {
        let cursor = match &self.open {
            Open::Group(members) => Cursor::Group(members.clone()),
            Open::Each(elements) => Cursor::Each(*elements),
            Open::Tasks(tasks) => tasks.cursor(),
            Open::Step => Cursor::Step,
            Open::Child(child) => Cursor::Child(*child),
            Open::Call(_) => Cursor::Call,
            Open::Resolving => Cursor::Resolving,
            Open::Output => Cursor::Output,
        };
        let Self { no, block, parent, item, opened_at, seen, .. } = *self;
        StageRecord { run, no, block, parent, item, cursor, opened_at, seen, ended }
    }

    /// Whether it is a stage of its block, which has this many tasks.
    pub(super) fn fits(&self, plan: &Plan, tasks: u32) -> bool {
        match (&self.open, &plan.block(self.block).body) {
            (Open::Group(members), Body::Group(group)) => members.is_of(group.of.len()),
            (Open::Each(elements), Body::Each(_)) => elements.is_whole(),
            (Open::Tasks(own), Body::Each(_) | Body::Container(_)) => own.len() == tasks,
            (Open::Step, Body::Data(_))
            | (Open::Child(_), Body::Child(_))
            | (Open::Call(_), Body::Call(_)) => true,
            (Open::Resolving, _) => plan.is_resolved(self.block),
            (Open::Output, _) => self.block == BlockId::ROOT && plan.output().is_some(),
            (_, _) => false,
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        match &self.open {
            Open::Each(elements) if !elements.is_whole() => Err(format!("{elements:?}")),
            Open::Tasks(tasks) => tasks.check(),
            Open::Group(_)
            | Open::Each(_)
            | Open::Step
            | Open::Child(_)
            | Open::Call(_)
            | Open::Resolving
            | Open::Output => Ok(()),
        }
    }
}
