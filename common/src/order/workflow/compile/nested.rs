//! Steps that are more than one block: containers with results, lists, and jobs.

use super::super::InvalidWorkflow;
use super::super::document::{ChildFile, EachFile};
use super::super::step::Step;
use super::place::Place;
use super::{Compiler, names};
use crate::data::location::Destination;
use crate::plan::{BlockId, Body, Child, DataTask, Each, Group, List, Name, Phase};

/// What an element of a list is called where the file says nothing.
const ITEM: &str = "item";
/// The most jobs within one another.
const JOBS_DEPTH_MAX: u8 = 8;

impl<'a> Compiler<'a> {
    /// A container, and the delivery of its results where it has any.
    pub(super) fn container_step(
        &mut self,
        name: &str,
        step: &'a Step,
        place: &Place,
    ) -> Result<BlockId, InvalidWorkflow> {
        let body = Body::Container(Box::new(self.container(step, place)?));
        if step.results.is_none() {
            let id = self.reserve(name, place)?;
            self.set(id, body);
            self.finish(id, step, place)?;
            return Ok(id);
        }
        let at = place.field("results");
        if std::mem::replace(&mut self.has_results, true) || self.depth > 0 {
            return Err(at.refuse("one step of a job can have results, and none of a job in it"));
        }
        let both = self.reserve(name, place)?;
        let of = self.reserve(name, &at)?;
        self.set(of, body);
        self.finish(of, step, place)?;
        // A step that is skipped has nothing to deliver.
        let condition = self.block(of).when.take();
        self.block(both).when = condition;
        self.block(of).phase = Some(Phase::Process);
        let delivery = self.reserve("delivery", &at)?;
        let (assembler, destination) = (None, Destination::Bucket);
        let deliver = DataTask::Deliver { of, assembler, destination };
        self.set(delivery, Body::Data(Box::new(deliver)));
        self.block(delivery).phase = Some(Phase::Deliver);
        self.set(both, Body::Group(Group::sequence(vec![of, delivery])));
        Ok(both)
    }

    pub(super) fn each(
        &mut self,
        name: &str,
        each: &'a EachFile,
        place: &Place,
    ) -> Result<BlockId, InvalidWorkflow> {
        let EachFile { list, item, at_once, step } = each;
        let place = place.field("each");
        self.check_text(list, &place.field("list"))?;
        if step.after.is_some() || step.var.is_some() {
            let problem = "a step of a list has neither after nor var: give them to each";
            return Err(place.field("step").refuse(problem));
        }
        let id = self.reserve(name, &place)?;
        let body = self.step(step, &place.field("step"))?;
        let item = item.as_ref().map_or(ITEM, Name::as_str).to_owned();
        let list = List::Items(list.clone());
        self.set(id, Body::Each(Each { list, item, body, at_once: *at_once, first: None }));
        Ok(id)
    }

    pub(super) fn child(
        &mut self,
        name: &str,
        job: &'a ChildFile,
        place: &Place,
    ) -> Result<BlockId, InvalidWorkflow> {
        let ChildFile { inputs, steps, output, detached } = job;
        if self.depth == JOBS_DEPTH_MAX {
            let problem = format!("jobs lie at most {JOBS_DEPTH_MAX} deep in one another");
            return Err(place.refuse(problem));
        }
        for (name, text) in inputs {
            self.check_text(text, &place.field("inputs").field(name.as_str()))?;
        }
        let compiler = Compiler::new(self.common, names(inputs), self.depth + 1);
        let plan = compiler.plan(steps, output.as_ref(), place)?;
        let id = self.reserve(name, place)?;
        let child = Child { name: None, plan, inputs: inputs.clone(), detached: *detached };
        self.set(id, Body::Child(Box::new(child)));
        Ok(id)
    }
}
