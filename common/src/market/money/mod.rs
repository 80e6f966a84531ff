//! Holds, captures and voids: how runs and the ledger meet.

pub(super) mod bill;
pub(super) mod caps;
pub(super) mod earnings;
pub(super) mod movement;
pub(super) mod purse;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::trust::blame::Cause;
use super::{Market, Refused};
use crate::ids::{RunId, WorkspaceId};
use crate::money::credits::Credits;
use crate::money::ledger::{Account, Insufficient, Kind, Posting};
use crate::money::shard::Shard;
use crate::money::statement::{Head, Line, LineKind, Related};
use crate::run::cause::{self, CauseKind};
use crate::run::task::Lease;

/// A running task is reserved this far ahead, so that what it costs when its receipt comes is
/// always covered.
const AHEAD: TimeDelta = TimeDelta::seconds(30);

impl Market {
    /// Reserves `more` of the customer's credits for a run.
    pub(super) fn hold(
        &mut self,
        id: RunId,
        more: Credits,
        now: DateTime<Utc>,
    ) -> Result<(), Refused> {
        let Some(run) = self.runs.get(&id) else { return Err(Refused::NoRun) };
        if more.is_zero() {
            return Ok(());
        }
        let spec = Arc::clone(&run.spec);
        let owner = spec.workspace;
        self.check_cap(&spec, more)?;
        let posting = Posting {
            from: Account::Available(owner),
            to: Account::Held(owner),
            amount: more,
            kind: Kind::Hold,
            run: Some(id),
            lease: None,
            request: None,
        };
        self.post(posting, now).map_err(|insufficient| Refused::Wallet {
            needs: insufficient.wanted,
            available: insufficient.available,
        })?;
        if let Some(run) = self.runs.get_mut(&id) {
            run.purse.hold(more);
        }
        self.cap_held(&spec, more);
        self.outbox.runs.insert(id);
        Ok(())
    }

    /// Raises a run's hold so that it covers `need` beyond what its running tasks may cost.
    pub(super) fn cover(
        &mut self,
        id: RunId,
        need: Credits,
        now: DateTime<Utc>,
    ) -> Result<(), Refused> {
        let Some(run) = self.runs.get(&id) else { return Err(Refused::NoRun) };
        let lacking = need.saturating_sub(run.purse.free());
        if lacking.is_zero() {
            return Ok(());
        }
        // A quarter more than needed where the wallet has it and more tasks come, so that a long run
        // posts few holds.
        let quarter = Credits::from_units(run.held().units() / 4).unwrap_or_default();
        let more = if run.has_waiting() { quarter } else { Credits::ZERO };
        let generous = lacking.saturating_add(more);
        self.hold(id, generous, now).or_else(|_| self.hold(id, lacking, now))
    }

    /// Pays the operator for an attempt out of the run's hold.
    pub(super) fn capture(
        &mut self,
        lease: Lease,
        operator: WorkspaceId,
        amount: Credits,
        now: DateTime<Utc>,
    ) {
        let run_id = lease.task.run;
        let Some(run) = self.runs.get_mut(&run_id) else { return };
        if amount.is_zero() {
            return;
        }
        let spec = Arc::clone(&run.spec);
        let owner = spec.workspace;
        run.purse.capture(amount);
        let (tasks, sum) = run.paid.entry(operator).or_default();
        (*tasks, *sum) = (*tasks + 1, sum.saturating_add(amount));
        let posting = Posting {
            from: Account::Held(owner),
            to: Account::Pending(operator, Shard::of(owner)),
            amount,
            kind: Kind::Capture,
            run: Some(run_id),
            lease: Some(lease),
            request: None,
        };
        self.post(posting, now).expect("the held account holds the sum of all runs' holds");
        self.cap_spent(&spec, amount);
    }

