//! A store as the server's database is: it takes whole transactions, survives the server, and
//! finds out whatever must never be written.

use std::collections::{BTreeMap, BTreeSet};

use common::call::CallTask;
use common::compute::resources::Usage;
use common::data::chunk_table::ChunkTable;
use common::ids::{NodeId, QueueId, RunId, WorkspaceId};
use common::market::{
    Changes, Cursor, Interrupted, OperatorRecord, Resolution, Run, RunRecord, StageEnd,
    StageOutcome, StageRecord, Stored, TaskRecord, TaskState, ValueRecord,
};
use common::money::credits::Credits;
use common::money::ledger::{Account, Kind, Ledger, Transfer};
use common::money::price::price;
use common::money::shard::Shard;
use common::money::spend_cap::SpendCap;
use common::money::statement::{Head, Line};
use common::plan::{BlockId, Body};
use common::protocol::{Outcome, Output, Receipt};
use common::run::RunState;
use common::run::queue::QueueRules;
use common::run::task::{Lease, StageNo, TaskRef};

use crate::donor::{is_owners, operator_of};
use crate::timetable::Timetables;
use crate::world;

#[derive(Debug, Default)]
pub struct Store {
    pub runs: BTreeMap<RunId, RunRecord>,
    pub tasks: BTreeMap<TaskRef, TaskRecord>,
    /// Who holds what.
    pub leased: BTreeMap<Lease, NodeId>,
    stages: BTreeMap<(RunId, StageNo), StageRecord>,
    tables: BTreeMap<(RunId, BlockId), ChunkTable>,
    resolutions: BTreeMap<(RunId, StageNo), Resolution>,
    values: BTreeMap<(RunId, u32), ValueRecord>,
    balances: BTreeMap<Account, i64>,
    /// How many of each shard.
    transfers: BTreeMap<Shard, u64>,
    statements: BTreeMap<WorkspaceId, Head>,
    /// Added up again from the transfers.
    recounted: BTreeMap<Account, i64>,
    purses: BTreeMap<RunId, Purse>,
    captures: BTreeMap<Lease, Credits>,
    /// Attempts that have ended and after which their task went on.
    attempts: BTreeSet<Lease>,
    records: BTreeMap<WorkspaceId, OperatorRecord>,
    /// Operators whose earnings of a run were taken.
    pub reversals: BTreeSet<(RunId, WorkspaceId)>,
    windows: BTreeMap<NodeId, u32>,
    /// Tasks of each node that were accepted.
    accepted: BTreeMap<NodeId, u32>,
    pub timetables: Timetables,
    pub queues: BTreeMap<QueueId, QueueRules>,
    caps: BTreeMap<(WorkspaceId, String), SpendCap>,
}

/// What a run's transfers add up to, in 1e-8 credits.
#[derive(Debug, Clone, Copy, Default)]
struct Purse {
    ever_held: i64,
    captured: i64,
    voided: i64,
    /// The prices of its attempts.
    prices: i64,
    /// The lines of its owner's statement.
    billed: i64,
}

type Checked = Result<(), String>;

