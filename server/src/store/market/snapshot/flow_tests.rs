//! What expressions have decided and what blocks have given is the same after a restart.

use common::expression::Template;
use common::market::{CheckedSync, Market, Policy};
use common::plan::{
    Block, Body, Code, Container, ContainerTask, Each, Group, LateText, List, Plan, Reads,
    TextPlace,
};
use common::protocol::Outcome;
use common::run::scheduling::TaskPriority;
use common::run::spec::RunSpec;
use common::testing as build;
use uuid::Uuid;

use super::*;
use crate::clock;
use crate::store::market::commit::tests::sync;
use crate::store::money::booking_effects::Booked;
use crate::store::testing::{self, commit_next, databases};

fn template(text: &str) -> Template {
    text.parse().unwrap()
}

fn task(name: &str, text: &str) -> Block {
    let place = TextPlace::Variable { program: None, name: "A".to_owned() };
    let late = vec![LateText { place, text: template(text) }];
    let code = Code::Images(common::plan::ImageCode { late, ..build::image_code() });
    let work = ContainerTask {
        container: Container { code, ..build::container() },
        reads: Reads::Nothing,
        queue: None,
        timeout_secs: 60,
        retries: 0,
        waits: None,
        require_results: false,
        deterministic: false,
        priority: TaskPriority::default(),
        is_reserved: false,
    };
    Block::new(name, Body::Container(Box::new(work)))
}

/// One task, a list of what it gives of which nothing is skipped but the last, and what it gives.
fn plan() -> Plan {
    let named = |name: &str, block| Block { var: Some(name.parse().unwrap()), ..block };
    let each = Each {
        list: List::Items(template("{{ tasks.list }}")),
        item: "item".to_owned(),
        body: BlockId::new(3),
        at_once: None,
        first: None,
    };
    let blocks = vec![
        Block::new("run", Body::Group(Group::sequence([1, 2, 4].map(BlockId::new).to_vec()))),
        named("list", task("first", "{{ inputs.a }}")),
        named("all", Block::new("each", Body::Each(each))),
        task("element", "{{ item.value }}"),
        Block { when: Some(template("{{ tasks.all == '' }}")), ..task("never", "") },
    ];
    let plan = Plan::new(blocks).unwrap();
    plan.with_output(template("{{ tasks.all }}")).unwrap()
}

fn gives(lease: common::run::task::Lease, value: &str) -> CheckedSync {
    let outcome = Outcome::Succeeded { outputs: Vec::new(), value: Some(value.to_owned()) };
    let mut heard = sync(vec![build::receipt(lease, outcome, Default::default())]);
    heard.sync.capacity.disk_mib = u32::MAX;
    heard
}

#[tokio::test]
async fn run_with_expressions_is_the_same_after_a_reload() {
    for fresh in databases().await {
        let db = &fresh.db;
        let workspace = WorkspaceId::new(Uuid::now_v7());
        let run = RunId::new(Uuid::now_v7());
        let token = nodes::issue_token(db, workspace).await.unwrap();
        let node = nodes::join(db, "peer", &token).await.unwrap().unwrap();
        let mut market = Market::load(Policy::default(), load(db).await.unwrap(), clock::now());
        let gift = Credits::from_units(500_000_000).unwrap();
        market.grant(workspace, gift, "gift", clock::now()).unwrap();
        let scope = serde_json::from_str(r#"{"inputs": {"a": "x\u0000"}}"#).unwrap();
        let spec = RunSpec { plan: plan(), scope, ..testing::spec(workspace) };
        market.start_run(run, spec.into(), clock::now()).unwrap();

        let mut booked = vec![Booked::Grant("gift".to_owned())];
        for turn in 0..40 {
            market.dispatch(clock::now());
            let changes = market.drain();
            commit_next(db, &changes, &booked).await.unwrap();
            booked.clear();
            let again = Market::load(Policy::default(), load(db).await.unwrap(), clock::now());
            assert_eq!(again.fingerprint(), market.fingerprint(), "{} {turn}", fresh.name);
            build::answer_questions(&mut market, &changes, clock::now());
            let leased = market.run(run).into_iter().flat_map(|run| {
                let tasks = run.stages().map(|stage| run.under_lease(stage.no, 0..=u32::MAX));
                tasks.flatten().map(|held| held.lease).collect::<Vec<_>>()
            });
            let leased: Vec<_> = leased.collect();
            let value = if turn < 2 { "[\"a\\u0000\", 2]" } else { "b" };
            let heard = match leased.first() {
                Some(lease) => gives(*lease, value),
                None => sync(vec![]),
            };
            market.sync(node, workspace, heard, clock::now());
        }

        let view = runs::find(db, workspace, run).await.unwrap().unwrap();
        assert_eq!(view.state, RunState::Succeeded, "{}: {:?}", fresh.name, view.cause);
        assert_eq!(view.output.as_deref(), Some(r#"["b","b"]"#), "{}", fresh.name);
        let skipped = stages::find(db, run, None, 100).await.unwrap();
        let is_skipped = |stage: &StageRecord| {
            stage.ended.is_some_and(|end| end.how == common::market::StageOutcome::Skipped)
        };
        assert_eq!(skipped.iter().filter(|stage| is_skipped(stage)).count(), 1, "{}", fresh.name);
        assert!(crate::store::check(db).await.unwrap().is_empty(), "{}", fresh.name);
    }
}
