//! Spot checks: some accepted tasks are given to a second node, of another operator, and what both
//! gave is compared. Where they differ, a third decides.
//!
//! A check is one more attempt of its task, so that no node can tell it from the first. It is
//! neither stored nor paid for: payment for checks would pay two operators who check each
//! other. A restart of the server drops the checks that are under way, and nobody loses by it.

use chrono::{DateTime, TimeDelta, Utc};

use super::blame::Cause;
use crate::digest::Digest;
use crate::ids::{NodeId, RunId, WorkspaceId};
use crate::market::Market;
use crate::market::run::Run;
use crate::market::tasks::active::Active;
use crate::market::tasks::task_stage::TaskStage;
use crate::protocol::{Outcome, Output};
use crate::run::task::{Lease, TaskRef};

/// Checks of one run at a time.
const CHECKS_MAX: usize = 4;
/// The tasks of an operator that is not proven are checked this many times as often.
const UNPROVEN_TIMES: u32 = 10;
/// What a check may take beyond twice the time of the first attempt before a run that is done
/// otherwise goes on without it.
const PATIENCE: TimeDelta = TimeDelta::seconds(2);
/// An operator has lied that lost this many disputes of a run, and more than it won.
const LOST_MAX: u32 = 2;
/// Templates whose results were found to differ by themselves.
const UNSTABLE_MAX: usize = 10_000;

/// Which tasks are checked.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Checks {
    /// Of accepted tasks; 0 means that none is checked.
    pub percent: u32,
    /// Random, and never told to anybody: who knows it knows which tasks are checked.
    pub key: [u8; 32],
}

/// The key stays out of logs.
impl std::fmt::Debug for Checks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checks").field("percent", &self.percent).finish_non_exhaustive()
    }
}

/// A task whose results are checked.
#[derive(Debug)]
pub(in crate::market) struct Check {
    /// The first is of who was paid; a second one differs from it.
    opinions: Vec<Opinion>,
    /// The task's last attempt.
    pub attempt: u32,
    /// It is to be handed out.
    pub waits: bool,
    took: TimeDelta,
    /// Whatever waits for it waits until then.
    until: DateTime<Utc>,
}

#[derive(Debug, Clone, Copy)]
struct Opinion {
    node: NodeId,
    operator: WorkspaceId,
    results: Digest,
}

enum Verdict {
    /// The same results, or both none: that shows nothing.
    Agreed([WorkspaceId; 2]),
    /// Two differ, and nobody has decided yet.
    Open,
    /// The first two agree against the last.
    Lie([WorkspaceId; 2], WorkspaceId),
    /// All three differ: the work itself gives different results.
    Unstable,
}

/// How an operator's results of a run compared with those of others.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::market) struct Compared {
    agreed: u32,
    lost: u32,
}

impl Checks {
    fn selects(self, task: TaskRef, is_proven: bool) -> bool {
        let times = if is_proven { 1 } else { UNPROVEN_TIMES };
        let percent = self.percent.saturating_mul(times);
        if percent == 0 {
            return false;
        }
        let mut secret = self.key.to_vec();
        secret.extend(task.run.uuid().as_bytes());
        secret.extend(task.stage.number().to_be_bytes());
        secret.extend(task.index.to_be_bytes());
        let drawn = Digest::of(&secret)
            .bytes()
            .iter()
            .take(4)
            .fold(0, |n: u32, byte| n << 8 | u32::from(*byte));
        drawn % 100 < percent
    }
}

impl Check {
    /// Whether two differ and wait for a third.
    fn is_disputed(&self) -> bool {
        self.opinions.len() > 1
    }

    fn is_of(&self, node: NodeId) -> bool {
        self.opinions.iter().any(|opinion| opinion.node == node)
    }

    fn judge(&self, last: Opinion) -> Verdict {
        match self.opinions.as_slice() {
            [first] if first.results == last.results => {
                Verdict::Agreed([first.operator, last.operator])
            }
            [first, second] if first.results == last.results => {
                Verdict::Lie([first.operator, last.operator], second.operator)
            }
            [first, second] if second.results == last.results => {
                Verdict::Lie([second.operator, last.operator], first.operator)
            }
            [_, _] => Verdict::Unstable,
            _ => Verdict::Open,
        }
    }
}

impl TaskStage<'_> {
    /// Whether the node's results are in dispute: it gets no more of the stage until a third has
    /// decided.
    pub(in crate::market) fn is_disputed(self, node: NodeId) -> bool {
        self.tasks.checks.values().any(|check| check.is_disputed() && check.is_of(node))
    }

    fn checks_due(self, now: DateTime<Utc>) -> Vec<u32> {
        let is_done = self.tasks.is_done();
        let is_due = |check: &Check| check.until <= now && (is_done || check.is_disputed());
        let due = self.tasks.checks.iter().filter(|(_, check)| is_due(check));
        due.map(|(index, _)| *index).collect()
    }
}

impl Run {
    fn note_agreed(&mut self, operators: [WorkspaceId; 2]) {
        for operator in operators {
            self.compared.entry(operator).or_default().agreed += 1;
        }
    }