impl Store {
    /// One transaction: all of the changes, or an account of what is wrong with them.
    pub fn apply(&mut self, changes: &Changes) -> Checked {
        for transfer in &changes.transfers {
            self.post(transfer)?;
        }
        for (account, units) in &changes.balances {
            *self.balances.entry(*account).or_default() += units;
        }
        if self.balances != self.recounted {
            return Err(format!("stored {:?}, re-added {:?}", self.balances, self.recounted));
        }
        for (run, block, table) in &changes.tables {
            self.tables.insert((*run, *block), ChunkTable::clone(table));
        }
        self.put_answers(changes)?;
        for task in &changes.tasks {
            self.put_task(task)?;
        }
        for attempt in changes.attempts.iter().chain(&changes.reopened) {
            self.check_bill(attempt)?;
            self.attempts.insert(Lease { task: attempt.task, attempt: attempt.attempt });
            self.purses.entry(attempt.task.run).or_default().prices += attempt.price.units();
        }
        self.records.extend(&changes.operators);
        self.windows.extend(&changes.windows);
        self.check_windows()?;
        for line in &changes.lines {
            self.put_line(line)?;
            if let (Some(run), Some(debit)) = (line.run, line.debit()) {
                self.purses.entry(run).or_default().billed += debit.units();
            }
        }
        for id in &changes.new_runs {
            if self.runs.contains_key(id) {
                return Err(format!("{id:?} is new and was there before"));
            }
        }
        let mut seen = BTreeSet::new();
        for run in &changes.runs {
            if !seen.insert(run.id) {
                return Err(format!("{:?} comes twice in one transaction", run.id));
            }
            let is_new = changes.new_runs.contains(&run.id);
            self.put_run(run, is_new)?;
        }
        self.put_caps(changes)?;
        self.timetables.apply(changes)?;
        self.timetables.check_overlap(&self.runs)?;
        self.put_stages(&changes.stages)?;
        for ended in changes.runs.iter().filter(|run| run.state.is_final()) {
            self.check_ended(ended)?;
        }
        if let Some(id) = changes.new_runs.iter().find(|id| !self.runs.contains_key(id)) {
            return Err(format!("{id:?} is new and was not stored"));
        }
        self.check_captures(changes)
    }

