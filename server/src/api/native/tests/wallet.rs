//! The wallet and nodes.

use chrono::TimeDelta;

use super::*;
use crate::coordinator::testing::earn;
use crate::maintenance::earnings;
use crate::store::people::workspaces;

#[tokio::test]
async fn balance_transactions_and_usage_show_what_was_granted() {
    let server = granted().await;

    let balance = read(&server, "/v1/balance").await;
    let lines = read(&server, "/v1/transactions").await;
    let usage = read(&server, "/v1/usage").await;

    assert_eq!(
        (&balance["total"], &balance["available"]),
        (&json!("1000.00000000"), &json!("1000.00000000"))
    );
    assert_eq!(
        (&balance["pending"], &balance["pending_payable_from"]),
        (&json!("0.00000000"), &Value::Null)
    );
    let line = &lines["transactions"][0];
    assert_eq!((&line["kind"], &line["number"]), (&json!("coupon"), &json!(1)), "{line}");
    assert_eq!((&line["amount"], &line["balance"]), (&json!("1000.00000000"), &balance["total"]));
    assert_eq!(lines["next_cursor"], Value::Null);
    assert_eq!(usage["months"], json!([]));
    assert!(usage["storage"]["bytes"].as_u64() > Some(0), "{usage}");
    for (path, field) in [
        ("/v1/transactions?kind=x", "kind"),
        ("/v1/transactions?cursor=x", "cursor"),
        ("/v1/usage?from=x", "from"),
        ("/v1/usage?from=2026-02&to=2026-01", "from"),
        ("/v1/exchange_rate?currency=XYZ", "currency"),
        ("/v1/exchange_rate?credits=-1", "credits"),
        ("/v1/exchange_rate?credits=1&money=1", "money"),
        ("/v1/top_ups?state=NEW", "state"),
        ("/v1/payouts?cursor=x", "cursor"),
    ] {
        let (status, refused) = server.get(path).await;
        assert_eq!((status, problem(&refused)), (400, ("INVALID_ARGUMENT", field)), "{refused}");
    }
}

#[tokio::test]
async fn cursor_leads_through_the_transactions_of_a_kind() {
    let server = granted().await;
    for key in ["second", "third"] {
        let amount = Credits::from_units(1).unwrap();
        server.app.coordinator.grant(server.workspace, amount, key).await.unwrap();
    }

    let first = read(&server, "/v1/transactions?limit=2&kind=coupon").await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest =
        read(&server, &format!("/v1/transactions?limit=2&kind=coupon&cursor={cursor}")).await;

    let numbers = |page: &Value| -> Vec<u64> {
        let lines = page["transactions"].as_array().unwrap().iter();
        lines.map(|line| line["number"].as_u64().unwrap()).collect()
    };
    assert_eq!((numbers(&first), numbers(&rest)), (vec![3, 2], vec![1]));
    assert_eq!(rest["next_cursor"], Value::Null);
    assert_eq!(read(&server, "/v1/transactions?kind=payout").await["transactions"], json!([]));
}

#[tokio::test]
async fn credits_are_converted_both_ways() {
    let server = TestServer::open().await;

    let one = read(&server, "/v1/exchange_rate").await;
    let many = read(&server, "/v1/exchange_rate?credits=200&currency=usd").await;
    let money = read(&server, "/v1/exchange_rate?money=6.62").await;

    assert_eq!((&one["credits"], &one["money"]), (&json!("1.00000000"), &json!("0.03311")));
    assert_eq!((&many["rate"], &many["money"]), (&json!("0.03311"), &json!("6.622")));
    assert_eq!(money["credits"], "199.93959529");
}

#[tokio::test]
async fn top_up_is_requested_listed_cancelled_and_confirmed_by_the_owner() {
    let server = TestServer::open().await;
    let (status, asked) = server.post("/v1/top_ups", json!({"credits": "10000"})).await;
    assert_eq!((status, &asked["state"]), (200, &json!("new")), "{asked}");
    let path = |request: &Value| format!("/v1/top_ups/{}", request["id"].as_str().unwrap());

    let cancel = format!("{}/cancel", path(&asked));
    let (status, cancelled) = server.post(&cancel, json!({"note": "no"})).await;
    let (_, second) = server.post("/v1/top_ups", json!({"credits": "20000"})).await;
    let state = format!("{}/state", path(&second));
    let (_, confirmed) = server.post(&state, json!({"state": "confirmed"})).await;

    assert_eq!((status, &cancelled["state"]), (200, &json!("cancelled")), "{cancelled}");
    assert_eq!((&cancelled["note"], &confirmed["state"]), (&json!("no"), &json!("confirmed")));
    assert_eq!(read(&server, "/v1/balance").await["available"], "20000.00000000");
    let page = read(&server, "/v1/top_ups?limit=1").await;
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = read(&server, &format!("/v1/top_ups?limit=1&cursor={cursor}")).await;
    assert_eq!([&page["requests"][0], &rest["requests"][0]], [&confirmed, &cancelled]);
    assert_eq!(rest["next_cursor"], Value::Null);
    let some = read(&server, "/v1/top_ups?state=cancelled&all=true").await;
    assert_eq!(some["requests"], json!([cancelled]));
    for (path, body, field) in [
        ("/v1/top_ups", json!({}), "credits"),
        ("/v1/top_ups", json!({"credits": "x"}), "credits"),
        ("/v1/top_ups", json!({"credits": "10000", "money": "1"}), "money"),
        ("/v1/top_ups", json!({"credits": "10000", "currency": "XYZ"}), "currency"),
        (&state, json!({"state": "CONFIRMED"}), "state"),
    ] {
        let (status, refused) = server.post(path, body).await;
        assert_eq!((status, problem(&refused).1), (400, field), "{refused}");
    }
}