    /// Notes that an operator stood alone against two; true where that can be no accident.
    fn note_lost(&mut self, operator: WorkspaceId) -> bool {
        let compared = self.compared.entry(operator).or_default();
        compared.lost += 1;
        compared.lost >= LOST_MAX && compared.lost > compared.agreed
    }
}

impl Market {
    /// Begins to check a task that was accepted, if it is drawn.
    pub(in crate::market) fn begin_check(
        &mut self,
        lease: Lease,
        active: &Active,
        results: (&[Output], Option<&str>),
        now: DateTime<Utc>,
    ) {
        let Some(run) = self.runs.get(&lease.task.run) else { return };
        let Some(stage) = run.tasks(lease.task.stage) else { return };
        let template = (run.spec.workspace, run.spec.template.clone());
        let may = self.has_several_operators()
            && stage.work.deterministic
            && stage.tasks.checks.len() < CHECKS_MAX
            && !self.unstable.contains(&template)
            && self.policy.checks.selects(lease.task, self.trust.is_proven(active.operator))
            && self.has_other_operator(stage, active.operator, &[], now);
        let run = self.runs.get_mut(&lease.task.run).filter(|_| may);
        let Some(tasks) = run.and_then(|run| run.tasks_mut(lease.task.stage)) else { return };
        let Active { node, operator, .. } = *active;
        let took = active.running_since.map_or(TimeDelta::zero(), |since| now - since);
        let first = Opinion { node, operator, results: digest(results) };
        let check = Check {
            opinions: vec![first],
            attempt: lease.attempt,
            waits: true,
            took,
            until: now + PATIENCE,
        };
        tasks.checks.insert(lease.task.index, check);
        self.working.insert(lease.task.run);
        self.note_runnable(lease.task.run);
    }

    /// Whether the node may check: it is of none of the operators whose results are compared. Where
    /// two differ, a second node of the server's owner may decide.
    pub(in crate::market) fn may_check(
        &self,
        check: &Check,
        node: NodeId,
        operator: WorkspaceId,
    ) -> bool {
        let decides = check.is_disputed() && self.trust.is_owner(operator);
        check
            .opinions
            .iter()
            .all(|opinion| opinion.node != node && (opinion.operator != operator || decides))
    }

    /// Notes that a check was handed out.
    pub(in crate::market) fn check_leased(run: &mut Run, lease: Lease, now: DateTime<Utc>) {
        let tasks = run.tasks_mut(lease.task.stage);
        if let Some(check) = tasks.and_then(|tasks| tasks.checks.get_mut(&lease.task.index)) {
            check.attempt = lease.attempt;
            check.waits = false;
            check.until = now + check.took * 2 + PATIENCE;
        }
    }

    /// A check has ended. What gave no result decides nothing.
    pub(in crate::market) fn end_check(
        &mut self,
        lease: Lease,
        outcome: &Outcome,
        now: DateTime<Utc>,
    ) {
        let TaskRef { run: id, stage: no, index } = lease.task;
        let Some(active) = self.release(lease) else { return };
        let Some(run) = self.runs.get_mut(&id) else { return };
        let Some(tasks) = run.tasks_mut(no) else { return };
        let Some(mut check) = tasks.checks.remove(&index) else { return };
        if let Outcome::Succeeded { outputs, value } = outcome {
            let (node, operator) = (active.node, active.operator);
            let results = digest((outputs, value.as_deref()));
            let last = Opinion { node, operator, results };
            match check.judge(last) {
                Verdict::Agreed(operators) => {
                    run.note_agreed(operators);
                    if !outputs.is_empty() {
                        self.note_agreed(operators);
                    }
                }
                Verdict::Open => {
                    check.opinions.push(last);
                    (check.waits, check.until) = (true, now + check.took * 2 + PATIENCE);
                    let run = self.runs.get(&id).and_then(|run| run.tasks(no));
                    if run.is_some_and(|stage| self.has_third(stage, &check, now))
                        && let Some(run) = self.runs.get_mut(&id)
                        && let Some(tasks) = run.tasks_mut(no)
                    {
                        tasks.checks.insert(index, check);
                    }
                }
                Verdict::Lie(agreed, alone) => {
                    run.note_agreed(agreed);
                    let has_lied = run.note_lost(alone);
                    let is_believed = agreed.iter().any(|of| self.trust.is_checked(*of));
                    if has_lied && is_believed {
                        self.convict(id, alone, now);
                    }
                }
                Verdict::Unstable => self.note_unstable(id, now),
            }
        }
        self.note_runnable(id);
        self.end_if_over(id, no, now);
    }

    fn has_third(&self, stage: TaskStage<'_>, check: &Check, now: DateTime<Utc>) -> bool {
        let demand = stage.demand();
        self.nodes.iter().any(|(node_id, node)| {
            node.could_serve(demand, now) && self.may_check(check, *node_id, node.operator)
        })
    }

