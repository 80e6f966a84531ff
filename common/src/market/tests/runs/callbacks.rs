//! Callbacks: each end of a run is told once, by a run that is stored with it.

use super::*;
use crate::plan::{BlockId, Body, Plan};
use crate::run::callback::{Callback, RunEvent};
use crate::run::cause::{Cause, CauseKind};
use crate::run::spec::Origin;

fn callback(on: &[RunEvent]) -> Callback {
    let task = testing::call("https://h.example/", 0);
    Callback { on: on.iter().copied().collect(), when: None, task }
}

/// A market with a run of a call that has these callbacks.
fn with_callbacks(balance: &str, callbacks: Vec<Callback>) -> Market {
    let mut market = funded(balance);
    let plan = testing::call_plan(testing::call("https://h.example/", 0));
    let spec = RunSpec { callbacks, ..testing::order_plan(CUSTOMER, plan) };
    market.start_run(RUN, Arc::new(spec), at(0)).unwrap();
    market.drain();
    market
}

/// What a run of a callback sends.
fn event(plan: &Plan) -> serde_json::Value {
    let bodies = plan.blocks().filter_map(|(_, block)| match &block.body {
        Body::Call(task) => task.call.body.as_deref(),
        Body::Group(_) | Body::Each(_) | Body::Child(_) | Body::Container(_) | Body::Data(_) => {
            None
        }
    });
    serde_json::from_str(bodies.into_iter().next().unwrap()).unwrap()
}

#[test]
fn callback_is_started_in_the_transaction_of_the_end_and_says_how_it_was() {
    let mut market =
        with_callbacks("1", vec![callback(&[RunEvent::Succeeded]), callback(&[RunEvent::Failed])]);

    market.break_off(RUN, Cause::new(CauseKind::Server, "gone"), at(7)).unwrap();

    let changes = market.drain();
    let ended = changes.runs.iter().find(|run| run.id == RUN).unwrap();
    assert_eq!(ended.state, RunState::Failed);
    let told: Vec<_> = changes.runs.iter().filter(|run| run.id != RUN).collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].id, RUN.of_callback(1, at(7)));
    assert_eq!(told[0].spec.origin, Origin::Callback(RUN));
    assert!(changes.new_runs.contains(&told[0].id));
    let event = event(&told[0].spec.plan);
    assert_eq!(event["type"], "run.failed");
    assert_eq!(event["data"]["run"], RUN.to_string());
    assert_eq!(event["data"]["cause"]["kind"], "server");
    assert_eq!(event["data"]["cause"]["message"], "gone");
    assert_eq!(event["data"]["price"], "0.00000000");
    assert_eq!(market.check(), Ok(()));
}

#[test]
fn callback_of_a_cancelled_run_waits_until_nothing_of_it_runs() {
    let mut market = with_callbacks("1", vec![callback(&RunEvent::ENDS)]);

    market.cancel(RUN, "enough".to_owned(), at(3)).unwrap();

    // No node holds anything of it, so it is cancelled at once.
    let changes = market.drain();
    let told: Vec<_> = changes.runs.iter().filter(|run| run.id != RUN).collect();
    assert_eq!(told.len(), 1);
    assert_eq!(event(&told[0].spec.plan)["type"], "run.cancelled");
    assert_eq!(market.check(), Ok(()));
}

#[test]
fn callback_that_the_wallet_cannot_pay_has_failed() {
    let price = testing::call("https://h.example/", 0).price;
    // Enough for the run itself and for nothing else.
    let mut market = with_callbacks(&price.to_string(), vec![callback(&RunEvent::ENDS)]);
    market.dispatch(at(0));
    let lease = market.drain().calls[0];
    market.call_ended(lease, crate::call::Report::Ended(testing::answer(200)), at(1));

    let changes = market.drain();
    let told = changes.runs.iter().find(|run| run.id != RUN).unwrap();
    assert_eq!(told.state, RunState::Failed);
    assert_eq!(told.cause.as_ref().unwrap().kind, CauseKind::Credits);
    assert_eq!(market.check(), Ok(()));
}

#[test]
fn callbacks_do_not_count_as_runs_of_their_job() {
    let mut market = with_callbacks("1", vec![callback(&RunEvent::ENDS)]);
    let job = market.run(RUN).unwrap().spec.job;

    market.break_off(RUN, Cause::new(CauseKind::Server, "gone"), at(1)).unwrap();

    assert!(market.run(RUN.of_callback(0, at(1))).is_some());
    assert_eq!(market.runs_of(job).count(), 0);
    assert_eq!(market.check(), Ok(()));
}

#[test]
fn callback_is_told_that_its_run_is_worked_on() {
    let on = [RunEvent::Running, RunEvent::Failed];
    let mut market = with_callbacks("1", vec![callback(&on), callback(&[RunEvent::Succeeded])]);

    market.dispatch(at(2));

    let changes = market.drain();
    let told: Vec<_> = changes.runs.iter().filter(|run| run.id != RUN).collect();
    assert_eq!(told.len(), 1);
    let event = event(&told[0].spec.plan);
    assert_eq!((&event["type"], &event["data"]["ended_at"]), (&"run.running".into(), &().into()));
    assert_eq!(told[0].spec.scope.event["state"], "running");
    assert_eq!(told[0].spec.scope.event["ended_at"], "");
    market.break_off(RUN, Cause::new(CauseKind::Server, "gone"), at(2)).unwrap();
    let again = market.drain();
    let told: Vec<_> = again.new_runs.iter().collect();
    assert_eq!(told.len(), 1);
    assert_eq!(market.check(), Ok(()));
}

#[test]
fn callback_reads_what_has_become_of_its_run() {
    let when =
        Some("{{ event.state == 'failed' && event.error contains 'gone' }}".parse().unwrap());
    let mut market = with_callbacks("1", vec![Callback { when, ..callback(&RunEvent::ENDS) }]);

    market.break_off(RUN, Cause::new(CauseKind::Server, "gone away"), at(7)).unwrap();

    let changes = market.drain();
    let told = changes.runs.iter().find(|run| run.id != RUN).unwrap();
    let asked: Vec<_> = changes.questions.iter().map(|(run, _)| *run).collect();
    assert_eq!(asked, [told.id]);
    let frozen = market.run(told.id).unwrap().frozen(BlockId::ROOT.stage()).unwrap();
    assert!(!frozen.resolve().unwrap().is_skipped);
    assert_eq!(market.check(), Ok(()));
}
