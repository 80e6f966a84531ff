//! What nobody can do to somebody else's sign-in, nor get from the welcome twice.

use common::digest::Digest;

use super::*;

/// A call from another network.
async fn from(server: &TestServer, network: &str, path: &str, body: &Value) -> (u16, Value) {
    let request = server.client.post(format!("{}{path}", server.url));
    let request = request.header("x-forwarded-for", network).body(body.to_string());
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn guess(server: &TestServer, network: &str, email: &str, nonce: &str, code: &str) -> u16 {
    let body = json!({"email": email, "nonce": nonce, "code": code});
    from(server, network, "/v1/auth/authenticate", &body).await.0
}

async fn balance(server: &TestServer, signed_in: &Value) -> String {
    let token = signed_in["token"].as_str().unwrap();
    let (_, wallet) = server.call_as(token, Method::GET, "/v1/wallet/balance", None).await;
    wallet["totalBalance"].to_string()
}

#[tokio::test]
async fn sign_in_with_the_right_code_works_despite_wrong_tries_of_others() {
    let server = TestServer::open().await;
    let profile = Profile::default();
    one_time_codes::issue(&server.app.db, "ada@example.com", Some(&profile)).await.unwrap();
    let asked = json!({"email": "ada@example.com", "isNewUser": false});
    let (_, attackers) = from(&server, "9.9.9.9", "/v1/auth/signin", &asked).await;
    let nonce = attackers["nonce"].as_str().unwrap();
    for n in 0..40 {
        // Without a nonce, from her own network too; and with one of the attacker's.
        assert_eq!(guess(&server, "1.2.3.4", "ada@example.com", "made-up", "AAAABBBB").await, 401);
        let status = guess(&server, "9.9.9.9", "ada@example.com", nonce, "AAAABBBB").await;
        assert!(matches!(status, 401 | 429), "{n}: {status}");
    }

    let sent =
        one_time_codes::issue(&server.app.db, "ada@example.com", Some(&profile)).await.unwrap();
    let status = guess(&server, "1.2.3.4", "ada@example.com", &sent.nonce, &sent.code).await;

    assert_eq!(status, 200);
    assert_eq!(guess(&server, "9.9.9.9", "ada@example.com", nonce, "AAAABBBB").await, 429);
}

#[tokio::test]
async fn sign_in_emails_requested_by_others_do_not_use_up_the_owners_limit() {
    let server = TestServer::open().await;
    let asked = json!({"email": "ada@example.com", "isNewUser": false});
    let ask = async |network: &str| from(&server, network, "/v1/auth/signin", &asked).await.0;
    for _ in 0..crate::people::attempts::TRIES_MAX {
        assert_eq!(ask("9.9.9.9").await, 200);
    }

    assert_eq!(ask("9.9.9.9").await, 429);
    assert_eq!(ask("1.2.3.4").await, 200);
}

#[tokio::test]
async fn welcome_credits_are_given_once_for_all_spellings_of_a_mailbox() {
    let server = TestServer::open().await;
    let mut welcomed = Vec::new();
    for email in ["ada@example.com", "ada+1@example.com", "Ada+2@EXAMPLE.com", "bob@example.com"] {
        let spelt = Email::parse(email).unwrap();
        let profile = Profile::default();
        let sent =
            one_time_codes::issue(&server.app.db, spelt.as_str(), Some(&profile)).await.unwrap();
        let (status, signed_in) = authenticate(&server, email, &sent).await;
        assert_eq!(status, 200, "{signed_in}");
        welcomed.push(balance(&server, &signed_in).await);
    }

    assert_eq!(welcomed, ["5.0", "0.0", "0.0", "5.0"]);
}

#[tokio::test]
async fn access_code_makes_a_limited_number_of_accounts_that_can_sign_in_again() {
    let server = TestServer::open().await;
    let sign_up = async |email: &str| {
        let asked = json!({"email": email, "isNewUser": true, "accessCode": "one"});
        from(&server, "1.2.3.4", "/v1/auth/signin", &asked).await
    };
    let counted = Some(Digest::of(b"one"));
    let coded = async |email: &str| {
        let profile = Profile::default();
        one_time_codes::issue_for(&server.app.db, email, Some(&profile), counted).await.unwrap()
    };
    // Both have asked while the code could be used.
    let (first, second) = (coded("ada@example.com").await, coded("bob@example.com").await);
    assert_eq!(sign_up("eve@example.com").await.0, 200);

    assert_eq!(authenticate(&server, "ada@example.com", &first).await.0, 200);
    let (status, refused) = authenticate(&server, "bob@example.com", &second).await;

    assert_eq!(status, 403);
    assert!(refused["message"].as_str().unwrap().contains("used up"), "{refused}");
    assert_eq!(sign_up("eve@example.com").await.0, 403);
    let again = coded("ada@example.com").await;
    assert_eq!(authenticate(&server, "ada@example.com", &again).await.0, 200);
}
