//! Everything around the server: time, the network, donors, customers, and bad luck.

mod blackout;
mod calls;
mod luck;
mod queues;
mod retries;
mod schedules;
mod stock;
mod texts;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use common::ids::{QueueId, RunId};
use common::market::{
    CheckedSync, Fire, Frozen, Refused, Run, StageOutcome, StageRecord, TaskRecord, TaskState,
};
use common::money::credits::Credits;
use common::plan::{Body, DataTask, Phase};
use common::protocol::Orders;
use common::run::cause::{Cause, CauseKind};
use common::run::task::{Lease, StageNo, TaskRef};
use common::schedule::Schedule;
use common::testing;

use crate::customer::{self, Order};
use crate::donor::{Donor, Temper};
use crate::random::Random;
use crate::receiver::Receiver;
use crate::server::Server;
use crate::store::Store;
use crate::timetable::Timetable;
pub use schedules::planned;

/// For so long everything goes wrong; then the world heals.
pub const CHAOS_SECS: u32 = 400;
/// By then every run must have ended.
const PATIENCE: TimeDelta = TimeDelta::hours(12);
/// A run that waits for a node for longer than this must be able to say why.
const SILENCE: TimeDelta = TimeDelta::seconds(30);

pub struct World {
    random: Random,
    now: DateTime<Utc>,
    queue: BTreeMap<(DateTime<Utc>, u64), Event>,
    sent: u64,
    store: Store,
    server: Option<Server>,
    /// The number of times that the server has been started.
    starts: u32,
    donors: Vec<Donor>,
    orders: Vec<Order>,
    timetables: Vec<Timetable>,
    healed: bool,
    /// Since when a run waits without a reason.
    silent: BTreeMap<RunId, DateTime<Utc>>,
    receiver: Receiver,
    /// What containers got whose texts are known only when they begin.
    texts: BTreeMap<TaskRef, String>,
    pub tally: Tally,
}

/// What has happened, to see that a simulation is worth its name.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub events: u64,
    pub kills: u64,
    pub complete: u64,
    pub failed: u64,
    pub cancelled: u64,
    /// How often what is stored was compared with what is in memory.
    pub restarts_compared: u64,
    /// How often an operator was found to have given false results.
    pub convicted: u64,
    /// How often results were delivered again.
    pub again: u64,
    /// How often a run went on that had failed or was cancelled.
    pub retried: u64,
    /// Nominal times of schedules that made runs, and that made none.
    pub fired: u64,
    pub skipped: u64,
    /// Containers that ended while their node was cut off.
    pub unheard: u64,
    /// Attempts that were given up because their node went silent.
    pub losses: u64,
    /// Blocks whose conditions were false, and values of blocks that were kept.
    pub omitted: u64,
    pub values: u64,
    /// Requests that receivers got, and those of them whose answers the server never got.
    pub calls: u64,
    pub calls_lost: u64,
}