    /// Drops the checks whose time has passed, where something waits for them: a stage that is
    /// done otherwise, or nodes whose results are in dispute.
    pub(in crate::market) fn end_late_checks(&mut self, id: RunId, now: DateTime<Utc>) {
        let Some(run) = self.runs.get(&id) else { return };
        let due: Vec<TaskRef> = run
            .task_stages()
            .flat_map(|stage| {
                let indexes = stage.checks_due(now).into_iter();
                indexes.map(move |index| TaskRef { run: id, stage: stage.no, index })
            })
            .collect();
        if due.is_empty() {
            return;
        }
        for task in &due {
            self.drop_check(*task);
        }
        self.room.open_all();
        self.note_runnable(id);
        for task in due {
            self.end_if_over(id, task.stage, now);
        }
    }

    fn drop_check(&mut self, task: TaskRef) {
        let Some(tasks) = self.runs.get_mut(&task.run).and_then(|run| run.tasks_mut(task.stage))
        else {
            return;
        };
        tasks.checks.remove(&task.index);
        let active = tasks.active.get(&task.index).filter(|active| active.is_check);
        if let Some(attempt) = active.map(|active| active.tries.attempt) {
            self.release(Lease { task, attempt });
        }
    }

    /// The same work gives different results on different nodes: nothing can be concluded from
    /// that, so it is no longer checked, and nobody loses by it.
    fn note_unstable(&mut self, id: RunId, now: DateTime<Utc>) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let template = (run.spec.workspace, run.spec.template.clone());
        run.warning = Some(
            "three nodes gave three different results for one task: it is not deterministic, and \
             its results are not checked"
                .to_owned(),
        );
        let checked: Vec<TaskRef> = run
            .task_stages()
            .flat_map(|stage| {
                let indexes = stage.tasks.checks.keys();
                indexes.map(move |index| TaskRef { run: id, stage: stage.no, index: *index })
            })
            .collect();
        self.outbox.runs.insert(id);
        if self.unstable.len() < UNSTABLE_MAX {
            self.unstable.insert(template);
        }
        for task in &checked {
            self.drop_check(*task);
        }
        for task in checked {
            self.end_if_over(id, task.stage, now);
        }
    }

    /// An operator gave results that others contradict, again and again: it loses what it earned
    /// by the run, and gets no more tasks of this customer. A customer's code can be made to give
    /// other results on somebody's nodes, so only jobs of the server's owner bar an operator for
    /// everybody, and nobody but the server's owner gets what is taken.
    fn convict(&mut self, id: RunId, operator: WorkspaceId, now: DateTime<Utc>) {
        let Some(customer) = self.runs.get(&id).map(|run| run.spec.workspace) else { return };
        if self.trust.is_owner(operator) {
            return;
        }
        let until = self.trust.is_owner(customer).then(|| self.trust.bar(operator, now));
        if let Some(record) = self.trust.operators.get(&operator).filter(|_| until.is_some()) {
            self.outbox.changes.operators.insert(operator, *record);
        }
        self.trust.bar_for(operator, customer);
        let mut held = Vec::new();
        for (node_id, node) in self.nodes.iter_mut().filter(|(_, node)| node.operator == operator) {
            node.barred_for.insert(customer);
            node.window = self.trust.forget_window(*node_id);
            self.outbox.changes.windows.insert(*node_id, node.window.size());
            node.barred_until = until.or(node.barred_until);
            held.extend(node.leased.iter().copied());
        }
        let is_barred = |lease: &Lease| {
            let run = self.runs.get(&lease.task.run);
            until.is_some() || run.is_some_and(|run| run.spec.workspace == customer)
        };
        held.retain(is_barred);
        for lease in held {
            self.lose(lease, Cause::Gone, "its operator has given false results", now);
        }
        self.take_earnings(id, operator, now);
    }
}

/// What stands for all results of an attempt, in whatever order they were named.
/// What an attempt gave: its files, and its value.
fn digest((outputs, value): (&[Output], Option<&str>)) -> Digest {
    let mut lines: Vec<String> = outputs
        .iter()
        .map(|output| format!("{} {} {:?}\n", output.digest, output.size, output.name))
        .collect();
    lines.sort_unstable();
    lines.extend(value.map(|value| format!("value {value:?}")));
    Digest::of(lines.concat().as_bytes())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::run::task::StageNo;

    #[test]
    fn checks_are_drawn_by_a_secret_at_their_rate() {
        let run = RunId::new(Uuid::from_u128(7));
        let drawn = |key, percent, is_proven| -> Vec<u32> {
            let checks = Checks { percent, key: [key; 32] };
            let task = |index| TaskRef { run, stage: StageNo::new(2), index };
            (0..10_000).filter(|index| checks.selects(task(*index), is_proven)).collect()
        };

        assert!((150..250).contains(&drawn(1, 2, true).len()));
        assert!((1_800..2_200).contains(&drawn(1, 2, false).len()));
        assert_eq!((drawn(1, 0, false).len(), drawn(1, 100, true).len()), (0, 10_000));
        assert_ne!(drawn(1, 2, true), drawn(2, 2, true));
        assert_eq!(
            format!("{:?}", Checks { percent: 2, key: [9; 32] }),
            "Checks { percent: 2, .. }"
        );
    }
}
