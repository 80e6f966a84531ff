//! The order in which runs get capacity.
//!
//! First comes the run with the fewest running tasks for its weight, rounded down: so the running
//! tasks of runs that all have enough to do are as their weights, however long a task takes.
//! Among equals, and so wherever there are fewer slots than runs, it is the one whose turn is
//! earliest: each task handed out puts a run's next turn off, the less the more it weighs. A new
//! run's turn is counted from the turn that is being served, so nobody can be overtaken forever.
//! Of the open stages of one run, those come first whose tasks have the higher priority.
//!
//! Stages that ask for the same kind of node wait in one class, so that a node passes over all of
//! those that it has no room for at once. Within a class each named queue has its own line; which
//! of them hand out nothing, and which come before others of their workspace, `queues` tells.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::class::{Class, LineChange};
use super::kind::Kind;
use crate::ids::{QueueId, RunId};
use crate::market::Market;
use crate::market::run::Run;
use crate::market::tasks::task_stage::{Demand, TaskStage};
use crate::run::scheduling::{Priority, TaskPriority};
use crate::run::task::StageNo;

/// Where a stage stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::market) struct Place {
    /// The running tasks that its run's turns were used for, by weight.
    share: usize,
    turn: u64,
    pub run: RunId,
    /// The higher priority of two stages of a run comes first.
    priority: Reverse<TaskPriority>,
    pub stage: StageNo,
}

/// Names a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::market) struct ClassId(u64);

/// Where the places of a stage are: its class, and in it the line of its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::market) struct Line {
    queue: Option<QueueId>,
    class: ClassId,
}

/// The stages that have a task to hand out.
#[derive(Debug, Default)]
pub(in crate::market) struct Queue {
    classes: BTreeMap<ClassId, Class>,
    /// Those with a line that is not closed, by the first place of all such lines.
    order: BTreeSet<(Place, ClassId)>,
    kinds: BTreeMap<Kind, ClassId>,
    next: u64,
    /// The lines of named queues in which something waits.
    lines: BTreeSet<Line>,
    /// The named queues that hand out nothing now.
    closed: BTreeSet<QueueId>,
    /// The places in lines that are not closed.
    waiting: usize,
    /// The tasks that wait in all of them.
    tasks: u64,
    /// The turn that was served last.
    served: u64,
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

    /// Takes a new stage into its class. Gives whether the class is new.
    fn join(&mut self, demand: Demand<'_>, queue: Option<QueueId>) -> (Line, bool) {
        let kind = Kind::of(demand);
        let known = self.kinds.get(&kind).copied();
        let class = known.unwrap_or_else(|| {
            self.next += 1;
            let new = ClassId(self.next);
            self.kinds.insert(kind.clone(), new);
            self.classes.insert(new, Class::new(kind));
            new
        });
        if let Some(class) = self.classes.get_mut(&class) {
            class.stages += 1;
        }
        (Line { queue, class }, known.is_none())
    }

