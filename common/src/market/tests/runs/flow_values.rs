//! Conditions, values, and lists that expressions give.

use std::collections::BTreeMap;

use super::*;
use crate::call::Waits;
use crate::expression::Template;
use crate::plan::{
    Block, BlockId, Body, Child, Code, Container, ContainerTask, Each, Group, LateText, List, Plan,
    Reads, TextPlace,
};
use crate::run::cause::CauseKind;
use crate::run::scheduling::TaskPriority;

fn template(text: &str) -> Template {
    text.parse().unwrap()
}

fn container_task(late: &[(&str, &str)]) -> ContainerTask {
    let late = late.iter().map(|(name, text)| LateText {
        place: TextPlace::Variable { program: None, name: (*name).to_owned() },
        text: template(text),
    });
    let code = crate::plan::ImageCode { late: late.collect(), ..testing::image_code() };
    ContainerTask {
        container: Container { code: Code::Images(code), ..container() },
        reads: Reads::Nothing,
        queue: None,
        timeout_secs: 3600,
        retries: 0,
        waits: None,
        require_results: false,
        deterministic: false,
        priority: TaskPriority::default(),
        is_reserved: false,
    }
}

/// A container whose variable `A` has this text.
fn task(text: &str) -> Block {
    Block::new(format!("task {text}"), Body::Container(Box::new(container_task(&[("A", text)]))))
}

fn named(name: &str, block: Block) -> Block {
    Block { var: Some(name.parse().unwrap()), ..block }
}

fn when(text: &str, block: Block) -> Block {
    Block { when: Some(template(text)), ..block }
}

/// The blocks one after the other.
fn sequence(of: &[u16]) -> Block {
    let of = of.iter().map(|id| BlockId::new(*id)).collect();
    Block::new("group", Body::Group(Group::sequence(of)))
}

fn each(list: &str, body: u16, at_once: Option<u32>) -> Block {
    let at_once = at_once.map(|n| n.try_into().unwrap());
    let (list, item, body) = (List::Items(template(list)), "item".to_owned(), BlockId::new(body));
    Block::new("list", Body::Each(Each { list, item, body, at_once, first: None }))
}

fn child(plan: Plan, inputs: &[(&str, &str)], detached: bool) -> Block {
    let inputs = inputs.iter().map(|(name, text)| (name.parse().unwrap(), template(text)));
    let inputs = inputs.collect();
    Block::new("part", Body::Child(Box::new(Child { name: None, plan, inputs, detached })))
}

fn plan(blocks: Vec<Block>) -> Plan {
    Plan::new(blocks).unwrap()
}

/// A market and all that it has stored.
struct Story {
    market: Market,
    /// Each stage as it was stored last.
    stages: BTreeMap<(RunId, StageNo), StageRecord>,
    runs: BTreeMap<RunId, RunRecord>,
    values: Vec<(String, String)>,
}

impl Story {
    fn begin(plan: Plan) -> Self {
        let mut market = funded("1000");
        let spec = testing::order_plan(CUSTOMER, plan);
        market.start_run(RUN, Arc::new(spec), at(0)).unwrap();
        let mut story =
            Self { market, stages: BTreeMap::new(), runs: BTreeMap::new(), values: Vec::new() };
        story.hear(Vec::new());
        story
    }

    /// Takes receipts, and answers what is asked for, until nothing changes.
    fn hear(&mut self, receipts: Vec<(crate::protocol::Receipt, crate::protocol::SignedReceipt)>) {
        let mut heard = CheckedSync { receipts, ..holds(&[]) };
        heard.sync.capacity = Resources::new(1_000_000, 1_000_000);
        hear(&mut self.market, 0, heard, 1);
        loop {
            let changes = self.market.drain();
            let asked = testing::answer_questions(&mut self.market, &changes, at(1));
            self.store(changes);
            self.market.dispatch(at(1));
            assert_eq!(self.market.check(), Ok(()));
            if asked == 0 {
                break;
            }
        }
        let changes = self.market.drain();
        self.store(changes);
    }

    fn store(&mut self, changes: Changes) {
        self.stages.extend(changes.stages.into_iter().map(|stage| ((stage.run, stage.no), stage)));
        self.runs.extend(changes.runs.into_iter().map(|run| (run.id, run)));
        let value = |record: ValueRecord| (record.name.to_string(), record.value.to_string());
        self.values.extend(changes.values.into_iter().map(value));
    }

    /// The tasks that the node has.
    fn tasks(&self) -> Vec<Lease> {
        leased(&self.market, 0)
    }

    /// What `A` is in each of them.
    fn texts(&self) -> Vec<String> {
        let text = |lease: &Lease| {
            let run = self.market.run(lease.task.run).unwrap();
            let frozen = run.frozen(lease.task.stage).unwrap();
            let spec = frozen.container(lease.task.index, &BTreeMap::new()).unwrap();
            spec.environment.get("A").unwrap().to_owned()
        };
        self.tasks().iter().map(text).collect()
    }

