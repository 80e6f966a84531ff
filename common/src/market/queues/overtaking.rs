//! Whether a task was handed out before one of a more urgent queue, for the simulation.

use chrono::{DateTime, Utc};

use crate::ids::{NodeId, RunId};
use crate::market::Market;
use crate::market::run::Run;
use crate::market::tasks::task_stage::TaskStage;
use crate::run::queue::Rank;
use crate::run::task::Lease;

impl Market {
    /// A run of a queue of lower rank that has a task, just after dispatch, that could have gone to
    /// the node in place of this one. Nodes of operators with a limited share are left out.
    pub fn overtaken_by(&self, lease: Lease, node: NodeId, now: DateTime<Utc>) -> Option<RunId> {
        let run = self.runs.get(&lease.task.run)?;
        let handed_out = run.tasks(lease.task.stage)?;
        let (rank, demand) = (self.rank_of_stage(handed_out)?, handed_out.demand());
        let operator = self.nodes.get(&node)?.operator;
        let comes_before = |other: &&Run| {
            other.spec.workspace == run.spec.workspace
                && !self.dry.contains(&(other.spec.workspace, other.id))
        };
        let could_go = |stage: TaskStage<'_>| {
            let other = stage.demand();
            stage.tasks.fresh() > 0
                && self.rank_of_stage(stage).is_some_and(|before| before < rank)
                && self.queue_stop(stage).is_none()
                && other.needs == demand.needs
                && other.gpus == demand.gpus
                && other.regions == demand.regions
                && other.asks == demand.asks
                && (other.own_nodes, other.pools) == (demand.own_nodes, demand.pools)
                && !stage.is_disputed(node)
                && self.trust.is_proven(operator)
                && self.has_share(stage, operator, now)
        };
        let mut before = self.runs.values().filter(comes_before);
        before.find(|other| other.task_stages().any(could_go)).map(|other| other.id)
    }

    fn rank_of_stage(&self, stage: TaskStage<'_>) -> Option<Rank> {
        let queue = stage.queue()?;
        self.queues.live.get(&queue).map(|live| live.rules.rank)
    }
}
