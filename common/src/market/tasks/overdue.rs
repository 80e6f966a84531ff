//! Tasks that their nodes hold for too long, and which go elsewhere.

use chrono::{DateTime, TimeDelta, Utc};

use super::active::Active;
use super::task_stage::TaskStage;
use crate::ids::RunId;
use crate::market::Market;
use crate::market::trust::blame::Cause;

impl Market {
    /// Takes back tasks that run although their timeout has passed: a healthy node would have
    /// ended them. And those that have not begun to run for a long time: their node may say for
    /// ever that it holds them.
    pub(in crate::market) fn lose_overdue(&mut self, id: RunId, now: DateTime<Utc>) {
        let Some(run) = self.runs.get(&id) else { return };
        let mut overdue = Vec::new();
        for stage in run.task_stages() {
            let limit = stage.timeout() + self.policy.lease;
            // Of a node that is not heard nobody knows what runs: that is silence, and not this.
            for (lease, active) in stage.leased().filter(|(_, a)| self.is_heard(a.node, now)) {
                match active.running_since {
                    Some(since) if now - since > limit => {
                        overdue.push((lease, "its node did not end it at the task timeout"));
                    }
                    Some(since) if stage.is_straggling(now - since, &self.policy) => {
                        if self.may_wait_elsewhere(stage, active, now) {
                            overdue.push((lease, "it took far longer than the run's other tasks"));
                        }
                    }
                    None if now - self.could_begin(active) > self.patience(stage, active, now) => {
                        overdue.push((lease, "its node did not begin to run it"));
                    }
                    Some(_) | None => {}
                }
            }
        }
        for (lease, reason) in overdue {
            self.lose(lease, Cause::Overdue, reason, now);
        }
    }

    /// Since when the node could begin the task: while it was silent, it may not have heard of it.
    fn could_begin(&self, active: &Active) -> DateTime<Utc> {
        let back = self.nodes.get(&active.node).map(|node| node.back);
        back.map_or(active.leased_at, |back| back.max(active.leased_at))
    }

    /// How long a task may wait for its turn on its node.
    fn patience(&self, stage: TaskStage<'_>, active: &Active, now: DateTime<Utc>) -> TimeDelta {
        if self.trust.is_proven(active.operator) {
            self.policy.start
        } else if !stage.tasks.has_waiting() && self.may_wait_elsewhere(stage, active, now) {
            self.policy.straggler_start
        } else {
            self.policy.start_unproven
        }
    }

    /// Whether the task's operator is not proven, and another one could do the task.
    pub(in crate::market) fn may_wait_elsewhere(
        &self,
        stage: TaskStage<'_>,
        active: &Active,
        now: DateTime<Utc>,
    ) -> bool {
        !self.trust.is_proven(active.operator)
            && self.has_other_operator(stage, active.operator, &active.tries.failed_on, now)
    }
}
