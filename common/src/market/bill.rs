//! What an attempt costs: what its node claims, as far as the server's own clock bears it out.

use chrono::{DateTime, TimeDelta, Utc};

use super::active::Active;
use super::run::Run;
use super::{Market, Policy};
use crate::credits::Credits;
use crate::price::price;
use crate::resources::Usage;
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

    /// What the process tasks of so many chunks, and the assembler, are estimated to cost.
    pub(super) fn estimate_of(&self, chunks: u32, policy: &Policy) -> Credits {
        let time = policy.estimate.min(self.task_timeout());
        self.price_in(Stage::Process, time)
            .saturating_mul(chunks.into())
            .saturating_add(self.price_in(Stage::Assemble, time))
    }

    /// The same with the partitioner.
    pub(super) fn estimate_whole(&self, chunks: u32, policy: &Policy) -> Credits {
        let time = policy.estimate.min(self.task_timeout());
        self.estimate_of(chunks, policy).saturating_add(self.price_in(Stage::Partition, time))
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
        bill.cost
    }
}