#[tokio::test]
async fn payout_is_requested_and_advanced_by_the_owner() {
    let server = TestServer::open().await;
    let app = &server.app;
    let customer = workspaces::create_workspace(&app.db, "customer").await.unwrap();
    app.coordinator.grant(customer, "10".parse().unwrap(), "customer").await.unwrap();
    let earned = earn(&app.coordinator, &app.db, customer, server.workspace).await;
    earnings::pass(&app.db, &app.coordinator, TimeDelta::zero()).await.unwrap();
    // In a currency of which the smallest amount of credits buys some.
    let body = json!({"credits": earned, "currency": "XTS"});

    let (status, asked) = server.post("/v1/payouts", body.clone()).await;
    let (again, refused) = server.post("/v1/payouts", body).await;

    assert_eq!((status, &asked["state"]), (200, &json!("new")), "{asked}");
    assert_eq!((again, problem(&refused).0), (400, "INSUFFICIENT_CREDITS"));
    assert!(refused["detail"].as_str().unwrap().starts_with("credits: "), "{refused}");
    assert_eq!(read(&server, "/v1/balance").await["outgoing"], json!(earned));
    let state = format!("/v1/payouts/{}/state", asked["id"].as_str().unwrap());
    let (status, refused) = server.post(&state, json!({"state": "confirmed"})).await;
    assert_eq!((status, problem(&refused).0), (400, "WRONG_STATE"), "{refused}");
    let (status, sent) = server.post(&state, json!({"state": "sent", "note": "n"})).await;
    assert_eq!((status, &sent["state"], &sent["note"]), (200, &json!("sent"), &json!("n")));
    assert!(sent["sent_at"].is_string());
    assert_eq!(read(&server, "/v1/payouts").await["requests"], json!([sent]));
}

#[tokio::test]
async fn coupon_is_created_once_redeemed_and_listed_without_its_code() {
    let server = TestServer::open().await;
    let body = json!({"code": "welcome-2026", "credits": "100", "uses": 2});

    let (status, made) = server.post("/v1/coupons", body.clone()).await;
    let (again, refused) = server.post("/v1/coupons", body).await;
    let redeem = json!({"code": "Welcome-2026"});
    let (redeemed_status, redeemed) = server.post("/v1/coupons/redeem", redeem.clone()).await;
    let (_, twice) = server.post("/v1/coupons/redeem", redeem.clone()).await;

    assert_eq!((status, &made["uses_max"]), (200, &json!(2)), "{made}");
    assert_eq!((again, problem(&refused).0), (409, "COUPON_EXISTS"));
    assert_eq!((redeemed_status, &redeemed["credits"]), (200, &json!("100.00000000")));
    assert_eq!(problem(&twice).0, "COUPON_REDEEMED", "{twice}");
    let listed = read(&server, "/v1/coupons").await;
    assert_eq!((&listed["coupons"][0]["uses"], &listed["next_cursor"]), (&json!(1), &Value::Null));
    assert!(!listed.to_string().to_lowercase().contains("welcome"));
    for (body, field) in [
        (json!({"code": "short", "credits": "1"}), "code"),
        (json!({"code": "LONG-ENOUGH", "credits": "0"}), "credits"),
        (json!({"code": "LONG-ENOUGH", "credits": "1", "uses": 0}), "uses"),
        (
            json!({"code": "LONG-ENOUGH", "credits": "1", "expires_at": "2020-01-01T00:00:00Z"}),
            "expires_at",
        ),
    ] {
        let (status, refused) = server.post("/v1/coupons", body).await;
        assert_eq!((status, problem(&refused).1), (400, field), "{refused}");
    }
    let stranger = server.stranger().await;
    for (method, path) in [(Method::GET, "/v1/coupons"), (Method::GET, "/v1/reconciliation")] {
        let (status, refused) = server.call_as(&stranger, method, path, None).await;
        assert_eq!((status, problem(&refused).0), (403, "FORBIDDEN"), "{path}");
    }
    assert_eq!(read(&server, "/v1/reconciliation").await["differences"], 0);
}

#[tokio::test]
async fn node_joins_with_a_token_is_shown_and_removed() {
    let server = TestServer::open().await;
    let (status, made) = server.post_named("k", "/v1/nodes/tokens", &json!({})).await;
    let (again, refused) = server.post_named("k", "/v1/nodes/tokens", &json!({})).await;
    assert_eq!((status, again, problem(&refused).0), (200, 400, "SHOWN_ALREADY"));
    let token = made["token"].as_str().unwrap();
    let node = nodes::join(&server.app.db, "peer", token).await.unwrap().unwrap();
    let path = format!("/v1/nodes/{node}");

    let listed = read(&server, "/v1/nodes").await;
    let shown = read(&server, &path).await;

    assert_eq!(listed, json!({"nodes": [shown], "next_cursor": null}));
    assert_eq!((&shown["state"], &shown["tasks_done"]), (&json!("silent"), &json!(0)));
    assert!(shown["idle"].as_str().unwrap().contains("silent"), "{shown}");
    assert_eq!(server.call(Method::DELETE, &path, None).await, (200, json!({"id": node})));
    assert_eq!(server.get(&path).await.0, 404);
    assert_eq!(server.get("/v1/nodes/x").await.0, 404);
}
