//! What donors say and do.

use common::market::{CheckedSync, TaskState};
use common::protocol::Orders;
use common::run::task::Lease;

use super::steps::order_of;
use super::{Event, World};
use crate::donor::Temper;

impl World {
    pub(super) fn speak(&mut self, node: u32, timer: u64) {
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

    pub(super) fn set_timer(&mut self, node: u32, ms: u32) {
        let donor = &mut self.donors[node as usize];
        donor.timer += 1;
        let timer = donor.timer;
        self.at(ms, Event::Timer { node, timer });
    }

    pub(super) fn told(&mut self, node: u32, incarnation: u64, orders: Orders) {
        let donor = &mut self.donors[node as usize];
        if !donor.alive || donor.incarnation != incarnation || donor.silent_until > self.now {
            return;
        }
        let news = donor.obey(orders);
        self.begin(node);
        let pause = if news { self.random.between(0, 10) } else { self.random.between(1, 300) };
        self.set_timer(node, pause);
    }

    pub(super) fn begin(&mut self, node: u32) {
        let donor = &mut self.donors[node as usize];
        let incarnation = donor.incarnation;
        let order_of = |run| order_of(&self.store, &self.orders, &self.timetables, run);
        for begun in donor.begin(self.now, order_of, &mut self.random) {
            let ms = u32::try_from((begun.ends - self.now).num_milliseconds()).unwrap_or(0);
            self.at(ms, Event::Ends { node, incarnation, lease: begun.lease });
        }
    }

    pub(super) fn ends(&mut self, node: u32, incarnation: u64, lease: Lease) -> Result<(), String> {
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

    pub(super) fn returns(&mut self, node: u32) {
        self.donors[node as usize].start_anew(&mut self.random);
        self.set_timer(node, 1);
    }
}
