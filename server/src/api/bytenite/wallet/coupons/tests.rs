use reqwest::Method;
use serde_json::{Value, json};

use crate::api::testing::TestServer;

async fn make(server: &TestServer, body: Value) {
    let (status, body) = server.post("/v1/wallet/coupons", body).await;
    assert_eq!(status, 200, "{body}");
}

fn redeem(code: &str) -> Value {
    json!({"couponCode": code})
}

const REDEEM: &str = "/v1/wallet/redeem_coupon";

#[tokio::test]
async fn coupon_is_redeemed_once_in_any_case_and_shown_on_the_statement() {
    let server = TestServer::open().await;
    make(&server, json!({"code": "Welcome-2026", "amount": "10000", "uses": 2})).await;

    let (status, body) = server.call(Method::POST, REDEEM, Some(redeem(" welcome-2026 "))).await;
    let (again, _) = server.call(Method::POST, REDEEM, Some(redeem("WELCOME-2026"))).await;

    assert_eq!(status, 200, "{body}");
    assert_eq!(
        (body["code"].as_str(), body["amount"].as_str()),
        (Some("WELCOME-2026"), Some("10000.00000000"))
    );
    assert_eq!(again, 400);
    let (_, lines) = server.get("/v1/wallet/transactions").await;
    assert_eq!(lines["pagination"]["total"], 1);
    let data = &lines["data"][0]["relatedEntityData"];
    assert_eq!((&data["type"], &data["couponCode"]), (&json!("coupon"), &json!("WELCOME-2026")));
    let (_, coupons) = server.get("/v1/wallet/coupons").await;
    assert_eq!(
        (&coupons["data"][0]["uses"], &coupons["data"][0]["usesMax"]),
        (&json!(1), &json!(2))
    );
    assert!(!coupons.to_string().to_uppercase().contains("WELCOME"));
}

#[tokio::test]
async fn repeated_create_of_a_coupon_never_returns_another_coupon() {
    let server = TestServer::open().await;
    make(&server, json!({"code": "WELCOME-2026", "amount": 1})).await;
    let other = json!({"code": "WELCOME-2026", "amount": 2});

    for _ in 0..2 {
        let (status, body) = server.post_named("k", "/v1/wallet/coupons", &other).await;

        assert_eq!((status, &body["details"][0]["reason"]), (400, &json!("COUPON_EXISTS")));
    }
}

#[tokio::test]
async fn coupon_codes_cannot_be_discovered() {
    let server = TestServer::open().await;
    make(&server, json!({"code": "USED-UP-1", "amount": 1})).await;
    server.call(Method::POST, REDEEM, Some(redeem("USED-UP-1"))).await;
    let stranger = server.stranger().await;

    let (used_up, one) =
        server.call_as(&stranger, Method::POST, REDEEM, Some(redeem("USED-UP-1"))).await;
    let (unknown, other) =
        server.call_as(&stranger, Method::POST, REDEEM, Some(redeem("UNKNOWN-1"))).await;

    let said = |body: &Value| (body["message"].clone(), body["details"][0]["reason"].clone());
    assert_eq!((used_up, unknown), (400, 400));
    assert_eq!(said(&one), said(&other));
}

#[tokio::test]
async fn coupon_code_tries_are_limited() {
    let server = TestServer::open().await;
    let mut status = 0;
    for n in 0..20 {
        (status, _) =
            server.call(Method::POST, REDEEM, Some(redeem(&format!("GUESS-{n:03}")))).await;
    }

    assert_eq!(status, 429);
}

#[tokio::test]
async fn coupons_are_made_by_the_servers_owner_only() {
    let server = TestServer::open().await;
    let stranger = server.stranger().await;
    let body = Some(json!({"code": "RICH-FOR-EVER", "amount": "1000000"}));

    for (method, body) in [(Method::POST, body), (Method::GET, None)] {
        let (status, body) = server.call_as(&stranger, method, "/v1/wallet/coupons", body).await;
        assert_eq!((status, body["code"].as_i64()), (403, Some(7)));
    }
}

#[tokio::test]
async fn invalid_coupon_is_refused_by_name() {
    let server = TestServer::open().await;
    for (body, field) in [
        (json!({"code": "SHORT", "amount": 1}), "code"),
        (json!({"code": "NOT SO 'PLAIN'", "amount": 1}), "code"),
        (json!({"code": "LONG-ENOUGH", "amount": 0}), "amount"),
        (json!({"code": "LONG-ENOUGH", "amount": "-5"}), "amount"),
        (json!({"code": "LONG-ENOUGH", "amount": "1000000001"}), "amount"),
        (json!({"code": "LONG-ENOUGH", "amount": 1, "uses": 0}), "uses"),
        (
            json!({"code": "LONG-ENOUGH", "amount": 1, "expiresAt": "2020-01-01T00:00:00Z"}),
            "expiresAt",
        ),
        (json!({"code": "LONG-ENOUGH", "amount": 1, "color": 1}), "color"),
    ] {
        let (status, answer) = server.post("/v1/wallet/coupons", body.clone()).await;

        let message = answer["message"].as_str().unwrap();
        assert!(status == 400 && message.starts_with(field), "{body}: {answer}");
    }
}
