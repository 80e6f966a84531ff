//! Plans of other shapes than a template's.

use super::*;
use crate::data::location::{Destination, Source};
use crate::market::outbox::Notice;
use crate::plan::{
    Block, BlockId, Body, Child, ContainerTask, Each, Group, List, Partitioner, Plan, Reads,
};
use crate::run::scheduling::TaskPriority;

pub(super) fn block(body: Body) -> Block {
    Block::new("block", body)
}

pub(super) fn task() -> Block {
    block(Body::Container(Box::new(ContainerTask {
        container: container(),
        reads: Reads::Nothing,
        queue: None,
        timeout_secs: 3600,
        retries: 0,
        waits: None,
        require_results: false,
        deterministic: false,
        priority: TaskPriority::default(),
        is_reserved: false,
    })))
}

pub(super) fn group(of: &[u16], after: &[&[u16]]) -> Block {
    let of = of.iter().map(|id| BlockId::new(*id)).collect();
    block(Body::Group(Group { of, after: after.iter().map(|places| places.to_vec()).collect() }))
}

pub(super) fn each(copies: u32, body: u16, at_once: Option<u32>) -> Block {
    let at_once = at_once.map(|n| n.try_into().unwrap());
    let (list, item, body) = (List::Copies(copies), "item".to_owned(), BlockId::new(body));
    block(Body::Each(Each { list, item, body, at_once, first: None }))
}

fn part(plan: Plan) -> Block {
    let child = Child { name: None, plan, inputs: BTreeMap::new(), detached: false };
    block(Body::Child(Box::new(child)))
}

fn started(blocks: Vec<Block>) -> Market {
    let mut market = funded("1000");
    let spec = testing::order_plan(CUSTOMER, Plan::new(blocks).unwrap());
    market.start_run(RUN, Arc::new(spec), at(0)).unwrap();
    market
}

/// A node with room for everything.
pub(super) fn large(mut heard: CheckedSync) -> CheckedSync {
    heard.sync.capacity = Resources::new(1_000_000, 1_000_000);
    heard
}

/// The stages whose tasks the node has.
pub(super) fn stages(market: &Market) -> Vec<u32> {
    leased(market, 0).iter().map(|lease| lease.task.stage.number()).collect()
}

/// The node ends all tasks of these stages.
pub(super) fn does(market: &mut Market, stages: &[u32], secs: i64) {
    let all = leased(market, 0).into_iter();
    let ended = all.filter(|lease| stages.contains(&lease.task.stage.number()));
    let receipts = ended.flat_map(|lease| succeeds(lease).receipts).collect();
    hear(market, 0, CheckedSync { receipts, ..large(holds(&[])) }, secs);
}

#[test]
fn group_opens_a_block_once_everything_before_it_has_ended() {
    // 1 and 2 side by side, 3 after both, 4 after 1 alone.
    let edges: &[&[u16]] = &[&[], &[], &[0, 1], &[0]];
    let mut market = started(vec![group(&[1, 2, 3, 4], edges), task(), task(), task(), task()]);
    hear(&mut market, 0, large(holds(&[])), 0);
    assert_eq!(stages(&market), [1, 2]);

    does(&mut market, &[1], 1);
    assert_eq!(stages(&market), [2, 4]);
    does(&mut market, &[2], 2);
    assert_eq!(stages(&market), [3, 4]);
    does(&mut market, &[3, 4], 3);

    let changes = market.drain();
    assert_eq!(changes.ended, [Ended { run: RUN, state: RunState::Succeeded }]);
    assert_eq!(market.pending(OPERATOR), cost(1).saturating_mul(4));
}

