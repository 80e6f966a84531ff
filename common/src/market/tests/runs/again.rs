//! Runs that have ended and go on: their results are delivered again, or what is not done is done.

use std::collections::BTreeMap;

use super::*;
use crate::money::ledger::{Kind, Posting};
use crate::money::statement::Line;
use crate::plan::{Block, BlockId, Body, Child, ContainerTask, Group, Plan, Reads};
use crate::run::cause::{Cause, CauseKind};
use crate::run::scheduling::TaskPriority;

/// The stage of the delivery of a pipeline with built-in engines.
const DELIVERY: StageNo = StageNo::new(4);

/// Ends the run as failed, and gives what was stored of it.
fn failed(market: &mut Market, secs: i64) -> (Run, Changes) {
    let cause = Cause::new(CauseKind::Destination, "refused");
    market.break_off(RUN, cause, at(secs)).unwrap();
    let changes = market.drain();
    (ended(&changes), changes)
}

/// A run that has ended, with the stages that were open at its end.
fn ended(changes: &Changes) -> Run {
    let record = changes.runs.iter().find(|run| run.id == RUN).unwrap().clone();
    let cut_off =
        changes.stages.iter().filter(|stage| stage.ended.is_some_and(StageEnd::is_cut_off));
    cut_off.fold(Run::load(record), Run::with_stage)
}

/// A run of one chunk whose task is done and paid, and whose results are being folded.
fn folding(limits: Limits) -> Market {
    let mut market = processing(1, limits);
    hear(&mut market, 0, holds(&[]), 0);
    hear(&mut market, 0, holds(&[(lease(0, 1), 1)]), 1);
    hear(&mut market, 0, succeeds(lease(0, 1)), 2);
    assert_eq!(market.run(RUN).unwrap().phase(), Some(Phase::Assemble));
    market
}

#[test]
fn redelivery_is_free_and_writes_no_second_line() {
    let mut market = folding(Limits::default());
    let (run, before) = failed(&mut market, 3);
    let paid = market.pending(OPERATOR);
    assert!(paid > Credits::ZERO);
    assert_eq!(before.lines.iter().filter(|line| line.debit().is_some()).count(), 1);

    market.deliver_again(run, at(100)).unwrap();

    assert_eq!(market.check(), Ok(()));
    let begun = market.drain();
    assert_eq!(begun.steps, [(RUN, DELIVERY)]);
    assert_eq!(begun.runs[0].state, RunState::Running);
    assert_eq!(begun.runs[0].cause, None);
    market.step_done(RUN, DELIVERY, None, at(101));
    let ended = market.drain();
    assert_eq!(ended.runs[0].state, RunState::Succeeded);
    assert!(ended.lines.is_empty() && ended.transfers.is_empty(), "{ended:?}");
    assert_eq!(market.pending(OPERATOR), paid);
}

#[test]
fn redelivery_may_fail_again_and_has_the_whole_job_timeout() {
    let limits = Limits { job_timeout_secs: Some(60), ..Limits::default() };
    let mut market = folding(limits);
    let (run, _) = failed(&mut market, 3);
    market.deliver_again(run, at(100)).unwrap();
    market.tick(at(150));
    assert!(market.run(RUN).is_some());

    market.tick(at(161));

    let changes = market.drain();
    assert_eq!(changes.runs[0].error(), Some("the job timeout has passed"));
    market.deliver_again(ended(&changes), at(200)).unwrap();
    market.tick(at(201));
    assert!(market.run(RUN).is_some());
}

