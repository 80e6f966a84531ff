//! Statements, recomputed from what the API answers and from nothing else.

mod mixed;

use std::collections::BTreeMap;

use chrono::TimeDelta;
use common::digest::Digest;
use common::ids::WorkspaceId;
use common::money::credits::Credits;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::api::testing::TestServer;
use crate::coordinator::testing::Worker;
use crate::maintenance::earnings;

const JOBS: usize = 50;

#[derive(Deserialize)]
struct Page {
    data: Vec<Line>,
    pagination: Pagination,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pagination {
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    number: u64,
    created_at: String,
    transaction_type: String,
    amount: Box<RawValue>,
    balance: Box<RawValue>,
    related_entity: Entity,
    description: String,
    hash: String,
}

#[derive(Deserialize)]
struct Entity {
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Balance {
    total_balance: Box<RawValue>,
    available_balance: Box<RawValue>,
    held_balance: Box<RawValue>,
    charged_balance: Box<RawValue>,
    pending_earnings: Box<RawValue>,
    outgoing_balance: Box<RawValue>,
}

/// A number by the digits that the server wrote, in 1e-8 credits.
fn exact(number: &RawValue) -> i64 {
    let units = |text: &str| text.parse::<Credits>().unwrap().units();
    let text = number.get();
    text.strip_prefix('-').map_or_else(|| units(text), |text| -units(text))
}

/// A workspace, as its own key sees it.
struct Holder<'a> {
    server: &'a TestServer,
    key: &'a str,
    workspace: WorkspaceId,
}

impl<'a> Holder<'a> {
    fn owner(server: &'a TestServer) -> Self {
        Self { server, key: &server.key, workspace: server.workspace }
    }

    async fn read<T: DeserializeOwned>(&self, path: &str) -> T {
        let request = self.server.client.get(format!("{}{path}", self.server.url));
        let text = request.header("authorization", self.key).send().await.unwrap().text().await;
        let text = text.unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
    }
}

/// Starts a job of three chunks.
async fn start(server: &TestServer, n: usize) -> String {
    let id = server
        .job(json!({"templateId": "t", "name": format!("job {n}"),
                    "params": {"partitioner": {"num_replicas": 3}},
                    "dataSource": {"dataSourceDescriptor": "bypass"},
                    "dataDestination": {"dataSourceDescriptor": "bucket"}}))
        .await;
    let (status, body) = server.post(&format!("/v1/customer/jobs/{id}/run"), json!({})).await;
    assert_eq!(status, 200, "{body}");
    id
}

impl Holder<'_> {
    /// All lines of the statement, oldest first.
    async fn lines(&self) -> Vec<Line> {
        let mut lines: Vec<Line> = Vec::new();
        // By cursor: a line that comes meanwhile moves no other.
        let mut cursor = Some("*".to_owned());
        while let Some(at) = cursor {
            let path = format!("/v1/wallet/transactions?limit=40&cursor={at}");
            let page: Page = self.read(&path).await;
            lines.extend(page.data);
            cursor = page.pagination.next_cursor;
        }
        lines.sort_by_key(|line| line.number);
        lines
    }

    /// The statement and the balance of one moment: jobs end while they are read.
    async fn books(&self) -> (Vec<Line>, Balance) {
        loop {
            let lines = self.lines().await;
            let balance = self.read("/v1/wallet/balance").await;
            if self.lines().await.len() == lines.len() {
                return (lines, balance);
            }
        }
    }

