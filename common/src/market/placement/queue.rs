//! The order in which runs get capacity.
//!
//! First comes the run with the fewest running tasks for its weight, rounded down: so the running
//! tasks of runs that all have enough to do are as their weights, however long a task takes.
//! Among equals, and so wherever there are fewer slots than runs, it is the one whose turn is
//! earliest: each task handed out puts a run's next turn off, the less the more it weighs. A new
//! run's turn is counted from the turn that is being served, so nobody can be overtaken forever.
//!
//! Stages that ask for the same kind of node wait in one class, so that a node passes over all of
//! those that it has no room for at once.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::compute::container::Grants;
use crate::compute::resources::Resources;
use crate::ids::{RunId, WorkspaceId};
use crate::market::Market;
use crate::market::run::Run;
use crate::market::tasks::task_stage::{Demand, TaskStage};
use crate::run::scheduling::{Priority, Regions};
use crate::run::task::StageNo;

/// Where a stage stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::market) struct Place {
    /// Running tasks of its run by weight.
    share: usize,
    turn: u64,
    pub run: RunId,
    pub stage: StageNo,
}

/// Names a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::market) struct ClassId(u64);

/// What the stages of a class ask for, at least.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    cpu_millis: u32,
    memory_mib: u32,
    /// Rounded down to a power of two: inputs are of all sizes.
    disk_mib: u32,
    gpus: Vec<String>,
    regions: Regions,
    asks: Grants,
    /// The customer whose own nodes alone will do.
    only_of: Option<WorkspaceId>,
}

#[derive(Debug)]
struct Class {
    kind: Kind,
    /// The open stages of this class, whether they have something to hand out or not.
    stages: usize,
    places: BTreeSet<Place>,
}

/// The stages that have a task to hand out.
#[derive(Debug, Default)]
pub(in crate::market) struct Queue {
    classes: BTreeMap<ClassId, Class>,
    kinds: BTreeMap<Kind, ClassId>,
    next: u64,
    waiting: usize,
    /// The tasks that wait in all of them.
    tasks: u64,
    /// The turn that was served last.
    served: u64,
}

impl Kind {
    fn of(demand: Demand<'_>) -> Self {
        let Resources { cpu_millis, memory_mib, disk_mib } = demand.needs;
        Self {
            cpu_millis,
            memory_mib,
            disk_mib: disk_mib.checked_ilog2().map_or(0, |log| 1 << log),
            gpus: demand.gpus.to_vec(),
            regions: demand.regions.clone(),
            asks: demand.asks,
            only_of: demand.own_nodes.then_some(demand.customer),
        }
    }

    /// The least that its stages ask for, of any customer where it is not of one.
    fn demand(&self) -> Demand<'_> {
        Demand {
            customer: self.only_of.unwrap_or(WorkspaceId::new(uuid::Uuid::nil())),
            needs: Resources::new(self.cpu_millis, self.memory_mib).with_disk(self.disk_mib),
            gpus: &self.gpus,
            regions: &self.regions,
            asks: self.asks,
            own_nodes: self.only_of.is_some(),
        }
    }
}

impl Queue {
    pub const fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// How many tasks could be handed out.
    pub const fn tasks(&self) -> u64 {
        self.tasks
    }

    /// Counts the waiting tasks of a run again.
    pub fn count_tasks(&mut self, run: &mut Run, waiting: u64) {
        self.tasks = self.tasks - run.counted_waiting + waiting;
        run.counted_waiting = waiting;
    }

    /// Takes a new stage into its class.
    fn join(&mut self, demand: Demand<'_>) -> ClassId {
        let kind = Kind::of(demand);
        let id = *self.kinds.entry(kind.clone()).or_insert_with(|| {
            self.next += 1;
            ClassId(self.next)
        });
        let class = Class { kind, stages: 0, places: BTreeSet::new() };
        self.classes.entry(id).or_insert(class).stages += 1;
        id
    }

    /// A stage has ended.
    pub fn leave(&mut self, id: ClassId, place: Option<Place>) {
        if let Some(place) = place {
            self.remove(id, place);
        }
        let Some(class) = self.classes.get_mut(&id) else { return };
        class.stages -= 1;
        if class.stages == 0 {
            self.kinds.remove(&class.kind);
            self.classes.remove(&id);
        }
    }