#[test]
fn redelivery_that_needs_nodes_is_refused() {
    let mut market = processing(2, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    hear(&mut market, 0, succeeds(lease(0, 1)), 2);
    let (run, _) = failed(&mut market, 3);

    assert_eq!(market.deliver_again(run, at(4)), Err(Refused::NotDeliverable));
    assert!(market.run(RUN).is_none());
}

#[test]
fn redelivery_of_an_active_or_succeeded_run_is_refused() {
    let mut market = folding(Limits::default());
    let (run, before) = failed(&mut market, 3);
    market.deliver_again(run, at(4)).unwrap();
    let twice = market.deliver_again(ended(&before), at(5));
    assert_eq!(twice, Err(Refused::NotDeliverable));

    market.step_done(RUN, DELIVERY, None, at(6));

    let succeeded = ended(&market.drain());
    assert_eq!(market.deliver_again(succeeded, at(7)), Err(Refused::NotDeliverable));
}

/// What is stored of a run by these changes, the later after the earlier.
fn interrupted(all: &[Changes], id: RunId) -> Interrupted {
    let runs = || all.iter().flat_map(|changes| &changes.runs);
    let mut run = Run::load(runs().rfind(|run| run.id == id).unwrap().clone());
    for (_, block, table) in all.iter().flat_map(|changes| &changes.tables) {
        run = run.with_table(*block, ChunkTable::clone(table));
    }
    let (mut stages, mut tasks) = (BTreeMap::new(), BTreeMap::new());
    for changes in all {
        let own = changes.stages.iter().filter(|stage| stage.run == id);
        stages.extend(own.map(|stage| (stage.no, stage.clone())));
        let own = changes.tasks.iter().filter(|task| task.task.run == id);
        tasks.extend(own.map(|task| (task.task, task.clone())));
    }
    let cut_off = stages.values().filter(|stage| stage.ended.is_some_and(StageEnd::is_cut_off));
    let run = cut_off.fold(run, Run::with_stage);
    let tasks = tasks.into_values().filter(|task| task.state == TaskState::Failed).collect();
    Interrupted { run, tasks }
}

fn debits(changes: &Changes) -> Vec<Credits> {
    changes.lines.iter().filter_map(Line::debit).collect()
}

#[test]
fn retry_does_what_is_not_done_and_bills_only_that() {
    let mut market = processing(3, Limits::default());
    let mut all = vec![market.drain()];
    hear(&mut market, 0, holds(&[]), 0);
    hear(&mut market, 0, holds(&[(lease(0, 1), 1), (lease(1, 1), 1)]), 1);
    hear(&mut market, 0, succeeds(lease(0, 1)), 2);
    hear(&mut market, 0, fails(lease(1, 1)), 3);
    all.push(market.drain());
    let before = market.pending(OPERATOR);
    assert_eq!(debits(&all[1]), [before]);

    market.retry(vec![interrupted(&all, RUN)], at(10)).unwrap();

    assert_eq!(market.check(), Ok(()));
    assert_eq!((tasks(&market).len(), market.run(RUN).unwrap().counts().done), (3, 1));
    let begun = market.drain();
    assert_eq!(begun.runs[0].state, RunState::Running);
    assert!(begun.tasks.iter().all(|task| task.state == TaskState::Waiting));
    // What the last attempt cost stays among the task's attempts.
    assert!(begun.reopened.iter().any(|task| task.task == lease(1, 1).task));
    hear(&mut market, 0, holds(&[]), 10);
    let again = leased(&market, 0);
    assert!(again.contains(&lease(1, 2)) && !again.iter().any(|of| of.task == lease(0, 1).task));
    hear(&mut market, 0, succeeds(lease(1, 2)), 11);
    let last = leased(&market, 0).into_iter().next().unwrap();
    hear(&mut market, 0, succeeds(last), 12);
    market.step_done(RUN, DELIVERY, None, at(13));
    let ended = market.drain();
    assert_eq!(ended.runs[0].state, RunState::Succeeded);
    assert_eq!(ended.runs[0].billed, ended.runs[0].captured);
    let after = market.pending(OPERATOR);
    assert_eq!(debits(&ended), [after.checked_sub(before).unwrap()]);
    assert_eq!(market.balance(Account::Held(CUSTOMER)), Credits::ZERO);
}

#[test]
fn cancelled_run_is_retried_once_its_nodes_have_stopped() {
    let mut market = processing(2, Limits::default());
    let mut all = vec![market.drain()];
    hear(&mut market, 0, holds(&[]), 0);
    hear(&mut market, 0, holds(&[(lease(0, 1), 1)]), 1);
    market.cancel(RUN, "enough".to_owned(), at(2)).unwrap();
    all.push(market.drain());
    let early = market.retry(vec![interrupted(&all, RUN)], at(3));
    assert_eq!(early, Err(Refused::Stopping));

    hear(&mut market, 0, holds(&[]), 4);
    all.push(market.drain());
    assert_eq!(all[2].runs[0].state, RunState::Cancelled);
    market.retry(vec![interrupted(&all, RUN)], at(5)).unwrap();
    hear(&mut market, 0, holds(&[]), 6);

    assert!(leased(&market, 0).contains(&lease(0, 2)));
}

#[test]
fn retry_is_refused_where_it_cannot_help_or_be_paid() {
    let mut market = processing(1, Limits::default());
    let first = market.drain();
    hear(&mut market, 0, holds(&[]), 0);
    let cause = Cause::new(CauseKind::Plan, "tasks.x is not there");
    market.break_off(RUN, cause, at(1)).unwrap();
    let all = [first, market.drain()];
    let refused = market.retry(vec![interrupted(&all, RUN)], at(2));
    assert_eq!(refused, Err(Refused::SamePlan));

    let mut market = processing(1, Limits::default());
    let first = market.drain();
    hear(&mut market, 0, holds(&[]), 0);
    hear(&mut market, 0, fails(lease(0, 1)), 1);
    let all = [first, market.drain()];
    let rest = market.balance(Account::Available(CUSTOMER));
    let posting = Posting {
        from: Account::Available(CUSTOMER),
        to: Account::World(Shard::of(CUSTOMER)),
        amount: rest,
        kind: Kind::Storage,
        run: None,
        lease: None,
        request: None,
    };
    market.post(posting, at(2)).unwrap();
    let poor = market.retry(vec![interrupted(&all, RUN)], at(3));
    assert!(matches!(poor, Err(Refused::Wallet { .. })), "{poor:?}");
    assert!(market.run(RUN).is_none());
    assert_eq!(market.check(), Ok(()));

    market.grant(CUSTOMER, credits("10"), "gift", at(4)).unwrap();
    market.retry(vec![interrupted(&all, RUN)], at(5)).unwrap();
    let twice = market.retry(vec![interrupted(&all, RUN)], at(6));
    assert_eq!(twice, Err(Refused::NotRetryable));
}

fn plain_task() -> Block {
    let task = ContainerTask {
        container: container(),
        reads: Reads::Nothing,
        timeout_secs: 3600,
        retries: 0,
        waits: None,
        require_results: false,
        deterministic: false,
        priority: TaskPriority::default(),
        is_reserved: false,
        queue: None,
    };
    Block::new("task", Body::Container(Box::new(task)))
}

#[test]
fn retry_goes_on_with_the_parts_of_a_run() {
    let child = Plan::new(vec![plain_task()]).unwrap();
    let part = Child { name: None, plan: child, inputs: [].into(), detached: false };
    let group = Group::sequence(vec![BlockId::new(1), BlockId::new(2)]);
    let blocks = vec![
        Block::new("run", Body::Group(group)),
        plain_task(),
        Block::new("part", Body::Child(Box::new(part))),
    ];
    let mut market = funded("1000");
    let spec = testing::order_plan(CUSTOMER, Plan::new(blocks).unwrap());
    market.start_run(RUN, Arc::new(spec), at(0)).unwrap();
    hear(&mut market, 0, holds(&[]), 0);
    let first = leased(&market, 0)[0];
    hear(&mut market, 0, succeeds(first), 1);
    let in_part = leased(&market, 0)[0];
    assert_ne!(in_part.task.run, RUN);
    hear(&mut market, 0, fails(in_part), 2);
    let all = [market.drain()];
    let failed = all[0].runs.iter().filter(|run| run.state == RunState::Failed).count();
    assert_eq!(failed, 2);

    let both = vec![interrupted(&all, RUN), interrupted(&all, in_part.task.run)];
    market.retry(both, at(3)).unwrap();
    hear(&mut market, 0, holds(&[]), 4);

    let again = Lease { attempt: 2, ..in_part };
    assert_eq!(leased(&market, 0), [again]);
    hear(&mut market, 0, succeeds(again), 5);
    let ended = market.drain();
    assert!(ended.runs.iter().all(|run| run.state == RunState::Succeeded), "{ended:?}");
    assert_eq!(market.balance(Account::Held(CUSTOMER)), Credits::ZERO);
}