    /// The node ends its first task with this value.
    fn give(&mut self, value: &str) {
        let lease = self.tasks()[0];
        self.end(lease, value);
    }

    fn end(&mut self, lease: Lease, value: &str) {
        let usage = Usage::full(container().needs, 1000);
        let value = Some(value.to_owned());
        let outcome = Outcome::Succeeded { outputs: Vec::new(), value };
        self.hear(vec![testing::receipt(lease, outcome, usage)]);
    }

    fn state(&self, run: RunId) -> RunState {
        self.runs[&run].state
    }

    fn how(&self, stage: u32) -> Option<StageOutcome> {
        self.stages[&(RUN, StageNo::new(stage))].ended.map(|ended| ended.how)
    }
}

#[test]
fn block_with_a_false_condition_is_skipped_and_counts_as_done() {
    for (value, runs) in [("yes", true), ("no", false)] {
        let mut story = Story::begin(plan(vec![
            sequence(&[1, 2, 3]),
            named("go", task("first")),
            when("{{ tasks.go == 'yes' }}", task("second")),
            task("third"),
        ]));
        assert_eq!(story.texts(), ["first"]);

        story.give(value);

        if runs {
            assert_eq!(story.texts(), ["second"]);
            story.give("");
            assert_eq!(story.how(2), Some(StageOutcome::Done));
        } else {
            assert_eq!(story.how(2), Some(StageOutcome::Skipped));
        }
        assert_eq!(story.texts(), ["third"]);
        story.give("");
        assert_eq!(story.state(RUN), RunState::Succeeded);
    }
}

#[test]
fn value_is_data_and_is_seen_as_it_was_when_the_stage_was_opened() {
    let text = "{{ tasks.x }}";
    let mut story = Story::begin(plan(vec![
        sequence(&[1, 2]),
        named("x", task("first")),
        Block::new("both", Body::Group(Group::parallel(vec![BlockId::new(3), BlockId::new(4)]))),
        named("x", task(text)),
        task(text),
    ]));
    story.give("a {{ secrets.s }}\n");
    let both = ["a {{ secrets.s }}\n", "a {{ secrets.s }}\n"];
    assert_eq!(story.texts(), both);

    story.give("newer");

    assert_eq!(story.texts(), both[..1]);
    assert_eq!(story.values.len(), 2);
}