    /// Takes what an operator has earned by a run since the server started, for the server's
    /// owner. What the operator could spend already is gone.
    pub(super) fn take_earnings(&mut self, id: RunId, operator: WorkspaceId, now: DateTime<Utc>) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let Some((tasks, amount)) = run.paid.remove(&operator) else { return };
        run.warning = Some(format!(
            "checks found false results of a node operator that did {tasks} tasks of this run"
        ));
        let shard = Shard::of(run.spec.workspace);
        self.outbox.runs.insert(id);
        let posting = Posting {
            from: Account::Pending(operator, shard),
            to: Account::World(shard),
            amount,
            kind: Kind::Reversal,
            run: Some(id),
            lease: None,
            request: None,
        };
        // Nothing is left to take where the earnings have been released.
        let _ = self.post(posting, now);
    }

    /// Gives back what a run has reserved beyond what it needs now, once that is as much again: a
    /// run that goes on posts few holds. One that has nothing to hand out gives back all of it.
    pub(super) fn trim(&mut self, id: RunId, now: DateTime<Utc>) {
        let Some(run) = self.runs.get(&id) else { return };
        let needed = run.purse.committed().saturating_add(self.kept(run));
        let spare = run.held().saturating_sub(needed);
        let goes_on = run.has_waiting() || run.has_work_to_come();
        let keep = if goes_on { needed.max(self.first_hold(run)) } else { Credits::ZERO };
        if spare > keep.saturating_mul(2) {
            self.give_back(id, spare.saturating_sub(keep), now);
        }
    }

    /// Gives back a part of what a run has reserved.
    pub(super) fn give_back(&mut self, id: RunId, amount: Credits, now: DateTime<Utc>) {
        let Some(run) = self.runs.get_mut(&id).filter(|_| !amount.is_zero()) else { return };
        run.purse.give_back(amount);
        let spec = Arc::clone(&run.spec);
        let owner = spec.workspace;
        self.cap_given_back(&spec, amount);
        let posting = Posting {
            from: Account::Held(owner),
            to: Account::Available(owner),
            amount,
            kind: Kind::Void,
            run: Some(id),
            lease: None,
            request: None,
        };
        self.post(posting, now).expect("the held account holds the sum of all runs' holds");
        self.outbox.runs.insert(id);
        self.wet(owner);
    }

    /// Settles a run that ends: gives back what it did not use, and writes the line of what it has
    /// cost. One that had ended before and went on has a line for each time.
    pub(super) fn settle(&mut self, id: RunId, now: DateTime<Utc>) {
        let Some(run) = self.runs.get(&id) else { return };
        let (owner, rest) = (run.spec.workspace, run.held());
        let spec = Arc::clone(&run.spec);
        self.give_back(id, rest, now);
        // Other runs may have waited for something to come back, and nothing else will.
        self.wet(owner);
        let spent = self.runs.get_mut(&id).map(|run| run.purse.bill()).unwrap_or_default();
        if !spent.is_zero() {
            let related = Related {
                id: Some(spec.job.uuid()),
                template: Some(spec.template.clone()),
                ..Related::default()
            };
            self.write_line(owner, LineKind::Payment, spent, Some(id), related, &spec.name, now);
        }
    }

    /// Raises the bounds of a run's running tasks to what they can have cost by now and a little
    /// later. A run whose wallet cannot cover that ends here.
    pub(super) fn meter(&mut self, id: RunId, now: DateTime<Utc>) {
        let Some(run) = self.runs.get(&id) else { return };
        let mut raised = Vec::new();
        let mut growth = Credits::ZERO;
        for stage in run.task_stages() {
            for (lease, active) in stage.leased() {
                // A task that waits for its turn on its node costs nothing.
                let Some(since) = active.running_since.filter(|_| !active.is_check) else {
                    continue;
                };
                // Nor does one go on to cost that nobody hears of.
                let heard = self.nodes.get(&active.node).is_some_and(|node| node.is_present(now));
                if !heard {
                    continue;
                }
                let ran = now - since;
                if stage.price_of(ran + AHEAD) > active.bound {
                    // Half as much again, so that this is not done every second.
                    let bound = stage.price_of(ran * 3 / 2 + AHEAD);
                    growth = growth.saturating_add(bound.saturating_sub(active.bound));
                    raised.push((lease, bound));
                }
            }
        }
        if raised.is_empty() {
            return;
        }
        if let Err(refused) = self.cover(id, growth, now) {
            if self.lose_unproven(&raised, now) {
                return;
            }
            let message = format!("its tasks take longer than the wallet can pay for: {refused}");
            self.fail(id, cause::Cause::new(CauseKind::Credits, message), now);
            return;
        }
        let Some(run) = self.runs.get_mut(&id) else { return };
        for (lease, bound) in raised {
            if let Some(active) = run.active_lease_mut(lease) {
                active.bound = bound;
            }
        }
        run.purse.commit(growth);
    }

    /// Takes the tasks back that nobody but an operator that is not proven says to run, where
    /// others could do them: no such word ends a run. Gives whether there were any.
    fn lose_unproven(&mut self, raised: &[(Lease, Credits)], now: DateTime<Utc>) -> bool {
        let is_doubtful = |lease: &Lease| {
            let leased = self.leased(*lease);
            leased.is_some_and(|(stage, active)| self.may_wait_elsewhere(stage, active, now))
        };
        let doubtful: Vec<Lease> =
            raised.iter().map(|(lease, _)| *lease).filter(is_doubtful).collect();
        for lease in &doubtful {
            self.lose(*lease, Cause::Gone, "it took longer there than the wallet can pay for", now);
        }
        !doubtful.is_empty()
    }

    /// Writes the next line of a workspace's statement, after its transfer.
    #[expect(clippy::too_many_arguments, reason = "they are the fields of a line")]
    pub(super) fn write_line(
        &mut self,
        owner: WorkspaceId,
        kind: LineKind,
        amount: Credits,
        run: Option<RunId>,
        related: Related,
        description: &str,
        at: DateTime<Utc>,
    ) {
        let head = self.statements.entry(owner).or_default();
        let (number, balance) = (head.lines + 1, head.balance_after(kind, amount));
        // What is hashed is what can be stored, and no database takes NUL.
        let description = description.replace('\0', "\u{fffd}");
        let hash = head.hash;
        let mut line =
            Line { owner, number, at, kind, amount, run, related, description, balance, hash };
        line.hash = line.chained(head.hash);
        *head = Head::at(&line);
        self.outbox.changes.lines.push(line);
    }

    pub(super) fn post(
        &mut self,
        posting: Posting,
        now: DateTime<Utc>,
    ) -> Result<(), Insufficient> {
        let transfer = self.ledger.post(posting, now)?;
        let changes = &mut self.outbox.changes;
        *changes.balances.entry(transfer.from).or_default() -= transfer.amount.units();
        *changes.balances.entry(transfer.to).or_default() += transfer.amount.units();
        changes.transfers.push(transfer);
        Ok(())
    }
}
