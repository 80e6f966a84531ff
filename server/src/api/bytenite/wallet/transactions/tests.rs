use common::money::credits::Credits;
use reqwest::Method;
use serde_json::{Value, json};

use super::*;
use crate::api::testing::TestServer;

fn amounts(body: &Value) -> Vec<String> {
    let lines = body["data"].as_array().unwrap_or_else(|| panic!("no list: {body}"));
    lines.iter().map(|line| line["amount"].to_string()).collect()
}

#[tokio::test]
async fn statement_is_filtered_and_sorted() {
    let server = TestServer::open().await;
    for (units, name) in [(200_000_000, "first"), (300_000_001, "second")] {
        let amount = Credits::from_units(units).unwrap();
        server.app.coordinator.grant(server.workspace, amount, name).await.unwrap();
    }
    for (field, condition, value, found) in [
        ("amount", "EQ", json!("3.00000001"), vec!["3.00000001"]),
        ("amount", "GT", json!(-1), vec!["3.00000001", "2.0"]),
        ("transactionType", "EQ", json!("payment"), vec![]),
        ("transactionType", "IN", json!(["coupon"]), vec!["3.00000001", "2.0"]),
        ("balance", "GTE", json!(5), vec!["3.00000001"]),
        ("related_entity_data.job_id", "EQ", Value::Null, vec!["3.00000001", "2.0"]),
    ] {
        let body = json!({"filters": [{"field": field, "condition": condition, "value": value}]});

        let (status, lines) = server.post("/v1/wallet/transactions/filter", body).await;

        assert_eq!(
            (status, amounts(&lines)),
            (200, found.iter().map(ToString::to_string).collect()),
            "{field}"
        );
    }
    let (_, lines) = server.get("/v1/wallet/transactions?orderBy=amount&limit=1").await;
    assert_eq!(amounts(&lines), ["2.0"]);
    let mut cursor = "*".to_owned();
    for (amount, more) in [("3.00000001", true), ("2.0", false)] {
        let path = format!("/v1/wallet/transactions?limit=1&cursor={cursor}");
        let (_, lines) = server.get(&path).await;
        assert_eq!(amounts(&lines), [amount]);
        assert_eq!(lines["pagination"]["hasNext"], more);
        cursor = lines["pagination"]["nextCursor"].as_str().unwrap_or_default().to_owned();
    }
    let stranger = server.stranger().await;
    let path = "/v1/wallet/transactions/filter";
    let (_, lines) = server.call_as(&stranger, Method::POST, path, Some(json!({}))).await;
    assert_eq!(lines["pagination"]["total"], 0);
}

#[tokio::test]
async fn statement_is_available_as_a_table() {
    let server = TestServer::open().await;
    for (units, name) in [(200_000_000, "first"), (300_000_001, "second")] {
        let amount = Credits::from_units(units).unwrap();
        server.app.coordinator.grant(server.workspace, amount, name).await.unwrap();
    }

    let (_, old) = server.get("/v1/customer/wallet/balance").await;
    assert_eq!(
        old,
        json!({"accountId": server.workspace, "totalBalance": "5", "availableBalance": "5"})
    );
}

#[tokio::test]
async fn statement_shows_enough_to_verify_the_hash_chain() {
    let server = TestServer::open().await;
    for n in 0..3 {
        let amount = Credits::from_units(100_000_001).unwrap();
        server.app.coordinator.grant(server.workspace, amount, &n.to_string()).await.unwrap();
    }

    let (_, text) = server.get("/v1/wallet/transactions?orderBy=createdAt").await;

    let mut previous = "0".repeat(64);
    for (n, line) in text["data"].as_array().unwrap().iter().enumerate() {
        let text = |name: &str| line[name].as_str().unwrap().to_owned();
        let eight = |name: &str| format!("{:.8}", line[name].as_f64().unwrap());
        let fields = [
            previous,
            server.workspace.to_string(),
            (n + 1).to_string(),
            text("createdAt"),
            text("transactionType"),
            eight("amount"),
            eight("balance"),
            line["relatedEntity"]["id"].as_str().unwrap().to_owned(),
            text("description"),
        ];
        assert_eq!(text("hash"), Digest::of(fields.join("\n").as_bytes()).to_string());
        previous = text("hash");
    }
}
