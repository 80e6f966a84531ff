//! Everything around the server: time, the network, donors, customers, and bad luck.

mod blackout;
mod calls;
mod donors;
mod event;
mod luck;
mod queues;
mod retries;
mod schedules;
mod steps;
mod stock;
mod texts;
mod turns;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use common::ids::RunId;
use common::market::{Refused, Run};
use common::money::credits::Credits;
use common::run::task::TaskRef;

use crate::customer::{self, Order};
use crate::donor::Donor;
use crate::random::Random;
use crate::receiver::Receiver;
use crate::server::Server;
use crate::store::Store;
use crate::timetable::Timetable;
use event::Event;
pub use event::Tally;
pub use schedules::planned;

/// How long everything goes wrong; then the world heals.
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
}
