//! Named queues: ranks, limits, pauses, pools and the time by which runs must have begun.

use super::*;
use crate::ids::QueueId;
use crate::plan::{Block, BlockId, Body, ContainerTask, Group, Plan};
use crate::run::cause::CauseKind;
use crate::run::queue::{InQueue, Pool, QueueRules, QueueStop, Rank};
use crate::run::scheduling::Regions;

const URGENT: QueueId = QueueId::new(Uuid::from_u128(41));
const PATIENT: QueueId = QueueId::new(Uuid::from_u128(42));

fn rules(rank: u16, max_running: u32) -> QueueRules {
    let rank = Rank::new(rank).unwrap();
    QueueRules { workspace: CUSTOMER, rank, max_running, is_enabled: true, is_paused: false }
}

fn run(n: u128) -> RunId {
    RunId::new(Uuid::from_u128(50 + n))
}

fn in_queue(id: QueueId) -> InQueue {
    InQueue { id, timeout_secs: None, pools: Vec::new() }
}

fn begin(market: &mut Market, id: RunId, queue: Option<InQueue>, chunks: u32) {
    let mut spec = spec(Limits::default());
    spec.terms.queue = queue;
    start_cut(market, id, spec, chunks, at(0));
}

/// A node that runs this many tasks at a time and fetches none ahead.
fn with_slots(slots: u32) -> CheckedSync {
    let mut heard = holds(&[]);
    heard.sync.capacity = Resources::new(slots * 1000, slots * 1024);
    heard.sync.prefetch = 0;
    heard
}

fn running(market: &Market, id: RunId) -> u32 {
    market.run(id).map_or(0, Run::running)
}

/// A market with both queues, of which these are the limits.
fn market([urgent, patient]: [u32; 2]) -> Market {
    let mut market = funded("100000");
    market.put_queue(URGENT, rules(10, urgent));
    market.put_queue(PATIENT, rules(20, patient));
    market
}

#[test]
fn queue_of_lower_rank_is_served_first_although_its_runs_come_later() {
    let mut market = market([0, 0]);
    begin(&mut market, run(1), Some(in_queue(PATIENT)), 10);
    begin(&mut market, run(2), Some(in_queue(URGENT)), 3);

    hear(&mut market, 0, with_slots(5), 0);

    assert_eq!([running(&market, run(2)), running(&market, run(1))], [3, 2]);
}

#[test]
fn queue_never_runs_more_than_its_limit_and_goes_on_as_tasks_end() {
    let mut market = market([2, 0]);
    begin(&mut market, run(1), Some(in_queue(URGENT)), 5);
    begin(&mut market, run(2), Some(in_queue(URGENT)), 5);

    hear(&mut market, 0, with_slots(8), 0);
    hear(&mut market, 1, with_slots(8), 0);

    assert_eq!(running(&market, run(1)) + running(&market, run(2)), 2);
    assert_eq!(market.waiting(run(1), at(0)), Some(Waiting::Queue(QueueStop::Full(2))));

    let held: Vec<Lease> = [0, 1].iter().flat_map(|n| leased(&market, *n)).collect();
    let first = held[0];
    let holder = u128::from(!leased(&market, 0).contains(&first));
    let mut report = succeeds(first);
    report.sync = with_slots(8).sync;
    hear(&mut market, holder, report, 1);

    assert_eq!(running(&market, run(1)) + running(&market, run(2)), 2);
    assert_eq!(market.queue_view(URGENT).unwrap().tasks_running, 2);
}

#[test]
fn tasks_outside_of_all_queues_are_counted_for_each_workspace() {
    let mut market = market([0, 0]);
    begin(&mut market, run(1), Some(in_queue(URGENT)), 5);
    assert_eq!(market.outside_queues(CUSTOMER), OutsideQueues::default());
    begin(&mut market, run(2), None, 9);
    let counted = |market: &Market| {
        let OutsideQueues { tasks_waiting, tasks_running } = market.outside_queues(CUSTOMER);
        (tasks_waiting, tasks_running)
    };
    assert_eq!(counted(&market), (9, 0));

    hear(&mut market, 0, with_slots(4), 0);
    let outside = running(&market, run(2));
    assert_eq!(outside + running(&market, run(1)), 4);
    assert_eq!(counted(&market), (9 - u64::from(outside), outside));
    assert_eq!(market.outside_queues(OPERATOR), OutsideQueues::default());

    market.cancel(run(2), "enough".to_owned(), at(1)).unwrap();
    assert_eq!(counted(&market), (0, 0));
    assert_eq!(market.check(), Ok(()));
}

