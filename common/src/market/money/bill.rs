//! What an attempt costs: what its node claims, as far as the server's own clock bears it out.

use chrono::{DateTime, Utc};

use crate::compute::resources::Usage;
use crate::market::Market;
use crate::market::run::Run;
use crate::market::tasks::active::Active;
use crate::market::tasks::task_stage::TaskStage;
use crate::money::credits::Credits;
use crate::run::task::Lease;

/// What an attempt used, and what that costs.
#[derive(Debug, Clone, Copy)]
pub(in crate::market) struct Bill {
    pub usage: Usage,
    pub cost: Credits,
}

impl Market {
    /// What is held when a run starts.
    pub(in crate::market) fn first_hold(&self, run: &Run) -> Credits {
        run.spec.plan.first_hold(self.estimate_secs())
    }

    /// What is kept for the tasks whose reservation is held from the start and for calls, until
    /// their turn, so that a run does not end without money for them when everything else has been
    /// paid.
    pub(in crate::market) fn kept(&self, run: &Run) -> Credits {
        let to_come = run.spec.plan.reserved().filter(|(block, _)| !run.has_begun(*block));
        let reserved = to_come.map(|(_, task)| task.reservation(self.estimate_secs()));
        let calls = run.spec.plan.calls().filter(|(block, _)| run.is_call_to_come(*block));
        reserved
            .chain(calls.map(|(_, work)| work.price))
            .fold(Credits::ZERO, Credits::saturating_add)
    }

    fn estimate_secs(&self) -> u32 {
        u32::try_from(self.policy.estimate.num_seconds()).unwrap_or(u32::MAX)
    }

    /// The bill of an attempt that gave no result through its customer's fault. The word of an
    /// operator that is not proven is not taken for more than the estimate: nothing shows that
    /// its node did anything.
    pub(in crate::market) fn bill_fruitless(
        &self,
        stage: TaskStage<'_>,
        active: &Active,
        claimed: Usage,
        now: DateTime<Utc>,
    ) -> Bill {
        let timeout = stage.timeout();
        let proven = self.trust.is_proven(active.operator);
        let most = if proven { timeout } else { timeout.min(self.policy.estimate) };
        stage.bill_up_to(active, claimed, most, now)
    }

    /// The bill of an attempt that is cut off: its whole share of the machine since it began.
    pub(in crate::market) fn bill_cut_off(
        &self,
        stage: TaskStage<'_>,
        active: &Active,
        now: DateTime<Utc>,
    ) -> Bill {
        let all = Usage::full(stage.tasks.needs(), u64::MAX);
        self.bill_fruitless(stage, active, all, now)
    }

    /// Pays the operator for an attempt and counts what it used; gives the price.
    pub(in crate::market) fn charge(
        &mut self,
        lease: Lease,
        active: &Active,
        bill: Bill,
        now: DateTime<Utc>,
    ) -> Credits {
        if let Some(run) = self.runs.get_mut(&lease.task.run) {
            run.purse.count(bill.usage);
        }
        self.capture(lease, active.operator, bill.cost, now);
        let tally = self.outbox.changes.tallies.entry(active.node).or_default();
        tally.tasks += 1;
        tally.earned = tally.earned.saturating_add(bill.cost);
        bill.cost
    }
}