    /// Recomputes the whole statement. Gives what each job's line took.
    async fn recompute(&self) -> BTreeMap<String, i64> {
        let (lines, found) = self.books().await;
        let (mut balance, mut hash) = (0, "0".repeat(64));
        let mut paid = BTreeMap::new();
        for (n, line) in (1..).zip(&lines) {
            let amount = exact(&line.amount);
            balance += amount;
            assert_eq!((line.number, exact(&line.balance)), (n, balance), "line {n}");
            let (number, owner) = (n.to_string(), self.workspace.to_string());
            let fields = [
                hash.as_str(),
                &owner,
                &number,
                &line.created_at,
                &line.transaction_type,
                line.amount.get(),
                line.balance.get(),
                &line.related_entity.id,
                &line.description,
            ];
            let expected = Digest::of(fields.join("\n").as_bytes()).to_string();
            assert_eq!(line.hash, expected, "line {n}");
            hash.clone_from(&line.hash);
            if line.transaction_type == "payment" {
                assert!(paid.insert(line.related_entity.id.clone(), -amount).is_none());
            }
        }
        assert_eq!(exact(&found.total_balance), balance);
        let parts = [&found.available_balance, &found.held_balance, &found.charged_balance];
        assert_eq!(parts.into_iter().map(|part| exact(part)).sum::<i64>(), balance);
        let (_, books) = self.server.get("/v1/wallet/reconciliation").await;
        assert_eq!(books["differences"], 0, "{books}");
        paid
    }
}

#[tokio::test]
async fn statement_of_fifty_overlapping_jobs_is_recomputed_from_the_api_alone() {
    let server = TestServer::open().await;
    let app = &server.app;
    app.coordinator.grant(server.workspace, "100".parse().unwrap(), "first").await.unwrap();
    server.template("replicate", "passthrough").await;
    let coupon = json!({"code": "MIDWAY-2026", "amount": "3.33333333"});
    assert_eq!(server.post("/v1/wallet/coupons", coupon).await.0, 200);
    let owner = Holder::owner(&server);
    let mut ids = Vec::new();
    for n in 0..JOBS {
        ids.push(start(&server, n).await);
    }
    let mut worker = Worker::join(&app.db, server.workspace).await;
    let mut overlapped = false;

    let mut open = ids.clone();
    for turn in 0.. {
        worker.turn(&app.coordinator).await;
        if turn == 20 {
            let code = json!({"couponCode": "MIDWAY-2026"});
            assert_eq!(server.post("/v1/wallet/redeem_coupon", code).await.0, 200);
            let id = open.first().unwrap();
            server.post(&format!("/v1/customer/jobs/{id}/abort"), json!({})).await;
            let earned = earnings::pass(&app.db, &app.coordinator, TimeDelta::zero()).await;
            earned.unwrap();
        }
        if turn % 10 == 0 {
            let page: Value = owner.read("/v1/customer/jobs?limit=100").await;
            let ended: Vec<_> = page["data"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|job| !job["endedAt"].is_null())
                .map(|job| job["id"].as_str().unwrap().to_owned())
                .collect();
            open.retain(|id| !ended.contains(id));
            let found: Balance = owner.read("/v1/wallet/balance").await;
            // Charged to jobs whose lines are still to come, while others have theirs.
            if exact(&found.charged_balance) != 0 && open.len() < JOBS && !open.is_empty() {
                overlapped = true;
            }
            owner.recompute().await;
            if open.is_empty() {
                break;
            }
        }
    }
    earnings::pass(&app.db, &app.coordinator, TimeDelta::zero()).await.unwrap();
    let payout = json!({"amount": "0.00000010", "currency": "XTS"});
    assert_eq!(server.post("/v1/wallet/payout", payout).await.0, 200);

    assert!(overlapped, "the jobs did not overlap");
    let paid = owner.recompute().await;
    for id in &ids {
        let tasks: Value = owner.read(&format!("/v1/customer/jobs/{id}/tasks")).await;
        let price =
            |task: &Value| task["price"].as_str().unwrap().parse::<Credits>().unwrap().units();
        let sum: i64 = tasks["tasks"].as_array().unwrap().iter().map(price).sum();
        assert_eq!(paid.get(id).copied().unwrap_or_default(), sum, "{id}");
    }
    assert!(paid.len() > JOBS / 2, "{} lines of jobs", paid.len());
}
