//! Results that are delivered again after their run has failed.

use super::*;
use crate::run::cause::{Cause, CauseKind};

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