    /// What the stages of a class ask for, at least.
    pub fn demand_of(&self, class: ClassId) -> Option<Demand<'_>> {
        self.classes.get(&class).map(|class| class.kind.demand())
    }

    /// The same of all classes.
    pub fn demands(&self) -> impl Iterator<Item = Demand<'_>> {
        self.classes.values().map(|class| class.kind.demand())
    }

    /// A stage has ended.
    pub fn leave(&mut self, line: Line, place: Option<Place>) {
        if let Some(place) = place {
            self.remove(line, place);
        }
        let Some(class) = self.classes.get_mut(&line.class) else { return };
        class.stages -= 1;
        if class.stages == 0 {
            self.kinds.remove(&class.kind);
            self.classes.remove(&line.class);
        }
    }

    /// Changes a class, and its place among the others with it.
    fn change<T>(&mut self, id: ClassId, change: impl FnOnce(&mut Class) -> T) -> Option<T> {
        let class = self.classes.get_mut(&id)?;
        let before = class.head();
        let changed = change(class);
        let after = class.head();
        if before != after {
            before.map(|before| self.order.remove(&(before, id)));
            self.order.extend(after.map(|after| (after, id)));
        }
        Some(changed)
    }

    fn remove(&mut self, line: Line, place: Place) {
        let is_closed = self.is_closed(line.queue);
        let change = self.change(line.class, |class| class.remove(line.queue, place, is_closed));
        let Some(Some(change)) = change else { return };
        self.waiting -= usize::from(!is_closed);
        if change == LineChange::Vanished {
            self.lines.remove(&line);
        }
    }

    fn put(&mut self, line: Line, place: Place) {
        let is_closed = self.is_closed(line.queue);
        let change = self.change(line.class, |class| class.put(line.queue, place, is_closed));
        let Some(Some(change)) = change else { return };
        self.waiting += usize::from(!is_closed);
        if change == LineChange::Appeared && line.queue.is_some() {
            self.lines.insert(line);
        }
    }

    fn is_closed(&self, queue: Option<QueueId>) -> bool {
        queue.is_some_and(|queue| self.closed.contains(&queue))
    }

    /// The lines of a named queue in which something waits.
    fn lines_of(&self, queue: QueueId) -> impl Iterator<Item = Line> {
        let queue = Some(queue);
        let first = Line { queue, class: ClassId(0) };
        self.lines.range(first..=Line { queue, class: ClassId(u64::MAX) }).copied()
    }

    /// Hands out nothing more of a named queue. It costs by its classes, not by what waits.
    pub fn close(&mut self, queue: QueueId) {
        if !self.closed.insert(queue) {
            return;
        }
        let lines: Vec<Line> = self.lines_of(queue).collect();
        for line in lines {
            let closed = self.change(line.class, |class| class.close(line.queue));
            self.waiting -= closed.unwrap_or(0);
        }
    }

    /// Hands out of a named queue again; false where it has done so.
    pub fn reopen(&mut self, queue: QueueId) -> bool {
        if !self.closed.remove(&queue) {
            return false;
        }
        let lines: Vec<Line> = self.lines_of(queue).collect();
        for line in &lines {
            let opened = self.change(line.class, |class| class.reopen(line.queue));
            self.waiting += opened.unwrap_or(0);
        }
        true
    }

    /// What the waiting stages of a named queue ask for.
    pub fn demands_of(&self, queue: QueueId) -> impl Iterator<Item = Demand<'_>> {
        let classes = self.lines_of(queue).filter_map(|line| self.classes.get(&line.class));
        classes.map(|class| class.kind.demand())
    }

    /// The first place after this one that is `fit`, of the classes that `admits` says it is worth
    /// to look into.
    pub fn first(
        &self,
        after: Option<Place>,
        admits: impl Fn(Demand<'_>) -> bool,
        fit: impl Fn(&Place) -> bool,
    ) -> Option<Place> {
        let mut best = None;
        for (head, class) in &self.order {
            if best.is_some_and(|best| best < *head) {
                break;
            }
            let Some(class) = self.classes.get(class) else { continue };
            if admits(class.kind.demand()) {
                best = class.first(after, best, &fit).or(best);
            }
        }
        best
    }

    /// The same of some named queues that are not closed.
    pub fn first_of(
        &self,
        queues: &[QueueId],
        after: Option<Place>,
        admits: impl Fn(Demand<'_>) -> bool,
        fit: impl Fn(&Place) -> bool,
    ) -> Option<Place> {
        let mut best = None;
        for line in queues.iter().flat_map(|queue| self.lines_of(*queue)) {
            let Some(class) = self.classes.get(&line.class) else { continue };
            if admits(class.kind.demand()) {
                best = class.first_of(line.queue, after, best, &fit).or(best);
            }
        }
        best
    }

    /// Whether something waits in a named queue.
    pub fn has_waiting(&self, queue: QueueId) -> bool {
        self.lines_of(queue).next().is_some()
    }

    /// The first places of a named queue, whether it hands out or not, first come first.
    pub fn places_of(&self, queue: QueueId, limit: usize) -> Vec<Place> {
        let lines = self.lines_of(queue);
        let places = lines.filter_map(|line| Some((line, self.classes.get(&line.class)?)));
        let places = places.flat_map(|(line, class)| class.line(line.queue).take(limit));
        first_of_all(places.collect(), limit)
    }

    /// The first places, first come first.
    pub fn places(&self, limit: usize) -> Vec<Place> {
        let places = self.classes.values().flat_map(|class| class.places(limit));
        first_of_all(places.collect(), limit)
    }

    /// Compares what is kept of lines with the lines.
    pub fn check(&self, is_closed: impl Fn(QueueId) -> bool) -> Result<(), String> {
        let mut waiting = 0;
        let heads = self.classes.iter().filter_map(|(id, class)| Some((class.head()?, *id)));
        let order: BTreeSet<(Place, ClassId)> = heads.collect();
        if order != self.order {
            return Err(format!("the classes stand as {order:?}, kept {:?}", self.order));
        }
        for (id, class) in &self.classes {
            class.check(|queue| queue.is_some_and(&is_closed))?;
            let lines = class.lines();
            for (queue, places) in lines {
                let line = Line { queue, class: *id };
                waiting += if queue.is_some_and(&is_closed) { 0 } else { places };
                if queue.is_some() && !self.lines.contains(&line) {
                    return Err(format!("{line:?} is not kept"));
                }
            }
        }
        let vanished = self.lines.iter().find(|line| {
            self.classes.get(&line.class).is_none_or(|class| class.len(line.queue) == 0)
        });
        match vanished {
            Some(line) => Err(format!("nothing waits in {line:?}")),
            None if waiting != self.waiting => {
                Err(format!("{waiting} stages wait, counted {}", self.waiting))
            }
            None => Ok(()),
        }
    }

    /// A task of the run is handed out. Its place follows with `note_runnable`.
    pub fn serve(&mut self, run: &mut Run) {
        self.served = self.served.max(run.turn);
        run.turn += step(run);
    }
}

fn first_of_all(mut places: Vec<Place>, limit: usize) -> Vec<Place> {
    places.sort_unstable();
    places.truncate(limit);
    places
}

fn step(run: &Run) -> u64 {
    u64::from(Priority::WEIGHT_MAX / run.spec.terms.priority.weight())
}

impl Market {
    /// Takes a stage of tasks that has just been opened, or loaded, into the queue.
    pub(in crate::market) fn enqueue(&mut self, id: RunId, no: StageNo) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let joined = run.tasks(no).map(|stage| self.queue.join(stage.demand(), stage.queue()));
        let Some((tasks, (line, is_new))) = run.tasks_mut(no).zip(joined) else { return };
        tasks.line = Some(line);
        if is_new {
            self.find_room_for(line.class);
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
        let outside = if is_dry { 0 } else { run.waiting_outside() };
        self.queues.outside.count_waiting(run, outside);
        let weight = usize::from(run.spec.terms.priority.weight());
        let share = run.shared_tasks() as usize / weight;
        let stands = |stage: TaskStage<'_>| stage.tasks.place.is_some();
        if !run.task_stages().any(stands) && run.task_stages().any(wants) {
            // A run that had nothing to hand out has now: what it did not take before is gone.
            run.turn = run.turn.max(self.queue.served + step(run));
        }
        let turn = run.turn;
        let mut moves = Vec::new();
        for stage in run.task_stages() {
            let priority = Reverse(stage.work.priority);
            let place = Place { share, turn, run: id, priority, stage: stage.no };
            let place = wants(stage).then_some(place);
            if place != stage.tasks.place {
                moves.push((stage.no, place));
            }
        }
        for (no, place) in moves {
            let Some(tasks) = run.tasks_mut(no) else { continue };
            let Some(line) = tasks.line else { continue };
            let before = std::mem::replace(&mut tasks.place, place);
            if let Some(before) = before {
                self.queue.remove(line, before);
            }
            if let Some(place) = place {
                self.queue.put(line, place);
            }
            // Nodes that had nothing to offer to the others may have room for this one.
            if before.is_none() {
                self.room.note_appeared(line.class);
            }
        }
    }
}