#[test]
fn graph_of_a_thousand_blocks_is_followed_to_its_end() {
    const LAYERS: u16 = 27;
    const WIDTH: u16 = 37;

    // Each block comes after all of the layer before it; with the root they are a thousand.
    let layer = |n: u16| (n * WIDTH..(n + 1) * WIDTH).collect::<Vec<u16>>();
    let after: Vec<Vec<u16>> = (0..LAYERS)
        .flat_map(|n| std::iter::repeat_n(n.checked_sub(1).map(layer).unwrap_or_default(), 37))
        .collect();
    let of: Vec<u16> = (1..=LAYERS * WIDTH).collect();
    let edges: Vec<&[u16]> = after.iter().map(Vec::as_slice).collect();
    let blocks = std::iter::once(group(&of, &edges)).chain(of.iter().map(|_| task()));
    let mut market = started(blocks.collect());
    hear(&mut market, 0, large(holds(&[])), 0);

    for n in 0..LAYERS {
        let open: Vec<u32> = layer(n).iter().map(|place| u32::from(*place) + 1).collect();
        assert_eq!(stages(&market), open, "layer {n}");
        does(&mut market, &open, i64::from(n) + 1);
    }

    assert_eq!(market.drain().ended, [Ended { run: RUN, state: RunState::Succeeded }]);
    assert_eq!(market.pending(OPERATOR), cost(1).saturating_mul(999));
}

fn urgent(priority: u8) -> Block {
    let mut block = task();
    if let Body::Container(task) = &mut block.body {
        task.priority = priority.try_into().unwrap();
    }
    block
}

#[test]
fn block_of_higher_priority_gets_a_node_before_others_of_its_run() {
    // The second waits for another kind of node than the others, and so in a class of its own.
    let mut small = urgent(5);
    if let Body::Container(task) = &mut small.body {
        task.container.needs = Resources::new(500, 512);
    }
    let edges: &[&[u16]] = &[&[], &[], &[], &[]];
    let group = group(&[1, 2, 3, 4], edges);
    let mut market = started(vec![group, task(), small, urgent(9), urgent(1)]);
    let (mut served, mut held) = (Vec::new(), Vec::new());

    for secs in 0..4 {
        let receipts = held.into_iter().flat_map(|lease| succeeds(lease).receipts).collect();
        let mut heard = CheckedSync { receipts, ..holds(&[]) };
        heard.sync.prefetch = 0;
        heard.sync.capacity = Resources::new(1000, 1024);
        hear(&mut market, 0, heard, secs);
        served.extend(stages(&market));
        held = leased(&market, 0);
    }

    assert_eq!(served, [3, 2, 4, 1]);
}

#[test]
fn list_of_tasks_is_one_stage_and_counts_its_elements() {
    let mut market = started(vec![each(3, 1, None), task()]);
    hear(&mut market, 0, large(holds(&[])), 0);

    assert_eq!(stages(&market), [0, 0, 0]);
    assert_eq!(market.run(RUN).unwrap().counts().total, Some(3));
    does(&mut market, &[0], 1);

    let done = market.drain().runs.pop().unwrap();
    assert_eq!((done.state, done.counts.done), (RunState::Succeeded, 3));
}

#[test]
fn list_of_groups_opens_elements_up_to_its_limit() {
    let blocks = vec![each(5, 1, Some(2)), group(&[2, 3], &[&[], &[0]]), task(), task()];
    let mut market = started(blocks);
    let open = |market: &Market| market.run(RUN).unwrap().stages().count();
    hear(&mut market, 0, large(holds(&[])), 0);
    // The list, and two groups with a task each.
    assert_eq!((open(&market), leased(&market, 0).len()), (5, 2));

    for secs in 1..=10 {
        let all = leased(&market, 0);
        let Some(first) = all.first() else { break };
        hear(&mut market, 0, large(succeeds(*first)), secs);
        assert!(market.run(RUN).is_none_or(|_| open(&market) <= 5));
    }

    assert_eq!(market.drain().ended, [Ended { run: RUN, state: RunState::Succeeded }]);
    assert_eq!(market.pending(OPERATOR), cost(1).saturating_mul(10));
}

#[test]
fn list_without_elements_ends_at_once() {
    let mut market = started(vec![group(&[1, 3], &[&[], &[0]]), each(0, 2, None), task(), task()]);

    hear(&mut market, 0, large(holds(&[])), 0);

    assert_eq!(stages(&market), [3]);
}