#[test]
fn full_queue_leaves_its_node_to_the_next_in_rank() {
    let mut market = market([1, 0]);
    begin(&mut market, run(1), Some(in_queue(URGENT)), 5);
    begin(&mut market, run(2), Some(in_queue(PATIENT)), 5);

    hear(&mut market, 0, with_slots(4), 0);

    assert_eq!([running(&market, run(1)), running(&market, run(2))], [1, 3]);
}

#[test]
fn paused_and_disabled_queues_give_nothing_until_they_are_opened() {
    let mut market = market([0, 0]);
    market.put_queue(URGENT, QueueRules { is_paused: true, ..rules(10, 0) });
    market.put_queue(PATIENT, QueueRules { is_enabled: false, ..rules(20, 0) });
    begin(&mut market, run(1), Some(in_queue(URGENT)), 1);
    begin(&mut market, run(2), Some(in_queue(PATIENT)), 1);
    hear(&mut market, 0, with_slots(4), 0);
    assert!(leased(&market, 0).is_empty());
    assert_eq!(market.waiting(run(1), at(0)), Some(Waiting::Queue(QueueStop::Paused)));
    assert_eq!(market.waiting(run(2), at(0)), Some(Waiting::Queue(QueueStop::Disabled)));

    market.put_queue(URGENT, rules(10, 0));
    market.put_queue(PATIENT, rules(20, 0));
    market.dispatch(at(1));

    assert_eq!([running(&market, run(1)), running(&market, run(2))], [1, 1]);
    assert_eq!(market.check(), Ok(()));
}

#[test]
fn queue_whose_limit_is_lowered_keeps_what_runs_and_gives_no_more() {
    let mut market = market([0, 0]);
    begin(&mut market, run(1), Some(in_queue(URGENT)), 9);
    hear(&mut market, 0, with_slots(4), 0);

    market.put_queue(URGENT, rules(10, 1));
    hear(&mut market, 1, with_slots(4), 0);

    assert_eq!(running(&market, run(1)), 4);
}

#[test]
fn run_goes_to_nodes_of_the_pools_of_its_queue_alone() {
    let mut market = market([0, 0]);
    let whitelist = vec!["moon".to_owned()];
    let pool = Pool { own_nodes: false, regions: Regions { whitelist, ..Regions::default() } };
    begin(&mut market, RUN, Some(InQueue { pools: vec![pool], ..in_queue(URGENT) }), 2);

    hear(&mut market, 0, with_slots(4), 0);
    assert_eq!(obstacles(&market, 0).outside_pools, 1);
    let mut on_moon = with_slots(1);
    "moon".clone_into(&mut on_moon.sync.device.region);
    hear(&mut market, 1, on_moon, 0);

    assert_eq!([leased(&market, 0).len(), leased(&market, 1).len()], [0, 1]);
}

#[test]
fn run_that_does_not_begin_in_its_queues_time_fails_for_that_cause() {
    let mut market = market([0, 0]);
    let mut spec = testing::order_plan(CUSTOMER, testing::task_plan(container()));
    spec.terms.queue = Some(InQueue { timeout_secs: Some(60), ..in_queue(URGENT) });
    market.start_run(RUN, Arc::new(spec.clone()), at(0)).unwrap();
    market.start_run(run(1), Arc::new(spec), at(0)).unwrap();
    hear(&mut market, 0, with_slots(1), 0);
    market.tick(at(59));
    assert_eq!(market.runs().count(), 2);
    market.drain();

    market.tick(at(60));

    let ended: Vec<_> = market.drain().runs;
    let causes: Vec<_> = ended.iter().filter_map(|run| run.cause.as_ref()).collect();
    assert_eq!(
        causes.iter().map(|cause| cause.kind).collect::<Vec<_>>(),
        [CauseKind::QueueTimeout]
    );
    assert_eq!(market.runs().map(Run::running).collect::<Vec<_>>(), [1]);
    assert_eq!(market.check(), Ok(()));
}

#[test]
fn run_of_an_unknown_queue_is_refused_and_a_queue_in_use_is_not_removed() {
    let mut market = market([0, 0]);
    let mut spec = spec(Limits::default());
    spec.terms.queue = Some(in_queue(QueueId::new(Uuid::from_u128(1))));
    assert_eq!(market.start_run(RUN, Arc::new(spec), at(0)), Err(Refused::NoQueue));
    begin(&mut market, run(1), Some(in_queue(URGENT)), 1);

    assert_eq!(market.remove_queue(URGENT), Err(QueueInUse(1)));

    market.cancel(run(1), "enough".to_owned(), at(1)).unwrap();
    assert_eq!(market.remove_queue(URGENT), Ok(()));
    assert_eq!(market.check(), Ok(()));
}