    fn remove(&mut self, id: ClassId, place: Place) {
        let class = self.classes.get_mut(&id);
        if class.is_some_and(|class| class.places.remove(&place)) {
            self.waiting -= 1;
        }
    }

    fn put(&mut self, id: ClassId, place: Place) {
        let class = self.classes.get_mut(&id);
        if class.is_some_and(|class| class.places.insert(place)) {
            self.waiting += 1;
        }
    }

    /// The first place after this one that is `fit`, of the classes that `admits` says it is worth
    /// to look into.
    pub fn first(
        &self,
        after: Option<Place>,
        admits: impl Fn(Demand<'_>) -> bool,
        fit: impl Fn(&Place) -> bool,
    ) -> Option<Place> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let classes = self.classes.values().filter(|class| !class.places.is_empty());
        classes
            .filter(|class| admits(class.kind.demand()))
            .filter_map(|class| {
                class.places.range((from, Bound::Unbounded)).copied().find(|place| fit(place))
            })
            .min()
    }

    /// The first places, first come first.
    pub fn places(&self, limit: usize) -> Vec<Place> {
        let mut first: Vec<Place> = self
            .classes
            .values()
            .flat_map(|class| class.places.iter().copied().take(limit))
            .collect();
        first.sort_unstable();
        first.truncate(limit);
        first
    }

    /// A task of the run is handed out. Its place follows with `note_runnable`.
    pub fn serve(&mut self, run: &mut Run) {
        self.served = self.served.max(run.turn);
        run.turn += step(run);
    }
}

fn step(run: &Run) -> u64 {
    u64::from(Priority::WEIGHT_MAX / run.spec.terms.priority.weight())
}

impl Market {
    /// Takes a stage of tasks that has just been opened, or loaded, into the queue.
    pub(in crate::market) fn enqueue(&mut self, id: RunId, no: StageNo) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let Some(class) = run.tasks(no).map(|stage| self.queue.join(stage.demand())) else {
            return;
        };
        if let Some(tasks) = run.tasks_mut(no) {
            tasks.class = Some(class);
        }
    }

    /// Notes which stages of a run have a task to hand out, after anything about it has changed.
    pub(in crate::market) fn note_runnable(&mut self, id: RunId) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let is_dry = self.dry.contains(&(run.spec.workspace, id));
        let wants = |stage: TaskStage<'_>| {
            (stage.tasks.has_waiting() && !is_dry) || stage.tasks.has_check()
        };
        let waiting = if is_dry { 0 } else { run.waiting_tasks() };
        self.queue.count_tasks(run, waiting);
        let weight = usize::from(run.spec.terms.priority.weight());
        let share = run.running() as usize / weight;
        let stands = |stage: TaskStage<'_>| stage.tasks.place.is_some();
        if !run.task_stages().any(stands) && run.task_stages().any(wants) {
            // A run that had nothing to hand out has now: what it did not take before is gone.
            run.turn = run.turn.max(self.queue.served + step(run));
        }
        let turn = run.turn;
        let mut moves = Vec::new();
        for stage in run.task_stages() {
            let place = Place { share, turn, run: id, stage: stage.no };
            let place = wants(stage).then_some(place);
            if place != stage.tasks.place {
                moves.push((stage.no, place));
            }
        }
        for (no, place) in moves {
            let Some(tasks) = run.tasks_mut(no) else { continue };
            let Some(class) = tasks.class else { continue };
            let before = std::mem::replace(&mut tasks.place, place);
            if let Some(before) = before {
                self.queue.remove(class, before);
            }
            if let Some(place) = place {
                self.queue.put(class, place);
            }
            // Nodes that had nothing to offer to the others may have room for this one.
            if let (None, Some(_), Some(stage)) = (before, place, run.tasks(no)) {
                let demand = stage.demand();
                let fits = self.nodes.iter().filter(|(_, node)| node.can_take(demand, true));
                self.open.extend(fits.map(|(node, _)| *node));
            }
        }
    }
}
