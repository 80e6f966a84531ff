//! What operators are told of their nodes.

use super::*;
use crate::market::{Idle, NodeView};

fn view(market: &Market, n: u128, secs: i64) -> NodeView {
    market.nodes_of(&[node(n)], at(secs))[0]
}

fn idle(market: &Market, n: u128, secs: i64) -> Option<Idle> {
    view(market, n, secs).live.expect("a node that is heard").idle
}

#[test]
fn node_without_work_has_that_reason() {
    let mut market = funded("100");
    hear(&mut market, 1, holds(&[]), 0);

    assert_eq!(idle(&market, 1, 0), Some(Idle::NoWork));
    assert_eq!(view(&market, 1, 0).heard_at, Some(at(0)));
}

#[test]
fn node_too_small_for_the_waiting_tasks_has_that_reason() {
    let mut market = processing(1, Limits::default());
    let mut heard = holds(&[]);
    heard.sync.capacity = Resources::new(1, 1);
    hear(&mut market, 1, heard, 0);
    market.dispatch(at(0));

    let Some(Idle::Unfit { runs, obstacles, aside_until }) = idle(&market, 1, 0) else {
        panic!("{:?}", idle(&market, 1, 0))
    };
    assert_eq!((runs, obstacles.unfit(), aside_until), (1, 1, None));
}

#[test]
fn node_with_tasks_is_not_idle_and_a_silent_one_shows_since_when() {
    let mut market = processing(1, Limits::default());
    hear(&mut market, 1, holds(&[]), 0);
    market.dispatch(at(0));
    let live = view(&market, 1, 0).live.unwrap();
    assert_eq!((live.tasks, live.idle), (1, None));

    market.tick(at(600));

    let silent = view(&market, 1, 600);
    assert!(silent.live.is_none() && silent.heard_at.is_some(), "{silent:?}");
    assert_eq!(view(&market, 2, 600).heard_at, None);
}

#[test]
fn removed_node_loses_its_tasks_to_others() {
    let mut market = processing(1, Limits::default());
    hear(&mut market, 1, holds(&[]), 0);
    market.dispatch(at(0));
    assert_eq!(leased(&market, 1).len(), 1);
    hear(&mut market, 2, holds(&[]), 1);

    market.remove_node(node(1), at(1));
    assert!(view(&market, 1, 1).live.is_none());
    market.tick(at(20));
    hear(&mut market, 2, holds(&[]), 21);
    assert_eq!(leased(&market, 2).len(), 1);
}
