//! A day of mixed work: two customers, nodes of two operators, and jobs that end in every way there
//! is, while money comes and goes.

use std::sync::atomic::{AtomicUsize, Ordering};

use common::compute::resources::{Resources, Usage};
use common::protocol::{Failure, Outcome};
use common::run::task::Lease;
use reqwest::Method;

use super::*;
use crate::api::testing::{binary, package};
use crate::store::people::{api_keys, workspaces};

const JOBS: usize = 40;
const FAULTS: usize = 2;
/// The turn after which no money comes or goes beside the work.
const LAST_EVENT: usize = 14;
/// Turns of the nodes, which also bounds the test.
const TURNS: usize = 400;

#[derive(Deserialize)]
struct Shown {
    job: ShownJob,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ShownJob {
    payment_amount: Box<RawValue>,
}

#[derive(Deserialize)]
struct Usages {
    data: Vec<UsageRow>,
}

#[derive(Deserialize)]
struct UsageRow {
    amount: Box<RawValue>,
}

/// A workspace with a key of its own.
async fn workspace(server: &TestServer, name: &str) -> (WorkspaceId, String) {
    let db = &server.app.db;
    let workspace = workspaces::create_workspace(db, name).await.unwrap();
    let user = workspaces::create_user(db, workspace, name).await.unwrap();
    (workspace, api_keys::issue(db, workspace, user, name).await.unwrap())
}

/// How an attempt ends: by its place in its job, so that jobs of different sizes and retries end
/// in different ways. Nodes have few faults, as more would set them aside.
fn end(lease: Lease, faults: &AtomicUsize) -> (Usage, Outcome) {
    let attempt = lease.attempt;
    let index = lease.task.index;
    let failed = |failure| Outcome::Failed { failure, message: "as planned".to_owned() };
    let outcome = match (index, attempt) {
        (2, 1) => failed(Failure::Killed),
        (3, 1) if faults.fetch_add(1, Ordering::Relaxed) < FAULTS => {
            Outcome::NodeFault { message: "as planned".to_owned() }
        }
        (5, 1) => failed(Failure::ExitCode(1)),
        (6, 1 | 2) => failed(Failure::OutOfMemory),
        _ => Outcome::Succeeded { outputs: vec![], value: None },
    };
    let full = Usage::full(Resources::new(1000, 1024), 1_000_000);
    // What is measured differs from task to task, and is cut to the time that has passed.
    let usage = Usage {
        cpu_ms: u64::from(1 + index * 3 + attempt),
        memory_mib_ms: u64::from(777 * (1 + index) + attempt),
        wall_ms: u64::from(2 + index),
        ..full
    };
    (usage, outcome)
}

impl Holder<'_> {
    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.server.call_as(self.key, Method::POST, path, Some(body)).await
    }

    /// Pushes an app and makes a template of it.
    async fn template(&self) {
        let template =
            json!({"id": "t", "app": "a", "partitioner": "replicate", "assembler": "passthrough"});
        for (path, body) in [
            ("/v1/dev/apps", json!({"data": package(&binary("a", "0.1"))})),
            ("/v1/dev/apps/a/activate", json!({})),
            ("/v1/dev/templates", template),
        ] {
            let (status, body) = self.post(path, body).await;
            assert_eq!(status, 200, "{body}");
        }
    }

    /// Makes job `n`, and whether its run was accepted.
    async fn order(&self, n: usize) -> (String, bool) {
        let mut order = json!({
            "templateId": "t", "name": format!("job {n}"),
            "params": {"partitioner": {"num_replicas": 1 + n % 7}},
            "dataSource": {"dataSourceDescriptor": "bypass"},
            "dataDestination": {"dataSourceDescriptor": "bucket"},
            "config": {"maxTaskRetries": n % 3},
        });
        if n % 10 == 9 {
            order["config"]["isTestJob"] = json!(true);
        }
        let (status, body) = self.post("/v1/customer/jobs", order).await;
        assert_eq!(status, 200, "{body}");
        let id = body["job"]["id"].as_str().unwrap().to_owned();
        let (status, _) = self.post(&format!("/v1/customer/jobs/{id}/run"), json!({})).await;
        (id, status == 200)
    }

    /// What each attempt of a job has cost, by its node.
    async fn attempts(&self, id: &str) -> Vec<(String, i64)> {
        let tasks: Value = self.read(&format!("/v1/customer/jobs/{id}/tasks")).await;
        let mut prices = Vec::new();
        for task in tasks["tasks"].as_array().unwrap() {
            let path = format!("/v1/customer/jobs/{id}/tasks/{}", task["index"]);
            let task: Value = self.read(&path).await;
            for attempt in task["attempts"].as_array().unwrap() {
                let price = attempt["price"].as_str().unwrap().parse::<Credits>().unwrap();
                let node = attempt["node"].as_str().unwrap_or_default().to_owned();
                prices.push((node, price.units()));
            }
        }
        prices
    }
}

