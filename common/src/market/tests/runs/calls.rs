//! Calls: leased to the server, made again, paid for once.

use super::*;
use crate::call::{Answer, CallTask, Report, Retry, Waits};
use crate::plan::{Block, BlockId, Body, Each, List, Plan};

const TASK: TaskRef = TaskRef { run: RUN, stage: StageNo::new(0), index: 0 };

fn attempt(attempt: u32) -> Lease {
    Lease { task: TASK, attempt }
}

fn started(task: CallTask) -> Market {
    let mut market = funded("1");
    start(&mut market, RUN, testing::call_plan(task));
    market
}

fn start(market: &mut Market, run: RunId, plan: Plan) {
    let spec = testing::order_plan(CUSTOMER, plan);
    market.start_run(run, Arc::new(spec), at(0)).unwrap();
}

/// Begins what can begin; gives it with everything that is to be stored.
fn begin(market: &mut Market, secs: i64) -> (Vec<Lease>, Changes) {
    market.tick(at(secs));
    market.dispatch(at(secs));
    assert_eq!(market.check(), Ok(()));
    let changes = market.drain();
    (changes.calls.clone(), changes)
}

fn ends(market: &mut Market, lease: Lease, status: u16, secs: i64) {
    market.call_ended(lease, Report::Ended(testing::answer(status)), at(secs));
    assert_eq!(market.check(), Ok(()));
}

fn with_waits(waits: Vec<u32>) -> CallTask {
    let retry = Retry { waits: Waits::Table(waits), honours_retry_after: true };
    CallTask { retry, ..testing::call("https://h.example/", 0) }
}

fn state(changes: &Changes) -> (TaskState, u32, u32) {
    let task = changes.tasks.iter().find(|task| task.task == TASK).unwrap();
    (task.state, task.attempt, task.failures)
}

#[test]
fn call_that_is_accepted_ends_its_run_and_is_paid_once() {
    let task = testing::call("https://h.example/", 0);
    let price = task.price;
    let mut market = started(task);
    assert_eq!(market.balance(Account::Held(CUSTOMER)), price);

    let (begun, changes) = begin(&mut market, 0);
    assert_eq!(begun, [attempt(1)]);
    assert_eq!(state(&changes), (TaskState::Leased, 1, 0));
    ends(&mut market, attempt(1), 204, 1);
    ends(&mut market, attempt(1), 204, 2);

    let (begun, changes) = begin(&mut market, 2);
    assert_eq!(begun, []);
    assert_eq!(state(&changes), (TaskState::Done, 1, 0));
    assert_eq!(changes.ended, [Ended { run: RUN, state: RunState::Succeeded }]);
    assert_eq!(changes.call_answers[0].answer.status, Some(204));
    let paid: Vec<_> = changes.transfers.iter().filter(|t| t.lease.is_some()).collect();
    assert_eq!((paid.len(), paid[0].amount, paid[0].to.is_world()), (1, price, true));
    assert_eq!(changes.lines[0].amount, price);
    assert_eq!(market.balance(Account::Held(CUSTOMER)), Credits::ZERO);
}

#[test]
fn call_that_fails_is_made_again_at_the_times_of_its_table() {
    let mut market = started(with_waits(vec![0, 300, 900]));
    let (mut now, mut begun_at, mut last) = (0, Vec::new(), None);
    while market.run(RUN).is_some() {
        let (begun, changes) = begin(&mut market, now);
        for lease in begun {
            begun_at.push(now);
            ends(&mut market, lease, 503, now);
        }
        last = changes.ended.first().copied().or(last);
        now += 1;
    }
    let changes = market.drain();

    assert_eq!(begun_at, [0, 1, 301, 1_201]);
    assert_eq!(changes.ended, [Ended { run: RUN, state: RunState::Failed }]);
    let cause = changes.runs[0].cause.as_ref().unwrap();
    assert_eq!(cause.message, "the call failed 4 times: the receiver answered 503");
    assert_eq!(market.balance(Account::Available(CUSTOMER)), credits("1"));
}

#[test]
fn call_pause_is_stored_and_survives_a_restart() {
    let mut market = started(with_waits(vec![300]));
    let (begun, first) = begin(&mut market, 0);
    ends(&mut market, begun[0], 500, 10);
    assert_eq!(market.waiting(RUN, at(10)), Some(Waiting::Retry(at(310))));
    let (_, second) = begin(&mut market, 10);
    assert_eq!(second.tasks[0].not_before, Some(at(310)));
    assert_eq!(second.call_answers[0].next_at, Some(at(310)));

    let mut again = restarted(first, second, 20);

    assert_eq!(again.waiting(RUN, at(20)), Some(Waiting::Retry(at(310))));
    assert_eq!(begin(&mut again, 309).0, []);
    assert_eq!(begin(&mut again, 310).0, [attempt(2)]);
}