enum Event {
    Ask(usize),
    Cancel(RunId),
    Grant,
    /// Customers set what their projects may spend.
    SetCaps,
    Rich,
    Heard {
        node: u32,
        heard: Box<CheckedSync>,
    },
    Told {
        node: u32,
        incarnation: u64,
        orders: Orders,
    },
    Timer {
        node: u32,
        timer: u64,
    },
    Ends {
        node: u32,
        incarnation: u64,
        lease: Lease,
    },
    Dies(u32),
    Returns(u32),
    Silence(u32),
    /// All nodes are cut off for this many milliseconds.
    Blackout(u32),
    Step {
        starts: u32,
        run: RunId,
        no: StageNo,
        part: u32,
    },
    /// The expressions of a stage have been evaluated.
    Answer {
        starts: u32,
        frozen: Arc<Frozen>,
    },
    /// An attempt of a call ends.
    CallEnds {
        starts: u32,
        lease: Lease,
    },
    /// A customer asks for the results once more.
    Deliver(RunId),
    /// A customer wants a run to go on that has ended.
    Retry(RunId),
    SetSchedule(usize),
    PauseSchedule(usize),
    ResumeSchedule(usize),
    RemoveSchedule(usize),
    ChangeQueue(QueueId),
    Fire {
        starts: u32,
        fire: Fire,
    },
    Fired {
        starts: u32,
        schedule: Box<Schedule>,
    },
    Tick {
        starts: u32,
    },
    Commit {
        starts: u32,
    },
    Kill,
    Start,
    Heal,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut world = Self::unplanned(seed);
        let tables = world.random.between(0, 3);
        world.timetables = (0..tables).map(|n| Timetable::new(n, &mut world.random)).collect();
        world.plan();
        world.plan_schedules();
        world.plan_queues(seed);
        world
    }

    fn unplanned(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let now = customer::start();
        let donors: Vec<Donor> =
            (0..random.between(1, 7)).map(|n| Donor::new(n, &mut random)).collect();
        let orders = (0..random.between(1, 8)).map(|n| customer::order(n, &mut random)).collect();
        Self {
            random,
            now,
            queue: BTreeMap::new(),
            sent: 0,
            store: Store::default(),
            server: None,
            starts: 0,
            donors,
            orders,
            timetables: Vec::new(),
            healed: false,
            silent: BTreeMap::new(),
            receiver: Receiver::default(),
            texts: BTreeMap::new(),
            tally: Tally::default(),
        }
    }

    fn at(&mut self, ms: u32, event: Event) {
        self.sent += 1;
        let when = self.now + TimeDelta::milliseconds(ms.into());
        self.queue.insert((when, self.sent), event);
    }

    /// Lets time pass until every run has ended.
    pub fn run(&mut self) -> Result<(), String> {
        let last = self.now + TimeDelta::seconds(CHAOS_SECS.into()) + PATIENCE;
        while let Some(((when, _), event)) = self.queue.pop_first() {
            self.now = when;
            self.tally.events += 1;
            self.happen(event)?;
            if let Some(server) = &self.server {
                server.market.check()?;
                if self.healed && !server.dirty && self.is_over(server) {
                    return self.take_stock();
                }
            }
            if self.now > last {
                break;
            }
        }
        let server = self.server.as_ref().ok_or("the server never came back")?;
        let stuck: Vec<String> = server
            .runs()
            .into_iter()
            .map(|id| {
                let state = server.market.run(id).map(Run::state);
                format!("{id:?} in {state:?}: {:?}", server.market.waiting(id, self.now))
            })
            .collect();
        Err(format!("waits for ever: {stuck:?}"))
    }

    fn is_over(&self, server: &Server) -> bool {
        server.is_idle()
            && self.store.timetables.is_over()
            && !self.queue.values().any(|event| matches!(event, Event::Ask(_)))
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Ask(n) => self.ask(n),
            Event::Cancel(run) => {
                if let Some(server) = &mut self.server {
                    let _ = server.market.cancel(run, "cancelled".to_owned(), self.now);
                    self.touch();
                }
            }
            Event::Grant => self.grant(),
            Event::SetCaps => self.set_caps(),
            Event::Rich => self.enrich(),
            Event::Heard { node, heard } => {
                if let Some(server) = &mut self.server {
                    server.hear(node, *heard, self.now);
                    self.touch();
                }
            }
            Event::Told { node, incarnation, orders } => self.told(node, incarnation, orders),
            Event::Timer { node, timer } => self.speak(node, timer),
            Event::Ends { node, incarnation, lease } => self.ends(node, incarnation, lease)?,
            Event::Dies(node) => self.donors[node as usize].alive = false,
            Event::Returns(node) => self.returns(node),
            Event::Silence(node) => {
                let ms = self.random.between(1_000, 90_000);
                self.donors[node as usize].silent_until =
                    self.now + TimeDelta::milliseconds(ms.into());
            }
            Event::Blackout(ms) => {
                for donor in &mut self.donors {
                    donor.silent_until = self.now + TimeDelta::milliseconds(ms.into());
                }
            }
            Event::Step { starts, run, no, part } => self.step(starts, run, no, part),
            Event::Answer { starts, frozen } => self.answer(starts, &frozen),
            Event::CallEnds { starts, lease } => self.call_ends(starts, lease),
            Event::Deliver(run) => self.deliver(run),
            Event::Retry(run) => self.retry(run),
            Event::SetSchedule(n) => self.set_schedule(n),
            Event::PauseSchedule(n) => self.pause_schedule(n),
            Event::ResumeSchedule(n) => self.resume_schedule(n),
            Event::RemoveSchedule(n) => self.remove_schedule(n),
            Event::ChangeQueue(id) => self.change_queue(id),
            Event::Fire { starts, fire } => self.fire(starts, fire),
            Event::Fired { starts, schedule } => self.fired(starts, *schedule),
            Event::Tick { starts } => self.tick(starts)?,
            Event::Commit { starts } => self.commit(starts)?,
            Event::Kill => self.kill(),
            Event::Start => {
                if self.server.is_none() {
                    self.server = Some(Server::start(&self.store, self.now));
                    self.starts += 1;
                    self.at(0, Event::Tick { starts: self.starts });
                    self.at(1, Event::Commit { starts: self.starts });
                }
            }
            Event::Heal => self.heal(),
        }
        Ok(())
    }

    /// Something came in: a transaction follows soon.
    fn touch(&mut self) {
        let starts = self.starts;
        if let Some(server) = &mut self.server {
            server.dirty = true;
        }
        let delay = self.random.between(0, 15);
        self.at(delay, Event::Commit { starts });
    }

    /// The customer asks until the run is known to be on disk.
    fn ask(&mut self, n: usize) {
        let order = self.orders[n].clone();
        if self.store.runs.contains_key(&order.run) {
            return;
        }
        if let Some(server) = &mut self.server {
            if self.random.chance(700) {
                // Just enough to begin with: a longer run has too little.
                let percent = u64::from(self.random.between(95, 140));
                let units = customer::budget(&order).units() / 100;
                let gift =
                    Credits::from_units(units).expect("not negative").saturating_mul(percent);
                let owner = order.spec.workspace;
                server.market.grant(owner, gift, "just enough", self.now).expect("it may owe");
            }
            let refused = server.market.start_run(order.run, order.spec, self.now);
            if matches!(refused, Err(Refused::Wallet { .. } | Refused::Cap { .. })) {
                return;
            }
            self.touch();
        }
        self.at(5_000, Event::Ask(n));
    }

    fn speak(&mut self, node: u32, timer: u64) {
        let donor = &mut self.donors[node as usize];
        if !donor.alive || donor.timer != timer {
            return;
        }
        if donor.temper == Temper::Liar && self.random.chance(100) {
            let leased: Vec<Lease> = self
                .store
                .tasks
                .values()
                .filter(|task| task.state == TaskState::Leased && task.node != Some(donor.id))
                .map(|task| Lease { task: task.task, attempt: task.attempt })
                .collect();
            if let Some(lease) = self.random.pick(&leased) {
                donor.claim(*lease);
            }
        }
        let silent = donor.silent_until > self.now;
        let heard = donor.statement(self.now, &mut self.random);
        if !silent {
            let CheckedSync { sync, receipts } = heard;
            self.send(|| Event::Heard {
                node,
                heard: Box::new(CheckedSync { sync: sync.clone(), receipts: receipts.clone() }),
            });
        }
        // Without an answer it speaks again.
        self.set_timer(node, 10_000);
    }

    fn set_timer(&mut self, node: u32, ms: u32) {
        let donor = &mut self.donors[node as usize];
        donor.timer += 1;
        let timer = donor.timer;
        self.at(ms, Event::Timer { node, timer });
    }

    fn told(&mut self, node: u32, incarnation: u64, orders: Orders) {
        let donor = &mut self.donors[node as usize];
        if !donor.alive || donor.incarnation != incarnation || donor.silent_until > self.now {
            return;
        }
        let news = donor.obey(orders);
        self.begin(node);
        let pause = if news { self.random.between(0, 10) } else { self.random.between(1, 300) };
        self.set_timer(node, pause);
    }

    fn begin(&mut self, node: u32) {
        let donor = &mut self.donors[node as usize];
        let incarnation = donor.incarnation;
        let order_of = |run| order_of(&self.store, &self.orders, &self.timetables, run);
        for begun in donor.begin(self.now, order_of, &mut self.random) {
            let ms = u32::try_from((begun.ends - self.now).num_milliseconds()).unwrap_or(0);
            self.at(ms, Event::Ends { node, incarnation, lease: begun.lease });
        }
    }

    fn ends(&mut self, node: u32, incarnation: u64, lease: Lease) -> Result<(), String> {
        self.check_texts(lease)?;
        let donor = &mut self.donors[node as usize];
        if !donor.alive || donor.incarnation != incarnation {
            return Ok(());
        }
        self.tally.unheard += u64::from(donor.silent_until > self.now);
        if let Some(order) = order_of(&self.store, &self.orders, &self.timetables, lease.task.run) {
            donor.end(lease, self.now, order, &mut self.random);
        }
        self.begin(node);
        self.set_timer(node, 1);
        Ok(())
    }

    fn returns(&mut self, node: u32) {
        self.donors[node as usize].start_anew(&mut self.random);
        self.set_timer(node, 1);
    }

    /// The server has done a step of its own, if it is still the same process.
    fn step(&mut self, starts: u32, run: RunId, no: StageNo, part: u32) {
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
    fn order_of(&self, run: RunId) -> Option<&Order> {
        order_of(&self.store, &self.orders, &self.timetables, run)
    }

    /// Takes up a run again that has failed, where that can be.
    fn deliver(&mut self, run: RunId) {
        let (Some(server), Some(run)) = (&mut self.server, self.store.run(run)) else { return };
        if server.market.deliver_again(run, self.now).is_ok() {
            self.tally.again += 1;
            self.touch();
        }
    }

    fn tick(&mut self, starts: u32) -> Result<(), String> {
        let now = self.now;
        let Some(server) = self.server.as_mut().filter(|_| starts == self.starts) else {
            return Ok(());
        };
        server.market.tick(now);
        server.market.fire_due(2, now);
        self.touch();
        self.at(1_000, Event::Tick { starts });
        self.check_silence()
    }

    /// A run that waits although a node could take its task must not do so for long.
    fn check_silence(&mut self) -> Result<(), String> {
        let Some(server) = &self.server else { return Ok(()) };
        let mut silent = BTreeMap::new();
        for id in server.runs() {
            let waiting = server.market.waiting(id, self.now);
            if waiting.is_none_or(|waiting| waiting.is_explained()) {
                continue;
            }
            let since = self.silent.get(&id).copied().unwrap_or(self.now);
            if self.now - since > SILENCE {
                return Err(format!("{id:?} waits without a reason: {waiting:?}"));
            }
            silent.insert(id, since);
        }
        self.silent = silent;
        Ok(())
    }

    fn commit(&mut self, starts: u32) -> Result<(), String> {
        let now = self.now;
        let Some(server) = self.server.as_mut().filter(|_| starts == self.starts) else {
            return Ok(());
        };
        if !server.dirty && !server.is_late(now) {
            return Ok(());
        }
        let changes = server.commit(&mut self.store, now)?;
        self.receiver.note(&changes);
        let is_silent = |task: &&TaskRecord| {
            task.error.as_deref().is_some_and(|error| error.contains("went silent"))
        };
        self.tally.losses += changes.attempts.iter().filter(is_silent).count() as u64;
        if !self.healed && self.random.chance(2) {
            // Stored, but nobody has been told.
            self.kill();
            return Ok(());
        }
        if self.random.chance(10) {
            server.compare_restart(&self.store, now)?;
            self.tally.restarts_compared += 1;
        }
        let answers = server.answers(&self.store, now)?;
        self.plan_retries(&changes);
        let is_omitted =
            |stage: &&StageRecord| stage.ended.is_some_and(|end| end.how == StageOutcome::Skipped);
        self.tally.omitted += changes.stages.iter().filter(is_omitted).count() as u64;
        self.tally.values += changes.values.len() as u64;
        self.tally.fired += changes.fired.len() as u64;
        self.tally.skipped += changes.skips.len() as u64;
        for fire in changes.fires {
            let delay = self.random.between(0, 1_000);
            self.at(delay, Event::Fire { starts, fire });
        }
        for (run, no) in changes.steps {
            let delay = self.random.between(1, 3_000);
            self.at(delay, Event::Step { starts, run, no, part: 0 });
        }
        for (run, no) in changes.questions {
            self.ask_for(run, no);
        }
        for lease in changes.calls {
            self.call(lease)?;
        }
        for answer in answers {
            let (node, incarnation) = (answer.node, answer.incarnation);
            self.send(|| Event::Told { node, incarnation, orders: answer.orders.clone() });
        }
        Ok(())
    }
}

fn order_of<'a>(
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