/// All jobs of a workspace.
async fn jobs(holder: &Holder<'_>) -> Vec<Value> {
    let page: Value = holder.read("/v1/customer/jobs?limit=100").await;
    page["data"].as_array().unwrap().clone()
}

/// Sums by node what the jobs of a workspace have cost, and checks each against its line.
async fn check_jobs(holder: &Holder<'_>, earned: &mut BTreeMap<String, i64>) -> usize {
    let paid = holder.recompute().await;
    let (mut sum, mut lines) = (0, 0);
    for job in jobs(holder).await {
        let id = job["id"].as_str().unwrap();
        let attempts = holder.attempts(id).await;
        let cost: i64 = attempts.iter().map(|(_, price)| price).sum();
        let line = paid.get(id).copied();

        assert_eq!(line.unwrap_or_default(), cost, "{job}");
        let shown: Shown = holder.read(&format!("/v1/customer/jobs/{id}")).await;
        assert_eq!(exact(&shown.job.payment_amount), cost, "{job}");
        for (node, price) in attempts {
            *earned.entry(node).or_default() += price;
        }
        sum += cost;
        lines += usize::from(line.is_some());
    }
    assert_eq!(lines, paid.len(), "each line of a job is of one that is listed");
    let usage: Usages = holder.read("/v1/wallet/usage").await;
    assert_eq!(usage.data.iter().map(|row| exact(&row.amount)).sum::<i64>(), sum);
    lines
}

/// What an operator has earned: what came in, and what is pending.
async fn check_earnings(holder: &Holder<'_>, earned: i64) {
    let (lines, balance) = holder.books().await;
    let came_in = lines.iter().filter(|line| line.transaction_type == "earning");
    let came_in: i64 = came_in.map(|line| exact(&line.amount)).sum();

    assert!(earned > 0);
    assert_eq!(came_in + exact(&balance.pending_earnings), earned);
}

