//! Callbacks that are told of the blocks of a run: of those that are opened once.

use super::flow::{block, does, each, group, large, task};
use super::*;
use crate::call::Report;
use crate::plan::{Block, BlockId, Body, Plan};
use crate::run::callback::{Callback, RunEvent};
use crate::run::task::TaskRef;

/// A market with a run of this plan that tells these events.
fn told_of(on: &[RunEvent], blocks: Vec<Block>) -> Market {
    let mut market = funded("1000");
    let task = testing::call("https://h.example/", 0);
    let callbacks = vec![Callback { on: on.iter().copied().collect(), when: None, task }];
    let plan = Plan::new(blocks).unwrap();
    let spec = RunSpec { callbacks, ..testing::order_plan(CUSTOMER, plan) };
    market.start_run(RUN, Arc::new(spec), at(0)).unwrap();
    market
}

/// What receivers are told since the last time, as values of these names.
fn told(market: &mut Market, names: &[&str]) -> Vec<String> {
    let changes = market.drain();
    let new = |run: &&RunRecord| run.id != RUN && changes.new_runs.contains(&run.id);
    let mut told: Vec<String> = changes
        .runs
        .iter()
        .filter(new)
        .map(|run| {
            let event = &run.spec.scope.event;
            let values: Vec<&str> =
                names.iter().filter_map(|name| event.get(*name)).map(String::as_str).collect();
            values.join(" ")
        })
        .collect();
    told.sort();
    told
}

fn named(name: &str, of: Block) -> Block {
    Block { name: name.to_owned(), ..of }
}

fn call() -> Block {
    block(Body::Call(Box::new(testing::call("https://h.example/", 0))))
}

/// The blocks a and b one after the other.
fn sequence(a: Block, b: Block) -> Vec<Block> {
    vec![group(&[1, 2], &[&[], &[0]]), named("a", a), named("b", b)]
}

const BLOCK: [&str; 3] = ["block", "block_state", "block_place"];

#[test]
fn callback_is_told_when_a_block_is_worked_on_and_when_it_has_ended() {
    let mut market = told_of(&[RunEvent::Block], sequence(task(), task()));
    // Nothing is told of what waits.
    assert!(told(&mut market, &BLOCK).is_empty());

    hear(&mut market, 0, large(holds(&[])), 1);
    assert_eq!(told(&mut market, &BLOCK), ["a running 1"]);
    does(&mut market, &[1], 2);
    assert_eq!(told(&mut market, &BLOCK), ["a succeeded 1", "b running 2"]);
    does(&mut market, &[2], 3);

    assert_eq!(told(&mut market, &BLOCK), ["b succeeded 2"]);
    assert!(market.run(RUN).is_none());
}

#[test]
fn callback_is_told_of_a_list_and_not_of_its_elements() {
    let inner = group(&[3, 4], &[&[], &[]]);
    let blocks = vec![group(&[1], &[&[]]), each(3, 2, None), inner, task(), task()];
    let mut market = told_of(&[RunEvent::Block], blocks);
    hear(&mut market, 0, large(holds(&[])), 1);
    let all = leased(&market, 0);
    assert_eq!(all.len(), 6);

    let receipts = all.into_iter().flat_map(|lease| succeeds(lease).receipts).collect();
    hear(&mut market, 0, CheckedSync { receipts, ..large(holds(&[])) }, 2);

    assert_eq!(told(&mut market, &BLOCK[1..]), ["running 1", "succeeded 1"]);
}

#[test]
fn callback_is_told_which_block_has_failed_and_which_were_cut_off() {
    let side_by_side = vec![group(&[1, 2], &[&[], &[]]), named("a", task()), named("b", task())];
    let mut market = told_of(&[RunEvent::Block, RunEvent::Failed], side_by_side);
    hear(&mut market, 0, large(holds(&[])), 1);
    let first = leased(&market, 0)[0];
    told(&mut market, &BLOCK);

    hear(&mut market, 0, large(fails(first)), 2);

    let names = ["type", "block", "block_state"];
    assert_eq!(told(&mut market, &names), ["block a failed", "block b cancelled", "failed"]);
}

#[test]
fn callback_is_told_of_a_call_that_has_failed() {
    let mut market = told_of(&[RunEvent::Block], sequence(call(), call()));
    market.dispatch(at(1));
    let lease = market.drain().calls.into_iter().find(|lease| lease.task.run == RUN).unwrap();

    market.call_ended(lease, Report::Ended(testing::answer(500)), at(2));

    assert_eq!(told(&mut market, &BLOCK), ["a failed 1"]);
    assert_eq!(market.check(), Ok(()));
}

#[test]
fn callback_is_told_how_many_outermost_blocks_have_ended() {
    let mut market = told_of(&[RunEvent::Progress], sequence(task(), task()));
    let names = ["type", "state", "blocks_done", "blocks_total"];
    hear(&mut market, 0, large(holds(&[])), 1);
    assert!(told(&mut market, &names).is_empty());

    does(&mut market, &[1], 2);
    assert_eq!(told(&mut market, &names), ["progress running 1 2"]);
    does(&mut market, &[2], 3);

    assert_eq!(told(&mut market, &names), ["progress running 2 2"]);
}

#[test]
fn callbacks_of_one_block_are_runs_of_their_own() {
    // All of it begins and ends at once.
    let empty = each(0, 2, None);
    let blocks = vec![group(&[1, 3], &[&[], &[0]]), empty, task(), each(0, 4, None), task()];
    let mut market = told_of(&[RunEvent::Block, RunEvent::Progress], blocks);

    let told = told(&mut market, &["type", "block_task"]);

    let task = |block: u16| TaskRef::of_stage(RUN, BlockId::new(block).stage()).id();
    let mut expected: Vec<String> = ["block", "progress"]
        .iter()
        .flat_map(|kind| [1, 3].map(|block| format!("{kind} {}", task(block))))
        .collect();
    expected.sort();
    assert_eq!(told, expected);
    assert_eq!(market.check(), Ok(()));
}
