//! What a run of a plan costs, as far as it can be known before it starts.

use std::collections::BTreeMap;

use serde_json::json;

use super::{BlockId, Body, Child, ContainerTask, Each, List, Name, Plan};
use crate::expression::{Fixed, Scope, Template, evaluate_items};
use crate::money::credits::Credits;

/// What a run costs in which no condition is false.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Estimate {
    /// Tasks in containers. A list whose length only the run shows counts as one element.
    pub tasks: u64,
    /// Calls, counted in the same way.
    pub calls: u64,
    /// What they cost, where each task takes as long as it is first reserved for.
    pub total: Credits,
    /// The same, where each attempt takes as long as it may and all but the last fail.
    pub at_most: Credits,
    /// The lists whose lengths only the run shows, in the order of the plan.
    pub open_lists: Vec<OpenList>,
}

/// A list whose length only the run shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenList {
    /// The name of its block.
    pub name: String,
    /// What each element costs beyond the first, as the total counts.
    pub element: Credits,
}

impl Plan {
    /// What a run with these inputs costs. `secs` is for how long a task is first reserved, if it
    /// may run for as long.
    pub fn estimate(&self, inputs: &BTreeMap<Name, String>, secs: u32) -> Estimate {
        let mut scope = Scope::default();
        scope.set("inputs", json!(inputs));
        Estimator { plan: self, inputs: Some(&scope), secs }.block(BlockId::ROOT)
    }
}

struct Estimator<'a> {
    plan: &'a Plan,
    /// `None` where only the run shows them.
    inputs: Option<&'a Scope>,
    secs: u32,
}

impl Estimator<'_> {
    fn block(&self, id: BlockId) -> Estimate {
        match &self.plan.block(id).body {
            Body::Group(group) => {
                let parts = group.of.iter().map(|of| self.block(*of));
                parts.fold(Estimate::default(), Estimate::plus)
            }
            Body::Each(each) => self.list(id, each),
            Body::Child(child) => self.child(child),
            Body::Container(task) => self.task(task),
            Body::Call(call) => {
                Estimate { calls: 1, total: call.price, at_most: call.price, ..Estimate::default() }
            }
            Body::Data(_) => Estimate::default(),
        }
    }

    fn task(&self, task: &ContainerTask) -> Estimate {
        let attempts = u64::from(task.retries).saturating_add(1);
        Estimate {
            tasks: 1,
            total: task.reservation(self.secs),
            at_most: task.reservation(task.timeout_secs).saturating_mul(attempts),
            ..Estimate::default()
        }
    }

    fn list(&self, id: BlockId, each: &Each) -> Estimate {
        let element = self.block(each.body);
        let known = match &each.list {
            List::Copies(copies) => Some(*copies),
            List::Items(list) => self.length(list),
            List::Chunks(_) => None,
        };
        match known {
            Some(known) => element.times(self.plan.elements(id, known).1.into()),
            None => {
                let name = self.plan.block(id).name.clone();
                let open = OpenList { name, element: element.total };
                let mut whole = element;
                whole.open_lists.insert(0, open);
                whole
            }
        }
    }

    /// How long a list is that follows from the inputs alone.
    fn length(&self, list: &Template) -> Option<u32> {
        let scope = self.inputs.filter(|_| list.roots().iter().all(|root| *root == "inputs"))?;
        evaluate_items(list, scope, &Fixed::default()).ok().map(|items| items.len())
    }

    /// What a part of the run is given, its expressions decide when it begins.
    fn child(&self, child: &Child) -> Estimate {
        let inner = Estimator { plan: &child.plan, inputs: None, secs: self.secs };
        if child.inputs.is_empty() {
            return Estimator { inputs: Some(&Scope::default()), ..inner }.block(BlockId::ROOT);
        }
        inner.block(BlockId::ROOT)
    }
}

impl Estimate {
    fn plus(mut self, other: Self) -> Self {
        self.tasks = self.tasks.saturating_add(other.tasks);
        self.calls = self.calls.saturating_add(other.calls);
        self.total = self.total.saturating_add(other.total);
        self.at_most = self.at_most.saturating_add(other.at_most);
        self.open_lists.extend(other.open_lists);
        self
    }

    fn times(self, n: u64) -> Self {
        let open = |list: OpenList| OpenList { element: list.element.saturating_mul(n), ..list };
        Self {
            tasks: self.tasks.saturating_mul(n),
            calls: self.calls.saturating_mul(n),
            total: self.total.saturating_mul(n),
            at_most: self.at_most.saturating_mul(n),
            open_lists: self.open_lists.into_iter().map(open).filter(|_| n > 0).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::resources::Resources;
    use crate::money::price::most;
    use crate::order::ordered_plan::Pins;
    use crate::order::workflow::WorkflowWork;
    use crate::plan::Image;

    fn estimate(file: &str) -> Estimate {
        let work = WorkflowWork::read(file).unwrap();
        let ordered = work.ordered();
        let price = Credits::from_units(7).unwrap();
        let image = Image::Local { name: "a:1".to_owned() };
        let images = vec![image; ordered.images.len()];
        let pins = Pins { images: &images, queues: &[], timeout_secs: 100, call_price: price };
        let plan = ordered.pinned(&pins).unwrap();
        plan.estimate(&ordered.scope.inputs, 60)
    }

    /// What a task of one vCPU and one GiB costs in this time.
    fn cost(secs: u32) -> Credits {
        most(Resources::new(1000, 1024), secs)
    }

    #[test]
    fn estimate_counts_every_task_and_the_elements_of_known_lists() {
        let found = estimate(
            r#"
inputs: { words: '["a", "b", "c"]' }
defaults: { image: a }
steps:
- name: one
  retry: { limit: 2 }
- name: all
  each: { list: "{{ inputs.words }}", step: { steps: [{ name: x }, { name: y }] } }
- name: call
  call: { url: "http://h/" }
- name: none
  each: { list: "0", step: { run: "true" } }
"#,
        );

        assert_eq!((found.tasks, found.calls), (7, 1));
        let call = Credits::from_units(7).unwrap();
        assert_eq!(found.total, cost(60).saturating_mul(7).saturating_add(call));
        assert_eq!(found.at_most, cost(100).saturating_mul(9).saturating_add(call));
        assert!(found.open_lists.is_empty());
    }

    #[test]
    fn list_that_only_the_run_shows_counts_as_one_element_and_is_named() {
        let found = estimate(
            r#"
defaults: { image: a }
steps:
- { name: find, var: found, run: "true" }
- name: outer
  each:
    list: "4"
    step: { name: inner, each: { list: "{{ tasks.found }}", step: { run: "true" } } }
- name: part
  job: { steps: [{ name: a }, { name: b }] }
"#,
        );

        assert_eq!(found.tasks, 1 + 4 + 2);
        let [open] = &found.open_lists[..] else { panic!("{found:?}") };
        assert_eq!((open.name.as_str(), open.element), ("inner", cost(60).saturating_mul(4)));
    }
}