#[test]
fn list_of_an_expression_has_tasks_for_its_elements_up_to_its_limit() {
    let mut story = Story::begin(plan(vec![
        sequence(&[1, 2, 4]),
        named("list", task("first")),
        named("all", each("{{ tasks.list }}", 3, Some(2))),
        task("{{ item.index }} {{ item.value }}"),
        task("{{ tasks.all }}"),
    ]));

    story.give(r#"["a", "b", "c"]"#);

    assert_eq!(story.texts(), ["0 a", "1 b"]);
    let [first, second] = story.tasks()[..] else { panic!("two tasks") };
    story.end(second, "B");
    assert_eq!(story.texts(), ["0 a", "2 c"]);
    story.end(first, "A");
    story.give("C");
    assert_eq!(story.texts(), [r#"["A","B","C"]"#]);
    let counts = story.runs[&RUN].counts;
    assert_eq!((counts.total, counts.done), (Some(3), 3));
    story.give("");
    assert_eq!(story.state(RUN), RunState::Succeeded);
}

#[test]
fn list_of_a_million_elements_costs_nothing_until_they_are_handed_out() {
    let story =
        Story::begin(plan(vec![each("{{ 1000000 }}", 1, Some(3)), task("{{ item.value }}")]));

    assert_eq!(story.texts(), ["0", "1", "2"]);
    assert_eq!(story.market.run(RUN).unwrap().tasks_of(BlockId::ROOT), 1_000_000);
}

#[test]
fn list_without_elements_and_list_that_is_too_long() {
    let of = |list: &str| Story::begin(plan(vec![each(list, 1, None), task("{{ item.value }}")]));

    assert_eq!(of("{{ 0 }}").state(RUN), RunState::Succeeded);
    let long = of("{{ 1000001 }}");
    assert_eq!(long.state(RUN), RunState::Failed);
    let cause = long.runs[&RUN].cause.clone().unwrap();
    assert_eq!(cause.kind, CauseKind::Plan);
    assert!(cause.message.contains("\"list\""), "{}", cause.message);
}

#[test]
fn value_in_a_list_belongs_to_its_element() {
    let mut story = Story::begin(plan(vec![
        named_list(),
        sequence(&[2, 3]),
        named("own", task("{{ item.value }}")),
        when("{{ tasks.own != 'skip' }}", task("{{ tasks.own }}")),
    ]));
    let [first, second] = story.tasks()[..] else { panic!("two tasks") };

    story.end(second, "second");
    story.end(first, "skip");

    // The first element's next block is skipped, so that the third begins.
    assert_eq!(story.texts(), ["second", "30"]);
    story.give("");
    story.give("third");
    assert_eq!(story.texts(), ["third"]);
    story.give("");
    assert_eq!(story.state(RUN), RunState::Succeeded);
    // What elements have given is no longer known.
    assert_eq!(story.values.len(), 3);
}

fn named_list() -> Block {
    each("{{ [10, 20, 30] }}", 1, Some(2))
}

#[test]
fn part_gets_inputs_and_its_output_is_its_value() {
    let inner = plan(vec![named("y", task("{{ inputs.a }}"))]);
    let inner = inner.with_output(template("got {{ tasks.y }}")).unwrap();
    let outer = plan(vec![
        sequence(&[1, 2, 3]),
        named("x", task("first")),
        named("part", child(inner, &[("a", "{{ tasks.x }}!")], false)),
        task("{{ tasks.part }}"),
    ]);
    let mut story = Story::begin(outer.with_output(template("{{ tasks.part }}.")).unwrap());
    story.give("one");
    assert_eq!(story.texts(), ["one!"]);

    story.give("two");

    assert_eq!(story.texts(), ["got two"]);
    story.give("");
    assert_eq!(story.state(RUN), RunState::Succeeded);
    assert_eq!(story.runs[&RUN].output.as_deref(), Some("got two."));
}

#[test]
fn detached_part_goes_on_alone() {
    let inner = plan(vec![task("alone")]);
    let mut story = Story::begin(plan(vec![sequence(&[1]), child(inner, &[], true)]));
    assert_eq!(story.state(RUN), RunState::Succeeded);
    assert_eq!(story.texts(), ["alone"]);

    let lease = story.tasks()[0];
    let receipt = fails(lease).receipts;
    story.hear(receipt);

    assert_eq!(story.state(lease.task.run), RunState::Failed);
    assert_eq!(story.state(RUN), RunState::Succeeded);
}

#[test]
fn expression_that_fails_ends_its_run_and_names_its_block() {
    let story = Story::begin(plan(vec![when("{{ int('x') }}", task("first"))]));
    let story_of_list = Story::begin(plan(vec![each("{{ 'text' }}", 1, None), task("")]));

    for (story, name) in [(&story, "task first"), (&story_of_list, "list")] {
        let cause = story.runs[&RUN].cause.clone().unwrap();
        assert_eq!(cause.kind, CauseKind::Plan);
        assert!(cause.message.contains(name), "{}", cause.message);
    }
}

#[test]
fn run_that_gives_more_than_it_can_keep_ends() {
    let mut story = Story::begin(plan(vec![sequence(&[1]), named("x", task("first"))]));

    story.give(&"x".repeat(crate::protocol::VALUE_BYTES_MAX + 1));

    assert_eq!(story.state(RUN), RunState::Failed);
    assert_eq!(story.runs[&RUN].cause.as_ref().unwrap().kind, CauseKind::Plan);
}

#[test]
fn restart_asks_again_for_what_was_not_answered() {
    let blocks = vec![
        sequence(&[1, 2]),
        when("{{ inputs.a != 'no' }}", task("first")),
        each("{{ 3 }}", 3, None),
        task("{{ item.value }}"),
    ];
    let mut market = funded("1000");
    let spec = testing::order_plan(CUSTOMER, plan(blocks));
    market.start_run(RUN, Arc::new(spec), at(0)).unwrap();
    let (before, changes) = (market.fingerprint(), market.drain());
    assert_eq!(changes.questions, [(RUN, StageNo::new(1))]);

    let mut market = Market::load(Policy::default(), stored(changes), at(0));

    assert_eq!(market.fingerprint(), before);
    let changes = market.drain();
    assert_eq!(testing::answer_questions(&mut market, &changes, at(0)), 1);
    hear(&mut market, 0, holds(&[]), 1);
    assert_eq!(leased(&market, 0).len(), 1);
}

#[test]
fn task_that_failed_waits_as_its_plan_says() {
    let waits = Some(Waits::Table(vec![100]));
    let work = ContainerTask { retries: 1, waits, ..container_task(&[]) };
    let mut market = funded("1000");
    let plan = plan(vec![Block::new("task", Body::Container(Box::new(work)))]);
    market.start_run(RUN, Arc::new(testing::order_plan(CUSTOMER, plan)), at(0)).unwrap();
    hear(&mut market, 0, holds(&[]), 0);

    let first = leased(&market, 0)[0];
    hear(&mut market, 0, fails(first), 1);

    assert_eq!(market.waiting(RUN, at(2)), Some(Waiting::Retry(at(101))));
    market.tick(at(101));
    hear(&mut market, 0, holds(&[]), 101);
    assert_eq!(leased(&market, 0)[0].attempt, 2);
}
