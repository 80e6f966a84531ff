//! A world of honest nodes in which nothing goes wrong but one thing: for a long time nobody is
//! heard.

use std::sync::Arc;

use common::money::credits::Credits;

use super::{Event, World};
use crate::random::Random;
use crate::{customer, queues};

/// When the nodes are cut off: all are at work by then.
const BEGINS_MS: u32 = 30_000;

impl World {
    /// All nodes are cut off for this time, and then all come back.
    pub fn blackout(seed: u64, secs: u32) -> Self {
        let mut world = Self::unplanned(seed);
        // Orders may have tasks in these.
        world.store.queues = queues::all(&mut Random::new(seed));
        world.healed = true;
        world.donors.iter_mut().for_each(crate::donor::Donor::become_honest);
        for order in &mut world.orders {
            (order.poison, order.is_unstable) = (None, false);
            let spec = Arc::make_mut(&mut order.spec);
            spec.timeout_secs = None;
            spec.terms.start_at = None;
        }
        world.at(0, Event::Start);
        world.at(1, Event::Rich);
        for n in 0..world.orders.len() {
            world.at(2, Event::Ask(n));
        }
        for node in 0..u32::try_from(world.donors.len()).expect("a few") {
            world.at(node, Event::Timer { node, timer: 0 });
        }
        world.at(BEGINS_MS, Event::Blackout(secs * 1000));
        world
    }

    /// Nobody runs out of credits.
    pub(super) fn enrich(&mut self) {
        let amount = Credits::from_units(1_000_000_000_000).expect("not negative");
        for n in 0..2 {
            if let Some(server) = &mut self.server {
                let owner = customer::workspace(n);
                server.market.grant(owner, amount, "a gift", self.now).expect("it may owe");
            }
        }
        self.touch();
    }
}