#[tokio::test]
async fn statement_of_a_day_of_mixed_work_is_recomputed_from_the_api_alone() {
    let server = TestServer::open().await;
    let app = &server.app;
    let (operator, operators_key) = workspace(&server, "operator").await;
    let (poor, poors_key) = workspace(&server, "poor").await;
    let operators = Holder { server: &server, key: &operators_key, workspace: operator };
    let poors = Holder { server: &server, key: &poors_key, workspace: poor };
    let owner = Holder::owner(&server);
    app.coordinator.grant(server.workspace, "100".parse().unwrap(), "first").await.unwrap();
    // For one task at a time, and not for a second one after the first was paid.
    app.coordinator.grant(poor, "0.01666667".parse().unwrap(), "small").await.unwrap();
    owner.template().await;
    poors.template().await;
    let coupon = json!({"code": "MIXED-2026", "amount": "3.33333333"});
    assert_eq!(owner.post("/v1/wallet/coupons", coupon).await.0, 200);
    let mut ids = Vec::new();
    for n in 0..JOBS {
        let (id, accepted) = owner.order(n).await;
        assert!(accepted);
        ids.push(id);
    }
    let (partly_paid, accepted) = poors.order(1).await;
    let (_, more) = poors.order(2).await;
    assert!(accepted && !more, "a wallet that holds all that it has starts nothing more");
    let faults = AtomicUsize::new(0);
    let mut workers =
        [Worker::join(&app.db, server.workspace).await, Worker::join(&app.db, operator).await];

    for turn in 0..TURNS {
        // An answer to a node that has nothing to do takes a while.
        let turns = workers
            .iter_mut()
            .map(|worker| worker.turn_with(&app.coordinator, |lease| end(lease, &faults)));
        futures::future::join_all(turns).await;
        money_comes_and_goes(&owner, &ids, turn).await;
        if turn > LAST_EVENT || turn % 5 == 0 {
            owner.recompute().await;
            let (owners, poors) = (jobs(&owner).await, jobs(&poors).await);
            let open = |job: &Value| job["endedAt"].is_null() && job["state"] != "JOB_STATE_NEW";
            if turn > LAST_EVENT && !owners.iter().chain(&poors).any(open) {
                break;
            }
        }
    }

    let mut earned = BTreeMap::new();
    assert!(check_jobs(&owner, &mut earned).await > JOBS / 2);
    assert_eq!(check_jobs(&poors, &mut earned).await, 1);
    let ended = jobs(&owner).await.into_iter().chain(jobs(&poors).await);
    let ended: Vec<String> = ended.map(|job| job.to_string()).collect();
    for sign in ["JOB_STATE_COMPLETE", "abort", "exit code 1", "memory", "credits"] {
        assert!(ended.iter().any(|job| job.contains(sign)), "{sign}: {ended:?}");
    }
    let partly: Value = poors.read(&format!("/v1/customer/jobs/{partly_paid}")).await;
    assert_eq!(partly["job"]["state"], "JOB_STATE_FAILED", "{partly}");
    for (worker, holder) in workers.iter().zip([&owner, &operators]) {
        check_earnings(holder, earned[&worker.node().to_string()]).await;
        holder.recompute().await;
    }
    poors.recompute().await;
}

/// Coupons, top-ups, payouts and earnings, each at its turn.
async fn money_comes_and_goes(owner: &Holder<'_>, ids: &[String], turn: usize) {
    let asked = async |path: &str, body: Value, name: &str| {
        let (status, answer) = owner.post(path, body).await;
        assert_eq!(status, 200, "{answer}");
        answer[name]["id"].as_str().unwrap().to_owned()
    };
    let moved = async |path: String, state: &str| {
        let (status, answer) = owner.post(&path, json!({"state": state})).await;
        assert_eq!(status, 200, "{answer}");
    };
    let (db, coordinator) = (&owner.server.app.db, &owner.server.app.coordinator);
    match turn {
        3 | 5 | 9 => {
            let path = format!("/v1/customer/jobs/{}/abort", ids[turn]);
            owner.post(&path, json!({})).await;
        }
        4 => {
            let code = json!({"couponCode": "MIXED-2026"});
            assert_eq!(owner.post("/v1/wallet/redeem_coupon", code.clone()).await.0, 200);
            assert_ne!(owner.post("/v1/wallet/redeem_coupon", code).await.0, 200);
        }
        6 => {
            let top_up = json!({"amount": "200.00000001"});
            let id = asked("/v1/wallet/top_up", top_up.clone(), "topUpRequest").await;
            moved(format!("/v1/wallet/top_ups/{id}/state"), "CONFIRMED").await;
            let id = asked("/v1/wallet/top_up", top_up, "topUpRequest").await;
            assert_eq!(owner.post("/v1/wallet/cancel_top_up", json!({"id": id})).await.0, 200);
        }
        12 | LAST_EVENT => earnings::pass(db, coordinator, TimeDelta::zero()).await.unwrap(),
        13 => {
            for (amount, end) in [("0.00000010", "BOUNCED"), ("0.00000017", "CONFIRMED")] {
                let payout = json!({"amount": amount, "currency": "XTS"});
                let id = asked("/v1/wallet/payout", payout, "payoutRequest").await;
                moved(format!("/v1/wallet/payouts/{id}/state"), "SENT").await;
                moved(format!("/v1/wallet/payouts/{id}/state"), end).await;
            }
            let payout = json!({"amount": "0.00000003", "currency": "XTS"});
            asked("/v1/wallet/payout", payout, "payoutRequest").await;
            let balance: Balance = owner.read("/v1/wallet/balance").await;
            assert_eq!(exact(&balance.outgoing_balance), 3);
        }
        _ => {}
    }
}
