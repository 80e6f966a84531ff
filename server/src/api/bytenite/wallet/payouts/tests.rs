use chrono::TimeDelta;
use common::money::credits::Credits;
use reqwest::Method;
use serde_json::{Value, json};

use crate::api::testing::TestServer;
use crate::coordinator::testing::earn;
use crate::maintenance::earnings;
use crate::store::people::workspaces;

/// A server whose workspace has earned something that can be paid out.
async fn with_earnings() -> (TestServer, Credits) {
    let server = TestServer::open().await;
    let app = &server.app;
    let customer = workspaces::create_workspace(&app.db, "customer").await.unwrap();
    let gift = "10".parse().unwrap();
    app.coordinator.grant(customer, gift, "customer").await.unwrap();
    let earned = earn(&app.coordinator, &app.db, customer, server.workspace).await;
    earnings::pass(&app.db, &app.coordinator, TimeDelta::zero()).await.unwrap();
    (server, earned)
}

async fn ask(server: &TestServer, amount: Credits) -> (u16, Value) {
    // In a currency of which the smallest amount of credits buys some.
    server.post("/v1/wallet/payout", json!({"amount": amount, "currency": "XTS"})).await
}

#[tokio::test]
async fn payout_is_requested_once_and_advanced_by_the_owner() {
    let (server, earned) = with_earnings().await;

    let (status, asked) = ask(&server, earned).await;
    let (again, _) = ask(&server, earned).await;

    assert_eq!((status, again), (200, 400), "{asked}");
    assert_eq!(asked["payoutRequest"]["state"], "NEW");
    let (_, balance) = server.get("/v1/wallet/balance").await;
    assert_eq!(balance["availableBalance"].to_string(), "0.0");
    assert_eq!(balance["outgoingBalance"].to_string(), number(earned));
    let path =
        format!("/v1/wallet/payouts/{}/state", asked["payoutRequest"]["id"].as_str().unwrap());
    let stranger = server.stranger().await;
    let body = json!({"state": "SENT"});
    assert_eq!(server.call_as(&stranger, Method::POST, &path, Some(body.clone())).await.0, 403);
    assert_eq!(server.post(&path, json!({"state": "CONFIRMED"})).await.0, 400);
    assert_eq!(server.post(&path, body).await.0, 200);
    assert_eq!(
        server.post(&path, json!({"state": "bounced", "note": "no such bank"})).await.0,
        200
    );
    let (_, balance) = server.get("/v1/wallet/balance").await;
    assert_eq!(balance["payableBalance"].to_string(), number(earned));
    let (_, history) = server.get("/v1/wallet/payout_history?limit=5&offset=0").await;
    let payout = &history["payoutRequests"][0];
    assert_eq!((&payout["state"], &payout["note"]), (&json!("BOUNCED"), &json!("no such bank")));
    assert!(payout["sentAt"].is_string());
    let (_, lines) = server.get("/v1/wallet/transactions").await;
    let kinds: Vec<_> =
        lines["data"].as_array().unwrap().iter().map(|l| &l["transactionType"]).collect();
    assert_eq!(kinds, ["payout_return", "payout", "earning"]);
    assert_eq!(server.get("/v1/wallet/reconciliation").await.1["differences"], 0);
}

#[tokio::test]
async fn payout_repeated_under_one_key_is_requested_once() {
    let (server, earned) = with_earnings().await;
    for (path, body) in [
        ("/v1/wallet/coupons", json!({"code": "ONLY-ONCE", "amount": 1})),
        ("/v1/wallet/payout", json!({"amount": earned, "currency": "XTS"})),
        ("/v1/wallet/top_up", json!({"amount": 200})),
        ("/v1/wallet/redeem_coupon", json!({"couponCode": "ONLY-ONCE"})),
    ] {
        let ask = async || server.post_named(path, path, &body).await.1.to_string();

        let (first, again) = (ask().await, ask().await);

        assert_eq!(first, again, "{path}");
        assert!(first.contains("\"id\""), "{first}");
    }
    assert_eq!(server.get("/v1/wallet/payouts").await.1["pagination"]["total"], 1);
    assert_eq!(server.get("/v1/wallet/top_ups").await.1["pagination"]["total"], 1);
}

#[tokio::test]
async fn payouts_are_hidden_from_strangers() {
    let (server, earned) = with_earnings().await;
    ask(&server, earned).await;
    let stranger = server.stranger().await;
    let get = async |path| server.call_as(&stranger, Method::GET, path, None).await;

    assert_eq!(get("/v1/wallet/payout_history").await.1["payoutRequests"], json!([]));
    assert_eq!(get("/v1/wallet/payouts").await.1["pagination"]["total"], 0);
    assert_eq!(get("/v1/wallet/payouts?all=true").await.0, 403);
    assert_eq!(get("/v1/wallet/reconciliation").await.0, 403);
}

/// As JSON numbers are printed when they have been read.
fn number(credits: Credits) -> String {
    serde_json::from_str::<Value>(&credits.to_string()).unwrap().to_string()
}

#[tokio::test]
async fn refused_payout_names_the_pending_amount_and_its_time() {
    let server = TestServer::open().await;
    let app = &server.app;
    let customer = workspaces::create_workspace(&app.db, "customer").await.unwrap();
    app.coordinator.grant(customer, "10".parse().unwrap(), "customer").await.unwrap();
    let earned = earn(&app.coordinator, &app.db, customer, server.workspace).await;

    let (status, refused) = ask(&server, "1".parse().unwrap()).await;
    let (_, balance) = server.get("/v1/wallet/balance").await;

    let message = refused["message"].as_str().unwrap();
    let from = balance["pendingPayableFrom"].as_str().unwrap();
    assert_eq!((status, balance["pendingEarnings"].to_string()), (400, number(earned)));
    assert!(message.contains("1.00000000 credits were asked for and 0.00000000 can"), "{message}");
    assert!(message.contains(&format!("{earned} credits are pending")), "{message}");
    assert!(message.contains(&format!("paid out from {from}")), "{message}");
    assert!(from.ends_with(":00:00Z"), "{from}");

    earnings::pass(&app.db, &app.coordinator, TimeDelta::zero()).await.unwrap();
    let (_, balance) = server.get("/v1/wallet/balance").await;
    assert_eq!(balance["pendingPayableFrom"], json!(null));
    assert_eq!(balance["payableBalance"].to_string(), number(earned));
    let (_, lines) = server.get("/v1/wallet/transactions").await;
    let line = lines["data"][0]["description"].as_str().unwrap();
    assert!(line.contains("(tasks: 1, jobs: 1)"), "{line}");
}
