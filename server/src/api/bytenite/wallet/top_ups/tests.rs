use reqwest::Method;
use serde_json::{Value, json};

use crate::api::testing::TestServer;

async fn ask(server: &TestServer, body: Value) -> Value {
    let (status, body) = server.post("/v1/wallet/top_up", body).await;
    assert_eq!(status, 200, "{body}");
    body["topUpRequest"].clone()
}

async fn step(server: &TestServer, request: &Value, state: &str) -> (u16, Value) {
    let path = format!("/v1/wallet/top_ups/{}/state", request["id"].as_str().unwrap());
    server.post(&path, json!({"state": state, "note": "by hand"})).await
}

async fn balance(server: &TestServer) -> String {
    server.get("/v1/wallet/balance").await.1["availableBalance"].to_string()
}

#[tokio::test]
async fn top_up_is_booked_when_the_owner_confirms_it_and_keeps_its_rate() {
    let server = TestServer::open().await;
    let asked =
        ask(&server, json!({"amount": "200", "currency": "USD", "currencyAmount": "6.62"})).await;
    assert_eq!((&asked["state"], &asked["exchangeRate"]), (&json!("NEW"), &json!(0.03311)));
    assert_eq!(balance(&server).await, "0.0");

    for state in ["pending", "CONFIRMED", "CONFIRMED"] {
        let (status, body) = step(&server, &asked, state).await;
        assert_eq!(status, 200, "{body}");
    }

    assert_eq!(balance(&server).await, "200.0");
    let (_, lines) = server.get("/v1/wallet/transactions").await;
    let data = &lines["data"][0]["relatedEntityData"];
    assert_eq!(lines["pagination"]["total"], 1);
    assert_eq!((&data["type"], &data["currency"]), (&json!("topup"), &json!("USD")));
    assert_eq!((&data["currencyAmount"], &data["exchangeRate"]), (&json!("6.62"), &json!(0.03311)));
    assert_eq!(step(&server, &asked, "FAILED").await.0, 400);
}

#[tokio::test]
async fn top_up_is_canceled_by_its_own_workspace_only() {
    let server = TestServer::open().await;
    let asked = ask(&server, json!({"currencyAmount": "33.11"})).await;
    let stranger = server.stranger().await;
    let body = json!({"id": asked["id"], "cancelMessage": "changed my mind"});

    let path = "/v1/wallet/cancel_top_up";
    let (theirs, _) = server.call_as(&stranger, Method::POST, path, Some(body.clone())).await;
    let (own, _) = server.post(path, body).await;
    let (confirmed, _) = step(&server, &asked, "CONFIRMED").await;

    assert_eq!((theirs, own, confirmed), (404, 200, 400));
    assert_eq!(balance(&server).await, "0.0");
    let (_, list) = server.get("/v1/wallet/top_ups?state=CANCELED").await;
    assert_eq!(list["data"][0]["note"], "changed my mind");
}

#[tokio::test]
async fn top_ups_are_confirmed_and_listed_by_the_servers_owner_only() {
    let server = TestServer::open().await;
    let stranger = server.stranger().await;
    let body = Some(json!({"amount": 1_000_000}));
    let (_, asked) = server.call_as(&stranger, Method::POST, "/v1/wallet/top_up", body).await;
    let id = asked["topUpRequest"]["id"].as_str().unwrap();

    let path = format!("/v1/wallet/top_ups/{id}/state");
    let body = Some(json!({"state": "CONFIRMED"}));
    let (confirm, _) = server.call_as(&stranger, Method::POST, &path, body).await;
    let all = "/v1/wallet/top_ups?all=true";
    let (list, _) = server.call_as(&stranger, Method::GET, all, None).await;

    assert_eq!((confirm, list), (403, 403));
    assert_eq!(server.get(all).await.1["data"][0]["id"], id);
    assert_eq!(server.get("/v1/wallet/top_ups").await.1["pagination"]["total"], 0);
}

#[tokio::test]
async fn invalid_top_up_is_refused_by_name_and_waiting_ones_are_limited() {
    let server = TestServer::open().await;
    for (body, field) in [
        (json!({}), "amount"),
        (json!({"amount": "0"}), "amount"),
        (json!({"amount": "0.1"}), "amount"),
        (json!({"amount": "-1"}), "amount"),
        (json!({"amount": "1", "currency": "XAU"}), "currency"),
        (json!({"currencyAmount": "0.001"}), "currencyAmount"),
        (json!({"amount": "200", "currencyAmount": "1"}), "currencyAmount"),
        (json!({"amount": [1]}), "amount"),
    ] {
        let (status, answer) = server.post("/v1/wallet/top_up", body.clone()).await;

        let message = answer["message"].as_str().unwrap();
        assert!(status == 400 && message.starts_with(field), "{body}: {answer}");
    }
    for _ in 0..20 {
        ask(&server, json!({"amount": 1})).await;
    }
    assert_eq!(server.post("/v1/wallet/top_up", json!({"amount": 1})).await.0, 400);
}

/// The recorded ledger, from coupons and top-ups to one payment for each job.
#[tokio::test]
async fn recorded_ledger_is_reproduced_to_the_last_digit() {
    let server = TestServer::open().await;
    for (code, amount) in [("TEN-THOUSAND", "10000"), ("JUST-ONE", "1")] {
        let body = json!({"code": code, "amount": amount});
        assert_eq!(server.post("/v1/wallet/coupons", body).await.0, 200);
    }
    let coupon = async |code: &str| {
        let body = json!({"couponCode": code});
        assert_eq!(server.post("/v1/wallet/redeem_coupon", body).await.0, 200);
    };
    let top_up = async || {
        let asked = ask(&server, json!({"amount": "200", "currencyAmount": "6.62"})).await;
        assert_eq!(step(&server, &asked, "CONFIRMED").await.0, 200);
    };

    coupon("TEN-THOUSAND").await;
    top_up().await;
    coupon("JUST-ONE").await;
    top_up().await;

    let (_, lines) = server.get("/v1/wallet/transactions?orderBy=createdAt").await;
    let column = |name: &str| -> Vec<String> {
        lines["data"].as_array().unwrap().iter().map(|line| line[name].to_string()).collect()
    };
    assert_eq!(column("amount"), ["10000.0", "200.0", "1.0", "200.0"]);
    assert_eq!(column("balance"), ["10000.0", "10200.0", "10201.0", "10401.0"]);
    assert_eq!(column("transactionType"), ["\"coupon\"", "\"topup\"", "\"coupon\"", "\"topup\""]);
    let (_, books) = server.get("/v1/wallet/reconciliation").await;
    assert_eq!(books["differences"], 0, "{books}");
    assert_eq!(books["transfers"], 4);
}
