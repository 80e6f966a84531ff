//! What is paid: transfers, statements, bills and caps.

use std::collections::BTreeMap;

use common::compute::resources::Usage;
use common::market::{Changes, RunRecord, TaskRecord, TaskState};
use common::money::credits::Credits;
use common::money::ledger::{Account, Kind, Transfer};
use common::money::price::price;
use common::money::statement::{Head, Line};
use common::run::task::Lease;

use super::{Checked, Store, is_final};
use crate::donor::operator_of;

impl Store {
    /// What the runs of a project cost and hold is never more than its cap, which is set before
    /// any of them starts.
    pub(super) fn put_caps(&mut self, changes: &Changes) -> Checked {
        for (key, cap) in &changes.caps {
            match cap {
                Some(cap) => self.caps.insert(key.clone(), *cap),
                None => self.caps.remove(key),
            };
        }
        for ((workspace, project), cap) in &self.caps {
            let is_of = |run: &&RunRecord| {
                let spec = &run.spec;
                spec.workspace == *workspace && spec.terms.project.as_ref() == Some(project)
            };
            let (mut held, mut cost) = (Credits::ZERO, Credits::ZERO);
            for run in self.runs.values().filter(is_of) {
                held = held.saturating_add(run.held);
                cost = cost.saturating_add(run.captured);
            }
            if cost != cap.spent || cost.saturating_add(held) > cap.limit {
                return Err(format!("{project} holds {held} and has cost {cost}: {cap:?}"));
            }
        }
        Ok(())
    }

    pub(super) fn post(&mut self, transfer: &Transfer) -> Checked {
        let next = self.transfers.entry(transfer.shard()).or_default();
        if transfer.number != *next {
            return Err(format!("transfer {} instead of {next}", transfer.number));
        }
        *next += 1;
        let units = transfer.amount.units();
        *self.recounted.entry(transfer.from).or_default() -= units;
        *self.recounted.entry(transfer.to).or_default() += units;
        if let Some(run) = transfer.run {
            let purse = self.purses.entry(run).or_default();
            match transfer.kind {
                Kind::Hold => purse.ever_held += units,
                Kind::Capture => purse.captured += units,
                Kind::Void => purse.voided += units,
                Kind::Reversal => {
                    if let Account::Pending(operator, _) = transfer.from {
                        self.reversals.insert((run, operator));
                    }
                }
                Kind::Grant
                | Kind::Coupon
                | Kind::TopUp
                | Kind::Earning
                | Kind::Payout
                | Kind::Return
                | Kind::Storage
                | Kind::Paid => return Err(format!("a run made a {}", transfer.kind.as_str())),
            }
        }
        if transfer.kind == Kind::Capture {
            let lease = transfer.lease.ok_or("a capture without its attempt")?;
            if self.captures.insert(lease, transfer.amount).is_some() {
                return Err(format!("{lease} was paid twice"));
            }
        }
        Ok(())
    }

    /// A statement has every line once and in order, each with the balance before and its amount.
    pub(super) fn put_line(&mut self, line: &Line) -> Checked {
        let head = self.statements.entry(line.owner).or_default();
        if !line.continues(head) || line.hash != line.chained(head.hash) {
            return Err(format!("line {} of {} does not follow", line.number, line.owner));
        }
        *head = Head::at(line);
        Ok(())
    }

    /// An attempt costs no more than the server knows it to have run, nor than its timeout.
    pub(super) fn check_bill(&self, attempt: &TaskRecord) -> Checked {
        if attempt.price.is_zero() {
            return Ok(());
        }
        let name = attempt.task;
        if let Some(call) = self.call_of(attempt)? {
            let is_fair = attempt.state == TaskState::Done && attempt.price == call.price;
            return if is_fair { Ok(()) } else { Err(format!("{name} costs {}", attempt.price)) };
        }
        let (Some(began), Some(ended_at)) = (attempt.running_at, attempt.ended_at) else {
            return Err(format!("{name} is paid and never ran"));
        };
        if attempt.leased_at.is_none_or(|leased_at| began < leased_at) {
            return Err(format!("{name} ran before it was leased"));
        }
        let spec = &self.runs.get(&name.run).ok_or("a task without a run")?.spec;
        let block = self.stages.get(&(name.run, name.stage)).ok_or("a task without a stage")?.block;
        let work = spec.plan.container_task(block).ok_or("a task without a container")?;
        let ms = u64::try_from((ended_at - began).num_milliseconds()).unwrap_or(0);
        let ms = ms.min(u64::from(work.timeout_secs) * 1000);
        let most = price(Usage::full(work.container.needs, ms));
        if attempt.price > most {
            return Err(format!("{name} costs {}, its lease allows {most}", attempt.price));
        }
        Ok(())
    }

    /// An attempt is paid in the transaction that ends it, and nothing else is.
    pub(super) fn check_captures(&self, changes: &Changes) -> Checked {
        let final_tasks = changes.tasks.iter().filter(|task| is_final(task));
        let mut payees = BTreeMap::new();
        let attempts = changes.attempts.iter().chain(&changes.reopened);
        let attempts = attempts.map(|attempt| (attempt, false));
        for (ended, may_repeat) in final_tasks.map(|task| (task, true)).chain(attempts) {
            let lease = Lease { task: ended.task, attempt: ended.attempt };
            let paid = self.captures.get(&lease).copied().unwrap_or_default();
            // A task that waited when its run ended names its last attempt once more.
            let is_told = may_repeat && self.attempts.contains(&lease) && ended.price.is_zero();
            if paid != ended.price && !is_told {
                return Err(format!("{lease} costs {} and was paid {paid}", ended.price));
            }
            // Calls have no node: the server's owner is paid.
            payees.insert(lease, ended.node);
        }
        for transfer in &changes.transfers {
            let Some(lease) = transfer.lease else { continue };
            let Some(node) = payees.get(&lease) else {
                return Err(format!("{lease} was paid and has not ended"));
            };
            let payee = match node {
                Some(node) => Account::Pending(operator_of(*node), transfer.shard()),
                None => Account::World(transfer.shard()),
            };
            if transfer.to != payee {
                return Err(format!("{lease} was of {node:?} and paid to {:?}", transfer.to));
            }
        }
        match changes.tasks.iter().find(|task| !is_final(task) && !task.price.is_zero()) {
            Some(task) => Err(format!("{} goes on and costs {}", task.task, task.price)),
            None => Ok(()),
        }
    }
}