#[test]
fn snapshot_of_a_queue_is_in_the_order_of_service() {
    let mut market = market([0, 0]);
    for n in 1..=3 {
        begin(&mut market, run(n), Some(in_queue(URGENT)), 1);
    }

    let view = market.queue_view(URGENT).unwrap();

    assert_eq!(view.first, [run(1), run(2), run(3)]);
    assert_eq!(market.position(run(3)), Some(2));
}

#[test]
fn restart_keeps_queues_and_what_runs_of_them() {
    let mut market = market([1, 0]);
    begin(&mut market, RUN, Some(in_queue(URGENT)), 3);
    hear(&mut market, 0, with_slots(4), 0);
    let queues = vec![(URGENT, rules(10, 1)), (PATIENT, rules(20, 0))];
    let stored = Stored { queues, ..stored(market.drain()) };

    let mut again = Market::load(Policy::default(), stored, at(1));
    hear(&mut again, 1, with_slots(4), 1);

    assert_eq!(running(&again, RUN), 1);
    assert!(leased(&again, 1).is_empty());
}

/// Two tasks side by side, each in a queue of its own.
fn two_tasks(queues: [Option<InQueue>; 2]) -> Plan {
    let of = [1, 2].map(BlockId::new).to_vec();
    let mut blocks = vec![Block::new("run", Body::Group(Group::parallel(of)))];
    for queue in queues {
        let plan = testing::task_plan(container());
        let task = ContainerTask { queue, ..plan.container_tasks().next().unwrap().clone() };
        blocks.push(Block::new("task", Body::Container(Box::new(task))));
    }
    Plan::new(blocks).unwrap()
}

fn begin_two(market: &mut Market, queues: [Option<InQueue>; 2], of_run: Option<InQueue>) {
    let mut spec = testing::order_plan(CUSTOMER, two_tasks(queues));
    spec.terms.queue = of_run;
    market.start_run(RUN, Arc::new(spec), at(0)).unwrap();
}

#[test]
fn task_stands_in_its_own_queue_and_otherwise_in_that_of_its_run() {
    let mut market = market([1, 1]);
    market.put_queue(URGENT, QueueRules { is_paused: true, ..rules(10, 1) });
    begin_two(&mut market, [Some(in_queue(URGENT)), None], Some(in_queue(PATIENT)));

    hear(&mut market, 0, with_slots(4), 0);

    let held: Vec<u32> = leased(&market, 0).iter().map(|held| held.task.stage.number()).collect();
    assert_eq!(held, [2]);
    let views = [URGENT, PATIENT].map(|id| market.queue_view(id).unwrap());
    assert_eq!(views.each_ref().map(|view| view.runs), [1, 1]);
    assert_eq!(views.each_ref().map(|view| view.tasks_running), [0, 1]);
    assert_eq!(views.map(|view| view.tasks_waiting), [1, 0]);
    assert_eq!(market.waiting(RUN, at(0)), Some(Waiting::Queue(QueueStop::Paused)));
    assert_eq!(market.remove_queue(URGENT), Err(QueueInUse(1)));
    market.put_queue(URGENT, rules(10, 1));
    market.dispatch(at(1));
    assert_eq!(running(&market, RUN), 2);
    assert_eq!(market.check(), Ok(()));
}

#[test]
fn run_whose_task_names_an_unknown_queue_is_refused() {
    let mut market = market([0, 0]);
    let queues = [Some(in_queue(QueueId::new(Uuid::from_u128(1)))), None];
    let spec = testing::order_plan(CUSTOMER, two_tasks(queues));

    assert_eq!(market.start_run(RUN, Arc::new(spec), at(0)), Err(Refused::NoQueue));
}

#[test]
fn ranks_of_the_queues_of_tasks_count_within_one_run() {
    let mut market = market([0, 0]);
    begin_two(&mut market, [Some(in_queue(PATIENT)), Some(in_queue(URGENT))], None);

    hear(&mut market, 0, with_slots(1), 0);

    let held: Vec<u32> = leased(&market, 0).iter().map(|held| held.task.stage.number()).collect();
    assert_eq!(held, [2]);
}

#[test]
fn ranks_take_nothing_from_other_workspaces() {
    let mut market = market([0, 0]);
    let other = WorkspaceId::new(Uuid::from_u128(9));
    market.grant(other, credits("100000"), "gift", at(0)).unwrap();
    begin(&mut market, run(1), Some(in_queue(URGENT)), 1000);
    begin(&mut market, run(2), Some(in_queue(PATIENT)), 1000);
    let stranger = testing::order(other, &pipeline());
    start_cut(&mut market, run(3), stranger, 1000, at(0));

    hear(&mut market, 0, with_slots(30), 0);

    let running = [1, 2, 3].map(|n| running(&market, run(n)));
    assert_eq!(running, [20, 0, 10]);
}
