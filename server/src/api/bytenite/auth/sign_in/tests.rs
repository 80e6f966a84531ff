//! How people sign up, in and out.

use reqwest::Method;
use serde_json::{Value, json};

use super::*;
use crate::api::testing::TestServer;
use crate::people::profile::Profile;
use crate::store::people::one_time_codes;

mod attacks;

async fn authenticate(
    server: &TestServer,
    email: &str,
    sent: &one_time_codes::Issued,
) -> (u16, Value) {
    let body = json!({"email": email, "nonce": sent.nonce, "code": sent.code,
                      "deviceId": "d", "loginChallenge": ""});
    server.call_as("", Method::POST, "/v1/auth/authenticate", Some(body)).await
}

#[tokio::test]
async fn sign_up_creates_a_workspace_and_sign_in_returns_to_it() {
    let server = TestServer::open().await;
    let profile = Profile { first_name: "Ada".to_owned(), ..Profile::default() };
    let sent =
        one_time_codes::issue(&server.app.db, "ada@example.com", Some(&profile)).await.unwrap();

    let (status, body) = authenticate(&server, "Ada@Example.com ", &sent).await;

    assert_eq!((status, &body["expiresIn"]), (200, &json!("3600")), "{body}");
    let token = body["token"].as_str().unwrap();
    let (_, user) = server.call_as(token, Method::GET, "/v1/auth/user", None).await;
    assert_eq!(user["user"]["email"], "ada@example.com");
    assert_eq!(user["user"]["firstName"], "Ada");
    assert_eq!(user["user"]["emailVerified"], true);
    assert!(user["user"]["lastLogin"].is_string());
    let (_, wallet) = server.call_as(token, Method::GET, "/v1/wallet/balance", None).await;
    assert_eq!(wallet["totalBalance"].to_string(), "5.0");
    assert_ne!(wallet["accountId"], json!(server.workspace));
    let again = one_time_codes::issue(&server.app.db, "ada@example.com", None).await.unwrap();
    let (_, body) = authenticate(&server, "ada@example.com", &again).await;
    let token = body["token"].as_str().unwrap();
    let (_, same) = server.call_as(token, Method::GET, "/v1/auth/user", None).await;
    assert_eq!(same["user"]["id"], user["user"]["id"]);
    assert_eq!(authenticate(&server, "ada@example.com", &again).await.0, 401);
}

#[tokio::test]
async fn sign_up_requires_an_access_code_and_discloses_no_accounts() {
    let server = TestServer::open().await;
    let ask =
        async |body: Value| server.call_as("", Method::POST, "/v1/auth/signin", Some(body)).await;

    let (unknown, sent) = ask(json!({"email": "no@body.com", "isNewUser": false})).await;
    let new = json!({"email": "new@body.com", "isNewUser": true, "firstName": "N"});

    assert_eq!((unknown, &sent["ok"]), (200, &json!(true)));
    assert!(sent["nonce"].is_string() && sent["expireAt"].is_string());
    assert!(sent.get("code").is_none());
    assert_eq!(ask(new.clone()).await.0, 403);
    let mut coded = new;
    coded["accessCode"] = json!("beta");
    assert_eq!(ask(coded).await.0, 200);
    for email in ["", "x", "@x", "a b@c", "a@b\nc", "x<victim@example.com>", "a@b.c,d@e.f"] {
        assert_eq!(ask(json!({"email": email, "isNewUser": false})).await.0, 400, "{email}");
    }
    let nobody = one_time_codes::issue(&server.app.db, "no@body.com", None).await.unwrap();
    assert_eq!(authenticate(&server, "no@body.com", &nobody).await.0, 401);
}

#[tokio::test]
async fn sign_in_codes_beyond_the_limit_are_refused_until_later() {
    let server = TestServer::open().await;
    let url = format!("{}/v1/auth/signin", server.url);
    let body = json!({"email": "a@b.c", "isNewUser": false}).to_string();
    let ask = || server.client.post(&url).body(body.clone()).send();
    for _ in 0..crate::people::attempts::TRIES_MAX {
        assert_eq!(ask().await.unwrap().status(), 200);
    }

    let refused = ask().await.unwrap();

    assert_eq!(refused.status(), 429);
    let after: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=31).contains(&after));
}

#[tokio::test]
async fn token_ends_with_its_own_sign_out_only() {
    let server = TestServer::open().await;
    let token = async || {
        let body = json!({"apiKey": server.key});
        let (_, body) = server.call_as("", Method::POST, "/v1/auth/access_token", Some(body)).await;
        body["token"].as_str().unwrap().to_owned()
    };
    let (first, second) = (token().await, token().await);
    let user =
        async |token: &str| server.call_as(token, Method::GET, "/v1/auth/user", None).await.0;

    let out = server.call_as(&first, Method::POST, "/v1/auth/signout", Some(json!({}))).await;

    assert_eq!((out.0, &out.1["ok"]), (200, &json!(true)));
    assert_eq!((user(&first).await, user(&second).await), (401, 200));
    assert_eq!(server.post("/v1/auth/signout", json!({})).await.0, 400);
    assert_eq!(server.get("/v1/auth/user").await.0, 200);
}

#[tokio::test]
async fn user_profile_can_be_changed() {
    let server = TestServer::open().await;
    let body = json!({"firstName": "Ada", "contactInfo": {"city": "London", "zip": "1"}});
    server.patch("/v1/auth/user", body).await;

    let (status, body) = server.post("/v1/auth/user", json!({"last_name": "L"})).await;

    let user = &body["user"];
    assert_eq!((status, &user["firstName"], &user["lastName"]), (200, &json!("Ada"), &json!("L")));
    assert_eq!(user["contactInfo"]["city"], "London");
    assert_eq!(user["contactInfo"]["company"], "");
    assert_eq!(server.get("/v1/auth/user").await.1, body);
    let (status, body) =
        server.patch("/v1/auth/user", json!({"contactInfo": {"planet": "x"}})).await;
    let message = body["message"].as_str().unwrap();
    assert!(status == 400 && message.starts_with("contactInfo.planet: is not a known field"));
    assert!(message.contains("company"), "{message}");
}
