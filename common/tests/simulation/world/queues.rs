//! Customers put their runs into queues, and change these while everything goes wrong.

use std::sync::Arc;

use common::ids::QueueId;
use common::run::queue::QueueRules;
use common::run::spec::RunSpec;

use super::{CHAOS_SECS, Event, World};
use crate::queues;
use crate::random::Random;

impl World {
    /// Makes queues, orders in them, and writes down their changes. It draws from numbers of its
    /// own, so that the rest of a story is as it is without queues.
    pub(super) fn plan_queues(&mut self, seed: u64) {
        let mut random = Random::new(seed.wrapping_add(0x5155_4555));
        self.store.queues = queues::all(&mut random);
        for order in &mut self.orders {
            let mut spec = RunSpec::clone(&order.spec);
            spec.terms.queue = queues::of_order(spec.workspace, &mut random);
            order.spec = Arc::new(spec);
        }
        let ids: Vec<QueueId> = self.store.queues.keys().copied().collect();
        for id in ids {
            for _ in 0..random.between(0, 4) {
                let when = random.between(1, CHAOS_SECS * 1000 - 1);
                self.at(when, Event::ChangeQueue(id));
            }
        }
    }

    /// What is changed is stored before the server is told.
    pub(super) fn change_queue(&mut self, id: QueueId) {
        let rules = queues::change(self.store.queues[&id], &mut self.random);
        self.put_queue(id, rules);
    }

    pub(super) fn open_queues(&mut self) {
        for (id, rules) in self.store.queues.clone() {
            self.put_queue(id, queues::opened(rules));
        }
    }

    fn put_queue(&mut self, id: QueueId, rules: QueueRules) {
        self.store.queues.insert(id, rules);
        if let Some(server) = &mut self.server {
            server.market.put_queue(id, rules);
        }
        self.touch();
    }
}
