//! What an attempt costs: what its node claims, as far as the server's own clock bears it out.

use chrono::{DateTime, TimeDelta, Utc};

use super::active::Active;
use super::run::Run;
use super::{Market, Policy};
use crate::credits::Credits;
use crate::price::price;
use crate::resources::Usage;
use crate::run::RunState;
use crate::task::{Lease, Stage};

/// What an attempt used, and what that costs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bill {
    usage: Usage,
    cost: Credits,
}

impl Run {
    /// The most that a task of a stage can cost in `time`; what the server does itself is free.
    fn price_in(&self, stage: Stage, time: TimeDelta) -> Credits {
        let ms = u64::try_from(time.num_milliseconds()).unwrap_or(0);
        let container = self.spec.container(stage);
        container.map_or(Credits::ZERO, |container| price(Usage::full(container.needs, ms)))
    }

    /// The most that a task of the present stage can cost in `time`, and within its timeout.
    pub(super) fn price_of(&self, time: TimeDelta) -> Credits {
        let time = time.min(self.task_timeout());
        self.stage().map_or(Credits::ZERO, |stage| self.price_in(stage, time))
    }

    /// What is reserved for a task of the present stage when it is handed out.
    pub(super) fn estimate(&self, policy: &Policy) -> Credits {
        self.price_of(policy.estimate)
    }

    /// What is held when the run starts: the reservation of its first task, be it the partitioner
    /// or a process task, and what is kept for the assembler.
    pub(super) fn first_hold(&self, policy: &Policy) -> Credits {
        let [partition, process, assemble] = [Stage::Partition, Stage::Process, Stage::Assemble]
            .map(|stage| self.price_in(stage, self.reserved_for(policy)));
        partition.max(process).saturating_add(assemble)
    }

    /// What is kept for the assembler until its turn, so that a run does not end without money
    /// for it when everything else has been paid.
    pub(super) fn kept(&self, policy: &Policy) -> Credits {
        let comes = self.state() < RunState::Assembling;
        let time = self.reserved_for(policy);
        if comes { self.price_in(Stage::Assemble, time) } else { Credits::ZERO }
    }

    fn reserved_for(&self, policy: &Policy) -> TimeDelta {
        policy.estimate.min(self.task_timeout())
    }

    pub(super) fn task_timeout(&self) -> TimeDelta {
        TimeDelta::seconds(self.spec.limits.task_timeout_secs.into())
    }

    /// The bill of an attempt that has ended. No claim counts beyond the time since the server
    /// first heard that it runs, the task timeout, and what the run holds for it.
    pub(super) fn bill(&self, active: &Active, claimed: Usage, now: DateTime<Utc>) -> Bill {
        self.bill_up_to(active, claimed, self.task_timeout(), now)
    }

    fn bill_up_to(
        &self,
        active: &Active,
        claimed: Usage,
        most: TimeDelta,
        now: DateTime<Utc>,
    ) -> Bill {
        let ran = active.running_since.map_or(TimeDelta::zero(), |since| now - since).min(most);
        let ms = u64::try_from(ran.num_milliseconds()).unwrap_or(0);
        let usage = claimed.at_most(Usage::full(self.needs(), ms));
        Bill { usage, cost: price(usage).min(active.bound) }
    }
}

impl Market {
    /// The bill of an attempt that gave no result through its customer's fault. The word of an
    /// operator that is not proven is not taken for more than the estimate: nothing shows that
    /// its node did anything.
    pub(super) fn bill_fruitless(
        &self,
        run: &Run,
        active: &Active,
        claimed: Usage,
        now: DateTime<Utc>,
    ) -> Bill {
        let timeout = run.task_timeout();
        let proven = self.trust.is_proven(active.operator);
        let most = if proven { timeout } else { timeout.min(self.policy.estimate) };
        run.bill_up_to(active, claimed, most, now)
    }

    /// The bill of an attempt that is cut off: its whole share of the machine since it began.
    pub(super) fn bill_cut_off(&self, run: &Run, active: &Active, now: DateTime<Utc>) -> Bill {
        let all = Usage::full(run.needs(), u64::MAX);
        self.bill_fruitless(run, active, all, now)
    }

    /// Pays the operator for an attempt and counts what it used; gives the price.
    pub(super) fn charge(
        &mut self,
        lease: Lease,
        active: &Active,
        bill: Bill,
        now: DateTime<Utc>,
    ) -> Credits {
        if let Some(run) = self.runs.get_mut(&lease.task.run) {
            run.usage = run.usage.plus(bill.usage);
        }
        self.capture(lease, active.operator, bill.cost, now);
        let tally = self.outbox.tallies.entry(active.node).or_default();
        tally.tasks += 1;
        tally.earned = tally.earned.saturating_add(bill.cost);
        bill.cost
    }
}