#[test]
fn child_run_is_waited_for_and_its_failure_fails_the_parent() {
    for (outcome, state) in [(true, RunState::Succeeded), (false, RunState::Failed)] {
        let child = Plan::new(vec![task()]).unwrap();
        let mut market = started(vec![group(&[1], &[&[]]), part(child)]);
        hear(&mut market, 0, large(holds(&[])), 0);
        let [held] = leased(&market, 0)[..] else { panic!("one task") };
        assert_eq!(held.task.run, RUN.of_child(1));
        assert!(market.run(RUN).is_some());

        let ends = if outcome { succeeds(held) } else { fails(held) };
        hear(&mut market, 0, large(ends), 1);

        let ended = market.drain().ended;
        let states: BTreeMap<RunId, RunState> =
            ended.iter().map(|ended| (ended.run, ended.state)).collect();
        assert_eq!(states, [(RUN, state), (held.task.run, state)].into());
    }
}

#[test]
fn child_run_ends_with_its_parent() {
    let child = Plan::new(vec![task()]).unwrap();
    let mut market = started(vec![group(&[1], &[&[]]), part(child)]);
    hear(&mut market, 0, large(holds(&[])), 0);

    market.cancel(RUN, "enough".to_owned(), at(1)).unwrap();

    assert_eq!(market.runs().count(), 0);
    assert!(leased(&market, 0).is_empty());
    hear(&mut market, 0, large(holds(&[])), 2);
    assert_eq!(market.stopping().count(), 0);
    assert_eq!(market.balance(Account::Held(CUSTOMER)), Credits::ZERO);
}

#[test]
fn restart_resumes_any_plan_in_the_middle() {
    let blocks = || vec![each(5, 1, Some(2)), group(&[2, 3], &[&[], &[0]]), task(), task()];
    let mut market = started(blocks());
    hear(&mut market, 0, large(holds(&[])), 0);
    let before = market.fingerprint();

    let market = Market::load(Policy::default(), stored(market.drain()), at(0));

    assert_eq!(market.fingerprint(), before);
}

#[test]
fn run_without_data_does_no_step_of_the_server() {
    let mut market = funded("1000");
    let whole = Pipeline {
        source: Source::Bypass,
        destination: Destination::Bypass,
        partition: Partition::Builtin(Partitioner::Replicate { copies: 2 }),
        ..pipeline()
    };
    market.start_run(RUN, Arc::new(testing::order(CUSTOMER, &whole)), at(0)).unwrap();
    let begun = market.drain();

    assert_eq!((begun.steps.as_slice(), begun.tables.len()), ([].as_slice(), 1));
    let phases: Vec<_> = begun.notices.iter().filter_map(phase).collect();
    assert_eq!(phases, [Phase::Fetch, Phase::Partition, Phase::Process]);
    assert_eq!(tasks(&market).len(), 2);

    hear(&mut market, 0, large(holds(&[])), 1);
    for index in 0..2 {
        hear(&mut market, 0, large(succeeds(lease(index, 1))), 2);
    }
    let ended = market.drain();

    assert!(ended.steps.is_empty() && market.run(RUN).is_none());
    let phases: Vec<_> = ended.notices.iter().filter_map(phase).collect();
    assert_eq!(phases[phases.len() - 3..], [Phase::Assemble, Phase::Deliver, Phase::Deliver]);
}

#[test]
fn run_that_is_cut_into_no_chunks_is_left_to_the_server() {
    let mut market = funded("1000");
    let partition = Partition::Builtin(Partitioner::Replicate { copies: 0 });
    let none = Pipeline { source: Source::Bypass, partition, ..pipeline() };
    market.start_run(RUN, Arc::new(testing::order(CUSTOMER, &none)), at(0)).unwrap();

    assert_eq!(market.drain().steps.len(), 1);
}

fn phase(notice: &Notice) -> Option<Phase> {
    match notice {
        Notice::State { phase, .. } => *phase,
        Notice::Task { .. } => None,
    }
}
