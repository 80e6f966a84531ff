//! Tasks that their nodes hold for too long, and which go elsewhere.

use chrono::{DateTime, TimeDelta, Utc};

use super::active::Active;
use super::blame::Cause;
use super::run::Run;
use super::{Market, Policy};
use crate::ids::RunId;
use crate::task::Stage;

impl Market {
    /// Takes back tasks that run although their timeout has passed: a healthy node would have
    /// ended them. And those that have not begun to run for a long time: their node may say for
    /// ever that it holds them.
    pub(super) fn lose_overdue(&mut self, id: RunId, now: DateTime<Utc>) {
        let Some(run) = self.runs.get(&id) else { return };
        let limit = run.task_timeout() + self.policy.lease;
        let mut overdue = Vec::new();
        // Of a node that is not heard nobody knows what runs: that is silence, and not this.
        for (index, active) in
            run.active.iter().filter(|(_, active)| self.is_heard(active.node, now))
        {
            let held = run.lease(*index, active.tries.attempt);
            match active.running_since {
                Some(since) if now - since > limit => {
                    overdue.push((held, "its node did not end it at the task timeout"));
                }
                Some(since) if run.is_straggling(now - since, &self.policy) => {
                    if self.may_wait_elsewhere(run, active, now) {
                        overdue.push((held, "it took far longer than the run's other tasks"));
                    }
                }
                None if now - self.could_begin(active) > self.patience(run, active, now) => {
                    overdue.push((held, "its node did not begin to run it"));
                }
                Some(_) | None => {}
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
    fn patience(&self, run: &Run, active: &Active, now: DateTime<Utc>) -> TimeDelta {
        if self.trust.is_proven(active.operator) {
            self.policy.start
        } else if !run.has_waiting() && self.may_wait_elsewhere(run, active, now) {
            self.policy.straggler_start
        } else {
            self.policy.start_unproven
        }
    }

    /// Whether the task's operator is not proven, and another one could do the task.
    pub(super) fn may_wait_elsewhere(
        &self,
        run: &Run,
        active: &Active,
        now: DateTime<Utc>,
    ) -> bool {
        !self.trust.is_proven(active.operator)
            && self.has_other_operator(run, active.operator, &active.tries.failed_on, now)
    }
}

impl Run {
    /// Whether a task that has run for this long takes far longer than those that are done.
    fn is_straggling(&self, ran: TimeDelta, policy: &Policy) -> bool {
        /// Fewer tasks say nothing about the others.
        const KNOWN_MIN: u32 = 4;
        /// Beyond the differences that chunks have.
        const TIMES: u64 = 8;

        if self.stage() != Some(Stage::Process) || self.chunks_done < KNOWN_MIN {
            return false;
        }
        let mean = self.usage.wall_ms / u64::from(self.chunks_done);
        let most = i64::try_from(mean.saturating_mul(TIMES)).unwrap_or(i64::MAX);
        ran.num_milliseconds() > most.max(policy.straggler.num_milliseconds())
    }
}
