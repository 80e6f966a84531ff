//! Where in a job file something stands, for messages.

use std::fmt;

use super::super::InvalidWorkflow;
use super::super::step::Step;
use crate::plan::{BlockId, PlanError};

/// A part of a job file, such as `steps[2] "render": env.PAGE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place(String);

impl Place {
    pub const fn root() -> Self {
        Self(String::new())
    }

    /// A step of a list that is here.
    pub fn step(&self, n: usize, step: &Step) -> Self {
        let list =
            if self.0.is_empty() || !self.0.ends_with("parallel") && !self.0.ends_with("steps") {
                self.field("steps")
            } else {
                self.clone()
            };
        let name: String = step.name.iter().flat_map(|name| name.chars()).take(64).collect();
        if name.is_empty() {
            Self(format!("{list}[{n}]"))
        } else {
            Self(format!("{list}[{n}] {name:?}"))
        }
    }

    pub fn field(&self, name: &str) -> Self {
        if self.0.is_empty() {
            return Self(name.to_owned());
        }
        let separator = if self.0.ends_with('"') { ": " } else { "." };
        Self(format!("{self}{separator}{name}"))
    }

    pub fn refuse(&self, problem: impl Into<String>) -> InvalidWorkflow {
        let place = if self.0.is_empty() { "steps".to_owned() } else { self.0.clone() };
        InvalidWorkflow::At { place, problem: problem.into() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why the output of a plan is refused.
pub(super) fn of_output_error(error: PlanError, place: &Place) -> InvalidWorkflow {
    of_plan_error(error, &[], place)
}

/// Why blocks are no plan, in the words of the file.
pub(super) fn of_plan_error(error: PlanError, places: &[Place], root: &Place) -> InvalidWorkflow {
    let at = |id: u16| places.get(usize::from(BlockId::new(id).number())).unwrap_or(root);
    match error {
        PlanError::Size => root.refuse("a job has from 1 to 1000 steps"),
        PlanError::TooDeep(id) => at(id).refuse("steps lie too deep in one another"),
        PlanError::Order(id) => at(id).refuse("the order of the steps goes in a circle"),
        PlanError::Value(id) => at(id).refuse("var: the step gives no value"),
        PlanError::Item(id) => at(id).refuse("item: an element of a list cannot be called so"),
        PlanError::Name(id, name) => {
            at(id).refuse(format!("an expression names {name}, which is not there"))
        }
        PlanError::Task(id, name) => {
            at(id).refuse(format!("an expression names tasks.{name}, which no step before it sets"))
        }
        PlanError::Inputs(id) => at(id).refuse("inputs: there are too many"),
        PlanError::Reads(id) => at(id).refuse("results: a step of a list has no results"),
        PlanError::Container(id, why) => at(id).refuse(why.to_string()),
        PlanError::Call(id, why) => at(id).refuse(format!("call.{}: {why}", why.field())),
        error @ (PlanError::NoBlock(id) | PlanError::NoTree(id) | PlanError::Reserved(id)) => {
            at(id).refuse(error.to_string())
        }
    }
}