    /// What the runs of a project cost and hold is never more than its cap, which is set before
    /// any of them starts.
    fn put_caps(&mut self, changes: &Changes) -> Checked {
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

    /// What expressions gave is stored once, and so is each value.
    fn put_answers(&mut self, changes: &Changes) -> Checked {
        for (run, no, resolution) in &changes.resolutions {
            let key = (*run, *no);
            if self.resolutions.insert(key, Resolution::clone(resolution)).is_some() {
                return Err(format!("{key:?} was resolved twice"));
            }
        }
        for value in &changes.values {
            let key = (value.run, value.seq);
            if self.values.insert(key, value.clone()).is_some() {
                return Err(format!("the value {key:?} came twice"));
            }
        }
        Ok(())
    }

    fn post(&mut self, transfer: &Transfer) -> Checked {
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
    fn put_line(&mut self, line: &Line) -> Checked {
        let head = self.statements.entry(line.owner).or_default();
        if !line.continues(head) || line.hash != line.chained(head.hash) {
            return Err(format!("line {} of {} does not follow", line.number, line.owner));
        }
        *head = Head::at(line);
        Ok(())
    }

    fn put_task(&mut self, task: &TaskRecord) -> Checked {
        if let Some(before) = self.tasks.get(&task.task) {
            let run = self.runs.get(&task.task.run).map(|run| run.state);
            let is_retried = matches!(run, Some(RunState::Failed | RunState::Cancelled));
            match before.state {
                TaskState::Waiting | TaskState::Leased => {}
                // What its last attempt cost is told once more among those before.
                TaskState::Failed if is_retried => {
                    let price = before.price.units();
                    self.purses.entry(task.task.run).or_default().prices -= price;
                }
                TaskState::Done | TaskState::Failed => {
                    return Err(format!("{} was {:?} and changed", task.task, before.state));
                }
            }
            self.leased.remove(&Lease { task: task.task, attempt: before.attempt });
            if task.attempt < before.attempt {
                return Err(format!("{} went back to attempt {}", task.task, task.attempt));
            }
        }
        if task.state == TaskState::Done && self.call_of(task)?.is_none() {
            self.check_receipt(task)?;
            let done = task.node.map(|node| self.accepted.entry(node).or_default());
            *done.ok_or("done by nobody")? += 1;
        }
        if is_final(task) {
            self.check_bill(task)?;
            self.purses.entry(task.task.run).or_default().prices += task.price.units();
        }
        if let (TaskState::Leased, Some(node)) = (task.state, task.node) {
            self.leased.insert(Lease { task: task.task, attempt: task.attempt }, node);
        }
        self.tasks.insert(task.task, task.clone());
        Ok(())
    }

    /// What is paid is what its holder signed for, and no more than its lease allowed.
    fn check_receipt(&self, task: &TaskRecord) -> Checked {
        let name = task.task;
        let (Some(node), Some(signed)) = (task.node, &task.receipt) else {
            return Err(format!("{name} is done by nobody"));
        };
        let receipt: Receipt = postcard::from_bytes(&signed.receipt).map_err(|e| e.to_string())?;
        let lease = Lease { task: name, attempt: task.attempt };
        if receipt.lease != lease || signed.signature != node.uuid().as_bytes() {
            return Err(format!("{name} is done by the receipt of {}", receipt.lease));
        }
        let Outcome::Succeeded { outputs, .. } = receipt.outcome else {
            return Err(format!("{name} is done by a receipt without results"));
        };
        // All results are small here: their bytes come with the receipt, and are stored with it.
        let bytes = |output: &Output| signed.contents.find(output.digest).map(<[u8]>::len);
        let is_whole = |output: &Output| bytes(output).map(|len| len as u64) == Some(output.size);
        if outputs.iter().all(is_whole) {
            Ok(())
        } else {
            Err(format!("{name} is done and a result of it is not stored"))
        }
    }

    /// An attempt costs no more than the server knows it to have run, nor than its timeout.
    fn check_bill(&self, attempt: &TaskRecord) -> Checked {
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

    /// The call that a task is.
    fn call_of(&self, task: &TaskRecord) -> Result<Option<&CallTask>, String> {
        let name = task.task;
        let spec = &self.runs.get(&name.run).ok_or("a task without a run")?.spec;
        let stage = self.stages.get(&(name.run, name.stage)).ok_or("a task without a stage")?;
        Ok(spec.plan.call_task(stage.block))
    }

    /// A node has no more leases at once than it has shown that it deserves.
    fn check_windows(&self) -> Checked {
        let mut leased: BTreeMap<NodeId, u32> = BTreeMap::new();
        for node in self.leased.values().filter(|node| !is_owners(**node)) {
            *leased.entry(*node).or_default() += 1;
        }
        for (node, leases) in leased {
            let accepted = self.accepted.get(&node).copied().unwrap_or(0);
            if leases > accepted + 2 {
                return Err(format!("{node:?} has {leases} leases, did {accepted} tasks"));
            }
        }
        Ok(())
    }

    fn put_run(&mut self, run: &RunRecord, is_new: bool) -> Checked {
        match self.runs.get(&run.id) {
            None if !is_new => return Err(format!("{:?} was never new", run.id)),
            Some(before) if before.state == RunState::Failed && run.state == RunState::Running => {}
            // It is retried; it may have ended again in the same batch.
            Some(before)
                if matches!(before.state, RunState::Failed | RunState::Cancelled)
                    && run.times.states != before.times.states => {}
            Some(before) if before.state.is_final() => {
                return Err(format!("{:?} had ended and changed", run.id));
            }
            Some(before) if run.state < before.state || run.counts.done < before.counts.done => {
                return Err(format!("{:?} went back to {:?}", run.id, run.state));
            }
            Some(_) | None => {}
        }
        let begun = run.times.began();
        if run.spec.terms.start_at.is_some_and(|at| begun.is_some_and(|begun| begun < at)) {
            return Err(format!("{:?} began too early", run.id));
        }
        let purse = self.purses.entry(run.id).or_default();
        let cost = purse.captured;
        let held = purse.ever_held - cost - purse.voided;
        if run.held.units() != held || run.captured.units() != cost {
            return Err(format!("{:?} holds {:?}, its transfers {purse:?}", run.id, run.held));
        }
        if cost > purse.ever_held || cost != purse.prices {
            return Err(format!("{:?} cost what it should not: {purse:?}", run.id));
        }
        // A run that is cancelled is settled at once.
        let is_over = run.state.is_final() || run.state == RunState::Ending;
        if is_over && (held != 0 || purse.billed != cost) {
            return Err(format!("{:?} ended unsettled: {purse:?}", run.id));
        }
        self.runs.insert(run.id, run.clone());
        Ok(())
    }

    fn check_ended(&self, run: &RunRecord) -> Checked {
        let tasks = || self.tasks_of(run.id);
        if let Some(task) =
            tasks().find(|task| matches!(task.state, TaskState::Waiting | TaskState::Leased))
        {
            return Err(format!("{} outlives its run", task.task));
        }
        let is_complete = run.state == RunState::Succeeded;
        if is_complete == run.cause.is_some() {
            return Err(format!("{:?} ended {:?}: {:?}", run.id, run.state, run.cause));
        }
        for stage in self.stages_of(run.id) {
            if stage.ended.is_none() {
                return Err(format!("stage {} outlives {:?}", stage.no, run.id));
            }
            let is_skipped = stage.ended.is_some_and(|end| end.how == StageOutcome::Skipped);
            if is_skipped && tasks().any(|task| task.task.stage == stage.no) {
                return Err(format!("{stage:?} is skipped and has tasks"));
            }
            let Cursor::Tasks { len, done, .. } = stage.cursor else { continue };
            let stored = tasks()
                .filter(|task| task.task.stage == stage.no && task.state == TaskState::Done)
                .count();
            if stored != done as usize || (is_complete && done != len) {
                return Err(format!("{:?}: {stored} done, its stage says {stage:?}", run.id));
            }
        }
        Ok(())
    }

    /// A stage is opened once everything that it comes after has ended, and never changes once it
    /// has ended itself.
    fn put_stages(&mut self, stages: &[StageRecord]) -> Checked {
        let mut seen = BTreeSet::new();
        for stage in stages {
            let key = (stage.run, stage.no);
            if !seen.insert(key) {
                return Err(format!("{key:?} comes twice in one transaction"));
            }
            let before = self.stages.insert(key, stage.clone());
            // One that was cut off goes on when its results are delivered again.
            if before.is_some_and(|before| before.ended.is_some_and(|end| !end.is_cut_off())) {
                return Err(format!("{key:?} had ended and changed"));
            }
        }
        for stage in stages {
            self.check_order(stage)?;
            if let Cursor::Each(elements) = &stage.cursor
                && elements.open() > 256
            {
                return Err(format!("{} elements are open in {stage:?}", elements.open()));
            }
        }
        Ok(())
    }

    fn check_order(&self, stage: &StageRecord) -> Checked {
        let Some(parent) = stage.parent else { return Ok(()) };
        let plan = &self.runs.get(&stage.run).ok_or("a stage without a run")?.spec.plan;
        let parent = self.stages.get(&(stage.run, parent)).ok_or("a stage without its parent")?;
        let Body::Group(group) = &plan.block(parent.block).body else { return Ok(()) };
        let place = group.of.iter().position(|of| *of == stage.block).ok_or("not of its group")?;
        for before in &group.after[place] {
            let block = group.of[usize::from(*before)];
            let earlier = self.stages_of(stage.run).find(|other| {
                other.block == block && other.parent == stage.parent && other.ended.is_some()
            });
            if earlier.is_none() {
                return Err(format!("{stage:?} was opened before block {block:?} had ended"));
            }
        }
        Ok(())
    }

    fn stages_of(&self, run: RunId) -> impl Iterator<Item = &StageRecord> {
        let all = (run, StageNo::new(0))..=(run, StageNo::MAX);
        self.stages.range(all).map(|(_, stage)| stage)
    }

    /// The run that this one is a part of, or itself.
    pub fn root_of(&self, run: RunId) -> RunId {
        let parent = self.runs.get(&run).and_then(|run| run.spec.parent());
        parent.map_or(run, |parent| self.root_of(parent.run))
    }

    /// An attempt is paid in the transaction that ends it, and nothing else is.
    fn check_captures(&self, changes: &Changes) -> Checked {
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

    pub fn is_done(&self, task: TaskRef) -> bool {
        self.tasks.get(&task).is_some_and(|task| task.state == TaskState::Done)
    }

    pub fn tasks_of(&self, run: RunId) -> impl Iterator<Item = &TaskRecord> {
        let first = TaskRef { run, stage: StageNo::new(0), index: 0 };
        let last = TaskRef { run, stage: StageNo::MAX, index: u32::MAX };
        self.tasks.range(first..=last).map(|(_, task)| task)
    }

    /// What the server reads when it starts.
    pub fn load(&self) -> Stored {
        let open = self.runs.values().filter(|run| !run.state.is_final());
        let (stopping, live): (Vec<&RunRecord>, Vec<&RunRecord>) =
            open.partition(|run| run.state == RunState::Ending);
        let tasks: Vec<TaskRecord> = live
            .iter()
            .flat_map(|run| self.tasks_of(run.id))
            .filter(|task| !is_final(task))
            .cloned()
            .collect();
        let operators = tasks
            .iter()
            .filter(|task| task.state == TaskState::Leased)
            .filter_map(|task| task.node)
            .map(|node| (node, operator_of(node)))
            .collect();
        let runs = live.into_iter().map(|record| self.load_run(record)).collect();
        let ledger = Ledger::load(self.balances.clone(), self.transfers.clone());
        Stored {
            runs,
            stopping: stopping.into_iter().cloned().collect(),
            tasks,
            operators,
            ledger,
            statements: self.statements.clone(),
            records: self.records.clone(),
            windows: self.windows.clone(),
            unreadable: Vec::new(),
            schedules: self.timetables.schedules.values().filter_map(world::planned).collect(),
            queues: self.queues.iter().map(|(id, rules)| (*id, *rules)).collect(),
            caps: self.caps.iter().map(|((of, name), cap)| (*of, name.clone(), *cap)).collect(),
        }
    }

    /// A run as the server reads it, ended or not.
    pub fn run(&self, id: RunId) -> Option<Run> {
        self.runs.get(&id).map(|record| self.load_run(record))
    }

    /// A run that has ended and those that its open stages wait for, as the server reads them.
    pub fn interrupted(&self, id: RunId) -> Vec<Interrupted> {
        let Some(run) = self.run(id) else { return Vec::new() };
        let is_failed = |task: &&TaskRecord| task.state == TaskState::Failed;
        let tasks = self.tasks_of(id).filter(is_failed).cloned().collect();
        let parts: Vec<RunId> = run.children().collect();
        let mut all = vec![Interrupted { run, tasks }];
        all.extend(parts.into_iter().flat_map(|part| self.interrupted(part)));
        all
    }

    fn load_run(&self, record: &RunRecord) -> Run {
        let all = (record.id, BlockId::ROOT)..=(record.id, BlockId::new(u16::MAX));
        let tables = self.tables.range(all);
        let run = tables.fold(Run::load(record.clone()), |run, ((_, block), table)| {
            run.with_table(*block, table.clone())
        });
        let is_open = |stage: &&StageRecord| stage.ended.is_none_or(StageEnd::is_cut_off);
        let open = self.stages_of(record.id).filter(is_open);
        let run = open.fold(run, Run::with_stage);
        let all = (record.id, StageNo::new(0))..=(record.id, StageNo::MAX);
        let resolutions = self.resolutions.range(all);
        let run = resolutions.fold(run, |run, ((_, no), of)| run.with_resolution(*no, of.clone()));
        let all = (record.id, 0)..=(record.id, u32::MAX);
        self.values.range(all).fold(run, |run, (_, value)| run.with_value(value.clone()))
    }
}

fn is_final(task: &TaskRecord) -> bool {
    matches!(task.state, TaskState::Done | TaskState::Failed)
}
