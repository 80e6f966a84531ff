//! A stage of tasks together with its run and its part of the plan: what decides about its tasks.

use chrono::{DateTime, TimeDelta, Utc};

use super::active::{Active, Tries};
use super::{Choice, Tasks};
use crate::compute::container::Grants;
use crate::compute::resources::{Resources, Usage};
use crate::ids::{NodeId, QueueId, WorkspaceId};
use crate::market::Policy;
use crate::market::money::bill::Bill;
use crate::market::run::Run;
use crate::market::stage::Stage;
use crate::market::trust::checks::Check;
use crate::money::credits::Credits;
use crate::money::price::price;
use crate::plan::{BlockId, Body, ContainerTask};
use crate::run::queue::{InQueue, Pool};
use crate::run::scheduling::Regions;
use crate::run::task::{Lease, StageNo, TaskRef};

#[derive(Debug, Clone, Copy)]
pub(in crate::market) struct TaskStage<'a> {
    pub run: &'a Run,
    pub no: StageNo,
    pub block: BlockId,
    pub tasks: &'a Tasks,
    pub work: &'a ContainerTask,
}

/// What a task asks of its node.
#[derive(Debug, Clone, Copy)]
pub(in crate::market) struct Demand<'a> {
    pub customer: WorkspaceId,
    pub needs: Resources,
    pub gpus: &'a [String],
    pub regions: &'a Regions,
    /// What the node's owner must allow.
    pub asks: Grants,
    /// Only the customer's own nodes will do.
    pub own_nodes: bool,
    /// Only nodes of one of these will do; none is all nodes.
    pub pools: &'a [Pool],
}

impl<'a> TaskStage<'a> {
    pub fn new(run: &'a Run, stage: &'a Stage) -> Option<Self> {
        let (tasks, work) = (stage.tasks()?, run.spec.plan.container_task(stage.block)?);
        Some(Self { run, no: stage.no, block: stage.block, tasks, work })
    }

    pub fn demand(self) -> Demand<'a> {
        Demand {
            customer: self.run.spec.workspace,
            needs: self.tasks.needs(),
            gpus: &self.work.container.gpus,
            regions: &self.run.spec.terms.regions,
            asks: self.work.container.asks(),
            own_nodes: self.work.container.own_nodes,
            pools: self.in_queue().map_or(&[], |queue| &queue.pools),
        }
    }

    fn in_queue(self) -> Option<&'a InQueue> {
        self.run.spec.queue_of(self.work)
    }

    /// The named queue that its tasks stand in.
    pub fn queue(self) -> Option<QueueId> {
        self.in_queue().map(|queue| queue.id)
    }

    pub fn lease(self, index: u32, attempt: u32) -> Lease {
        Lease { task: TaskRef { run: self.run.id, stage: self.no, index }, attempt }
    }

    /// The leases of its tasks under lease, with each task.
    pub fn leased(self) -> impl Iterator<Item = (Lease, &'a Active)> {
        let active = self.tasks.active.iter();
        active
            .map(move |(index, active)| (self.lease(*index, active.tries.attempt), active.as_ref()))
    }

    /// Whether each task is for an element of a list.
    pub fn is_list(self) -> bool {
        matches!(self.run.spec.plan.block(self.block).body, Body::Each(_))
    }

    /// What a customer reads of one of its tasks.
    pub fn task_name(self, index: u32) -> String {
        self.run.spec.plan.task_name(self.block, index)
    }

    pub fn timeout(self) -> TimeDelta {
        TimeDelta::seconds(self.work.timeout_secs.into())
    }

    /// Chooses a task for a node; `stuck` says of the nodes on which a task has failed that there
    /// are no others.
    pub fn choose(
        self,
        node: NodeId,
        stuck: impl Fn(&[NodeId]) -> bool,
        may_check: impl Fn(&Check) -> bool,
    ) -> Option<Choice> {
        let failed_there = |tries: &Tries| tries.failed_on.contains(&node);
        self.tasks.choose(failed_there, |tries| stuck(&tries.failed_on), may_check)
    }

    /// The most that a task can cost in `time`, and within its timeout.
    pub fn price_of(self, time: TimeDelta) -> Credits {
        let ms = u64::try_from(time.min(self.timeout()).num_milliseconds()).unwrap_or(0);
        price(Usage::full(self.work.container.needs, ms))
    }

    /// What is reserved for a task when it is handed out.
    pub fn estimate(self, policy: &Policy) -> Credits {
        self.price_of(policy.estimate)
    }

    /// The bill of an attempt that has ended. No claim counts beyond the time since the server
    /// first heard that it runs, the task timeout, and what the run holds for it.
    pub fn bill(self, active: &Active, claimed: Usage, now: DateTime<Utc>) -> Bill {
        self.bill_up_to(active, claimed, self.timeout(), now)
    }

    pub fn bill_up_to(
        self,
        active: &Active,
        claimed: Usage,
        most: TimeDelta,
        now: DateTime<Utc>,
    ) -> Bill {
        let ran = active.running_since.map_or(TimeDelta::zero(), |since| now - since).min(most);
        let ms = u64::try_from(ran.num_milliseconds()).unwrap_or(0);
        let usage = claimed.at_most(Usage::full(self.tasks.needs(), ms));
        Bill { usage, cost: price(usage).min(active.bound) }
    }

    /// Whether a task that has run for this long takes far longer than those that are done.
    pub fn is_straggling(self, ran: TimeDelta, policy: &Policy) -> bool {
        /// Fewer tasks say nothing about the others.
        const KNOWN_MIN: u32 = 4;
        /// Beyond the differences that chunks have.
        const TIMES: u64 = 8;

        let Some(mean) = self.tasks.mean_ms(KNOWN_MIN) else { return false };
        let most = i64::try_from(mean.saturating_mul(TIMES)).unwrap_or(i64::MAX);
        ran.num_milliseconds() > most.max(policy.straggler.num_milliseconds())
    }
}