/// A server that finds what both have stored.
fn restarted(first: Changes, then: Changes, secs: i64) -> Market {
    let mut balances = first.balances;
    for (account, units) in then.balances {
        *balances.entry(account).or_default() += units;
    }
    let transfers = first.transfers.into_iter().chain(then.transfers).collect();
    let runs = if then.runs.is_empty() { first.runs } else { then.runs };
    let stages = if then.stages.is_empty() { first.stages } else { then.stages };
    let tasks = if then.tasks.is_empty() { first.tasks } else { then.tasks };
    let all = Changes { balances, transfers, runs, stages, tasks, ..Changes::default() };
    Market::load(Policy::default(), stored(all), at(secs))
}

#[test]
fn call_under_way_is_lost_with_its_server_and_made_again_without_a_failure() {
    let mut market = started(with_waits(vec![]));
    let (begun, changes) = begin(&mut market, 0);
    assert_eq!(begun, [attempt(1)]);

    let mut again = restarted(changes, Changes::default(), 5);

    let (begun, changes) = begin(&mut again, 5);
    assert_eq!(begun, [attempt(2)]);
    assert_eq!(state(&changes), (TaskState::Leased, 2, 0));
    let lost = changes.call_answers[0].answer.error.as_ref().unwrap();
    assert!(lost.contains("the server stopped"), "{lost}");
    ends(&mut again, attempt(1), 200, 6);
    assert!(again.run(RUN).is_some());
    ends(&mut again, attempt(2), 200, 6);
    assert!(again.run(RUN).is_none());
}

#[test]
fn call_that_the_server_loses_too_often_is_given_up() {
    let mut market = started(with_waits(vec![]));
    for n in 1..=32 {
        let secs = i64::from(n) * 64;
        assert_eq!(begin(&mut market, secs).0, [attempt(n)]);
        market.call_ended(attempt(n), Report::Lost("no socket".to_owned()), at(secs));
    }

    let (begun, changes) = begin(&mut market, 9_999);
    assert_eq!(begun, []);
    let cause = changes.runs[0].cause.as_ref().unwrap();
    assert_eq!(cause.message, "the server lost the call 32 times; at last: no socket");
}

#[test]
fn call_of_a_cancelled_run_is_over_at_once() {
    for begins in [true, false] {
        let mut market = started(with_waits(vec![300]));
        if begins {
            begin(&mut market, 0);
        }
        market.cancel(RUN, "enough".to_owned(), at(1)).unwrap();

        let (begun, changes) = begin(&mut market, 1);
        assert_eq!(begun, []);
        assert_eq!(changes.ended.last(), Some(&Ended { run: RUN, state: RunState::Cancelled }));
        assert_eq!(changes.tasks.len(), usize::from(begins));
        ends(&mut market, attempt(1), 200, 2);
        assert_eq!(market.balance(Account::Available(CUSTOMER)), credits("1"));
    }
}

#[test]
fn receiver_that_asks_for_time_gets_it() {
    let mut market = started(with_waits(vec![10]));
    begin(&mut market, 0);
    let answer = Answer { retry_after_secs: Some(60), ..testing::answer(429) };
    market.call_ended(attempt(1), Report::Ended(answer), at(0));

    assert_eq!(market.waiting(RUN, at(1)), Some(Waiting::Retry(at(60))));
}

#[test]
fn calls_to_one_host_are_limited_and_say_so() {
    let limits = CallLimits { host: 1, ..CallLimits::default() };
    let mut market = funded("1");
    market.policy.calls = limits;
    let other = RunId::new(Uuid::from_u128(9));
    for run in [RUN, other] {
        start(&mut market, run, testing::call_plan(testing::call("https://h.example/", 0)));
    }

    assert_eq!(begin(&mut market, 0).0, [attempt(1)]);
    assert_eq!(market.waiting(RUN, at(0)), None);
    assert_eq!(market.waiting(other, at(0)), Some(Waiting::CallLimit(CallLimit::Host(1))));
    assert_eq!(market.figures().calls_waiting, 1);
    ends(&mut market, attempt(1), 200, 1);
    assert_eq!(begin(&mut market, 1).0.len(), 1);
}

#[test]
fn call_that_the_wallet_does_not_cover_does_not_start() {
    let mut market = funded("0.0005");
    let plan = testing::call_plan(testing::call("https://h.example/", 0));
    let spec = testing::order_plan(CUSTOMER, plan);

    let refused = market.start_run(RUN, Arc::new(spec), at(0));
    assert!(matches!(refused, Err(Refused::Wallet { .. })), "{refused:?}");
}

#[test]
fn calls_of_a_list_end_their_run_where_the_wallet_is_empty() {
    let call = Body::Call(Box::new(testing::call("https://h.example/", 0)));
    let each = Body::Each(Each {
        list: List::Copies(3),
        item: "item".to_owned(),
        body: BlockId::new(1),
        at_once: None,
        first: None,
    });
    let block = |body| Block::new("call", body);
    let mut market = funded("0.0025");
    start(&mut market, RUN, Plan::new(vec![block(each), block(call)]).unwrap());

    let (_, changes) = begin(&mut market, 0);
    let cause = changes.runs.last().unwrap().cause.as_ref().unwrap();
    assert_eq!(cause.kind, crate::run::cause::CauseKind::Credits);
    assert_eq!(market.balance(Account::Available(CUSTOMER)), credits("0.0025"));
    assert_eq!(market.check(), Ok(()));
}
