//! Bad luck: what goes wrong and when, until the world heals.

use common::money::credits::Credits;
use common::money::spend_cap::CapPeriod;

use super::{CHAOS_SECS, Event, World};
use crate::customer;

impl World {
    /// Writes down the misfortunes to come.
    pub(super) fn plan(&mut self) {
        self.at(0, Event::Start);
        self.at(1, Event::Grant);
        self.at(1, Event::SetCaps);
        let again = self.random.between(1, CHAOS_SECS * 1000);
        self.at(again, Event::Grant);
        for n in 0..self.orders.len() {
            let when = self.random.between(2, CHAOS_SECS * 800);
            self.at(when, Event::Ask(n));
            if self.random.chance(150) {
                let later = when + self.random.between(1, 60_000);
                self.at(later, Event::Cancel(self.orders[n].run));
            }
        }
        for n in 0..self.donors.len() {
            let n = u32::try_from(n).expect("a few");
            self.at(n, Event::Timer { node: n, timer: 0 });
            for _ in 0..self.random.between(0, 4) {
                let dies = self.random.between(0, CHAOS_SECS * 1000);
                let returns = dies + self.random.between(1, 60_000);
                self.at(dies, Event::Dies(n));
                self.at(returns, Event::Returns(n));
            }
            let silence = self.random.between(0, CHAOS_SECS * 2000);
            self.at(silence, Event::Silence(n));
        }
        for _ in 0..self.random.between(0, 12) {
            let when = self.random.between(0, CHAOS_SECS * 1000);
            self.at(when, Event::Kill);
        }
        self.at(CHAOS_SECS * 1000, Event::Heal);
    }

    /// Sends through a network that loses, doubles and delays.
    pub(super) fn send(&mut self, event: impl Fn() -> Event) {
        if !self.healed && self.random.chance(40) {
            return;
        }
        let copies = if !self.healed && self.random.chance(40) { 2 } else { 1 };
        for _ in 0..copies {
            let most = match (self.healed, self.random.between(0, 30)) {
                (false, 0) => 90_000,
                (false, 1..=3) => 3_000,
                _ => 20,
            };
            let delay = self.random.between(1, most);
            self.at(delay, event());
        }
    }

    pub(super) fn kill(&mut self) {
        if self.server.take().is_some() {
            self.tally.kills += 1;
            self.silent.clear();
            let most = if self.random.chance(200) { 120_000 } else { 3_000 };
            let delay = self.random.between(0, most);
            self.at(delay, Event::Start);
        }
    }

    /// From now on all is well.
    pub(super) fn heal(&mut self) {
        self.healed = true;
        self.open_queues();
        for node in 0..u32::try_from(self.donors.len()).expect("a few") {
            let donor = &mut self.donors[node as usize];
            donor.become_honest();
            donor.silent_until = self.now;
            donor.start_anew(&mut self.random);
            self.set_timer(node, 1);
        }
    }

    /// Before any run starts; a kill may lose it.
    pub(super) fn set_caps(&mut self) {
        for n in 0..2 {
            let units = i64::from(self.random.between(0, 200)) * 1_000_000;
            let limit = Credits::from_units(units).expect("not negative");
            if let Some(server) = &mut self.server {
                let (owner, project) = (customer::workspace(n), customer::PROJECT.to_owned());
                server.market.set_cap(owner, project, Some((limit, CapPeriod::Total)), self.now);
            }
        }
        self.touch();
    }

    pub(super) fn grant(&mut self) {
        for n in 0..2 {
            let units = i64::from(self.random.between(0, 300)) * 1_000_000;
            let amount = Credits::from_units(units).expect("not negative");
            if let Some(server) = &mut self.server {
                let owner = customer::workspace(n);
                server.market.grant(owner, amount, "a gift", self.now).expect("it may owe");
            }
        }
        self.touch();
    }
}
