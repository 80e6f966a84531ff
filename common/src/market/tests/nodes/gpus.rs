//! GPUs: counted, shared out one for a task, and explained.

use super::*;

/// A market with one run whose tasks need a GPU of one of these names.
fn wanting(gpus: &[&str], chunks: u32) -> Market {
    let mut market = funded("1000");
    let limits = Limits { task_retries: 9, ..Limits::default() };
    let mut pipeline = Pipeline { limits, ..pipeline() };
    pipeline.process.gpus = gpus.iter().map(|name| (*name).to_owned()).collect();
    start_cut(&mut market, RUN, testing::order(CUSTOMER, &pipeline), chunks, at(0));
    market
}

/// A large node with these GPUs that fetches nothing ahead.
fn with(gpus: &[&str]) -> CheckedSync {
    let mut heard = holds(&[]);
    heard.sync.capacity = Resources::new(100_000, 100_000);
    heard.sync.prefetch = 0;
    heard.sync.device.gpus = gpus.iter().map(|name| (*name).to_owned()).collect();
    heard
}

fn given(market: &Market) -> Vec<Option<String>> {
    let Some(Orders::Work { assign, .. }) = market.orders(node(0), vec![]) else { return vec![] };
    assign.into_iter().map(|assignment| assignment.gpu).collect()
}

#[test]
fn task_gets_one_gpu_of_any_accepted_name_and_a_node_one_task_per_gpu() {
    let mut market = wanting(&["NVIDIA A100", "Tesla T4"], 9);

    hear(&mut market, 0, with(&["tesla t4", "Tesla T4", "nvidia a100", "GTX 970"]), 0);

    let mut given = given(&market);
    given.sort();
    let names = ["nvidia a100", "tesla t4", "tesla t4"];
    assert_eq!(given, names.map(|name| Some(name.to_owned())));
    let waits = obstacles(&market, 0);
    assert_eq!((waits.busy, waits.without_gpu), (1, 0));
}

#[test]
fn node_without_the_gpu_gets_no_task_and_is_counted() {
    let mut market = wanting(&["Tesla T4"], 9);

    hear(&mut market, 0, with(&["GTX 970"]), 0);
    hear(&mut market, 1, with(&[]), 0);

    assert_eq!((leased(&market, 0).len(), leased(&market, 1).len()), (0, 0));
    let waits = obstacles(&market, 0);
    assert_eq!((waits.without_gpu, waits.unfit(), waits.nodes), (2, 2, 2));
}

#[test]
fn task_without_a_gpu_request_gets_none() {
    let mut market = wanting(&[], 4);

    hear(&mut market, 0, with(&["Tesla T4"]), 0);

    assert_eq!(given(&market), vec![None; 4]);
}

#[test]
fn gpu_is_free_again_when_its_task_has_ended() {
    let mut market = wanting(&["Tesla T4"], 9);
    hear(&mut market, 0, with(&["Tesla T4"]), 0);
    let ends = [succeeds(lease(0, 1)), fails(lease(1, 1)), faults(lease(2, 1))];

    for (end, next) in ends.into_iter().zip([lease(1, 1), lease(2, 1), lease(3, 1)]) {
        let report = CheckedSync { sync: with(&["Tesla T4"]).sync, ..end };
        hear(&mut market, 0, report, 1);

        assert_eq!(leased(&market, 0), [next]);
    }
}

#[test]
fn task_ahead_waits_for_a_gpu_on_its_node() {
    let mut market = wanting(&["Tesla T4"], 9);
    let mut heard = with(&["Tesla T4"]);
    heard.sync.prefetch = 1;

    hear(&mut market, 0, heard, 0);

    assert_eq!(leased(&market, 0).len(), 2);
}

#[test]
fn gpus_in_use_are_counted_after_a_restart() {
    let mut market = wanting(&["Tesla T4"], 9);
    hear(&mut market, 0, with(&["Tesla T4", "Tesla T4"]), 0);

    let mut market = Market::load(Policy::default(), stored(market.drain()), at(1));
    let mut heard = with(&["Tesla T4", "Tesla T4"]);
    heard.sync.holding = holds(&[(lease(0, 1), 1), (lease(1, 1), 1)]).sync.holding;
    hear(&mut market, 0, heard, 1);

    assert_eq!(leased(&market, 0), [lease(0, 1), lease(1, 1)]);
}
