//! The server's own steps: cutting, collecting and delivering.

use common::ids::RunId;
use common::plan::{Body, DataTask, Phase};
use common::run::cause::{Cause, CauseKind};
use common::run::task::StageNo;
use common::testing;

use super::{Event, World};
use crate::customer::Order;
use crate::store::Store;
use crate::timetable::Timetable;

impl World {
    /// The server has done a step of its own, if it is still the same process.
    pub(super) fn step(&mut self, starts: u32, run: RunId, no: StageNo, part: u32) {
        let chunks = self.order_of(run).map_or(1, |order| order.chunks);
        let Some(server) = self.server.as_mut().filter(|_| starts == self.starts) else { return };
        let Some(stage) = server.market.run(run).and_then(|run| Some((run, run.stage(no)?))) else {
            return;
        };
        let Body::Data(task) = &stage.0.spec.plan.block(stage.1.block).body else { return };
        let (table, halfway) = match **task {
            DataTask::Look { .. } => (Some(testing::chunks(1)), None),
            DataTask::Cut { .. } => (Some(testing::chunks(chunks)), Some(Phase::Partition)),
            DataTask::Collect { .. } => (Some(testing::chunks(chunks)), None),
            DataTask::Deliver { .. } => (None, Some(Phase::Deliver)),
        };
        match halfway.filter(|_| part == 0) {
            Some(phase) => {
                server.market.step_enters(run, no, phase, self.now);
                let delay = self.random.between(1, 2_000);
                self.at(delay, Event::Step { starts, run, no, part: 1 });
            }
            None if table.is_none() && self.random.chance(200) => {
                let cause = Cause::new(CauseKind::Destination, "refused");
                let _ = server.market.break_off(run, cause, self.now);
                let later = self.random.between(1, 60_000);
                self.at(later, Event::Deliver(run));
            }
            None => server.market.step_done(run, no, table, self.now),
        }
        self.touch();
    }

    /// The order that a run is of: its own, or that of the run that it is a part of.
    pub(super) fn order_of(&self, run: RunId) -> Option<&Order> {
        order_of(&self.store, &self.orders, &self.timetables, run)
    }

    /// Takes up a run again that has failed, where that can be.
    pub(super) fn deliver(&mut self, run: RunId) {
        let (Some(server), Some(run)) = (&mut self.server, self.store.run(run)) else { return };
        if server.market.deliver_again(run, self.now).is_ok() {
            self.tally.again += 1;
            self.touch();
        }
    }
}

pub(super) fn order_of<'a>(
    store: &Store,
    orders: &'a [Order],
    timetables: &'a [Timetable],
    run: RunId,
) -> Option<&'a Order> {
    let root = store.root_of(run);
    let job = store.runs.get(&root).map(|run| run.spec.job);
    let scheduled = timetables.iter().find(|table| Some(table.job) == job);
    let is_of = |order: &&Order| order.run == root || Some(order.spec.job) == job;
    orders.iter().find(is_of).or(scheduled.map(|table| &table.order))
}
