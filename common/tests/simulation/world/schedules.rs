//! Customers set, pause, resume and remove schedules; the server fires them.

use common::market::{Fire, Planned};
use common::money::credits::Credits;
use common::schedule::{Schedule, ScheduleState};
use common::testing;

use super::{CHAOS_SECS, Event, World};
use crate::customer;

impl World {
    /// Writes down what customers will do with their schedules.
    pub(super) fn plan_schedules(&mut self) {
        for n in 0..self.timetables.len() {
            let set = self.random.between(2, CHAOS_SECS * 300);
            self.at(set, Event::SetSchedule(n));
            for _ in 0..self.random.between(0, 3) {
                let pause = self.random.between(set, CHAOS_SECS * 1000);
                self.at(pause, Event::PauseSchedule(n));
                let resume = pause + self.random.between(1, 60_000);
                self.at(resume, Event::ResumeSchedule(n));
            }
            self.at(CHAOS_SECS * 1000 + 1, Event::RemoveSchedule(n));
        }
    }

    /// The customer asks until the schedule is known to be on disk.
    pub(super) fn set_schedule(&mut self, n: usize) {
        let (job, rules) = (self.timetables[n].job, self.timetables[n].rules.clone());
        if self.healed || self.store.timetables.schedules.contains_key(&job) {
            return;
        }
        if let Some(server) = &mut self.server {
            let author = testing::author(self.timetables[n].order.spec.workspace);
            server.market.put_schedule(Schedule::set(job, author, rules, None, self.now));
            self.touch();
        }
        self.at(1_000, Event::SetSchedule(n));
    }

    pub(super) fn pause_schedule(&mut self, n: usize) {
        let stored = self.stored_schedule(n);
        let Some((server, stored)) = self.server.as_mut().zip(stored) else { return };
        if stored.state == ScheduleState::Active {
            server.market.put_schedule(stored.paused());
            self.touch();
        }
    }

    pub(super) fn resume_schedule(&mut self, n: usize) {
        let stored = self.stored_schedule(n);
        let Some((server, stored)) = self.server.as_mut().zip(stored) else { return };
        if stored.state == ScheduleState::Paused {
            server.market.put_schedule(stored.resumed(self.now));
            self.touch();
        }
    }

    /// Removes a schedule once all its times are settled: one that was lost is waited for in vain.
    pub(super) fn remove_schedule(&mut self, n: usize) {
        let job = self.timetables[n].job;
        if !self.store.timetables.has(job) {
            return;
        }
        let is_settled = self.store.timetables.is_settled(job, self.now);
        let stored = self.stored_schedule(n).filter(|_| is_settled);
        if let Some((server, stored)) = self.server.as_mut().zip(stored) {
            server.market.put_schedule(stored.removed());
            self.touch();
        }
        self.at(250, Event::RemoveSchedule(n));
    }

    /// What is stored of a schedule, unless a transaction is under way: its lock is waited for.
    fn stored_schedule(&self, n: usize) -> Option<Schedule> {
        let is_free = self.server.as_ref().is_some_and(|server| !server.dirty);
        self.store.timetables.schedules.get(&self.timetables[n].job).filter(|_| is_free).cloned()
    }

    /// The server reads a schedule that is due and its job, which takes a while.
    pub(super) fn fire(&mut self, starts: u32, fire: Fire) {
        if self.starts != starts {
            return;
        }
        let Some(schedule) = self.store.timetables.schedules.get(&fire.job).cloned() else {
            return;
        };
        let delay = self.random.between(1, 3_000);
        self.at(delay, Event::Fired { starts, schedule: Box::new(schedule) });
    }

    pub(super) fn fired(&mut self, starts: u32, schedule: Schedule) {
        let table = self.timetables.iter().find(|table| table.job == schedule.job);
        let Some(table) = table.cloned() else { return };
        let Some(server) = self.server.as_mut().filter(|_| starts == self.starts) else { return };
        if self.random.chance(600) {
            let percent = u64::from(self.random.between(95, 140));
            let units = customer::budget(&table.order).units() / 100;
            let gift = Credits::from_units(units).expect("not negative").saturating_mul(percent);
            let owner = table.order.spec.workspace;
            server.market.grant(owner, gift, "just enough", self.now).expect("it may owe");
        }
        let order =
            if self.random.chance(50) { Err("not now".to_owned()) } else { Ok(table.spec()) };
        server.market.fired(schedule, &order, self.now);
        self.touch();
    }
}

/// What a restart reads of a schedule.
pub fn planned(schedule: &Schedule) -> Option<Planned> {
    let (at, due) = schedule.next.zip(schedule.due_at())?;
    let is_active = schedule.state == ScheduleState::Active;
    is_active.then_some(Planned { job: schedule.job, revision: schedule.revision, at, due })
}
