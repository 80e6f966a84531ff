//! `Idempotency-Key`: how a request names itself, so that it can be repeated.

use common::digest::Digest;
use uuid::Uuid;

use super::call::Call;
use crate::error::{Error, Result};
pub use crate::idempotency::NAME as HEADER;
use crate::idempotency::{self, NewId, RequestKey};
use crate::people::caller::Caller;

/// What documents say of it.
pub const ABOUT: &str = "The caller's name for this request, 1 to 255 plain characters: what is \
    asked again under it within two days makes nothing more. Another request needs another name.";
const KEY_CHARS_MAX: usize = 255;

/// The id of what this create makes: a fresh one, or the first one's where it is repeated.
///
/// # Errors
/// A malformed key, and one that was used with another request.
pub async fn new_id(call: &Call, caller: &Caller, body: &[u8]) -> Result<NewId> {
    idempotency::new_id(call.app(), caller, key(call, body)?.as_ref(), Uuid::now_v7()).await
}

/// The request's key, where it has one.
///
/// # Errors
/// A malformed key.
pub fn key(call: &Call, body: &[u8]) -> Result<Option<RequestKey>> {
    let Some(key) = call.headers.get(HEADER) else { return Ok(None) };
    let key = key.to_str().ok().filter(|key| (1..=KEY_CHARS_MAX).contains(&key.len()));
    let problem = || format!("must be 1 to {KEY_CHARS_MAX} plain characters");
    let key = key.ok_or_else(|| Error::field(HEADER, problem()))?.to_owned();
    let asked = Digest::of(&[call.path.as_str().as_bytes(), b"\n", body].concat());
    Ok(Some(RequestKey { key, asked }))
}

/// Refuses to show once more what is shown once: `made` says what.
pub fn shown_already(made: &str) -> Error {
    let text = format!(
        "{HEADER}: this request has made {made} already, and showed it then: ask for another \
         under a new {HEADER}"
    );
    Error::Blocked("SHOWN_ALREADY", text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;
    use crate::api::testing::{TestServer, binary, package};

    const EJJY_JOBS: &str = "/compat/ejjy/workspaces/{workspace}/projects/{project}/jobs";
    const EJJY_RUNS: &str =
        "/compat/ejjy/workspaces/{workspace}/projects/{project}/jobs/{job}/runs";

    #[tokio::test]
    async fn idempotency_key_is_read_by_every_create_that_documents_it() {
        let server = TestServer::open().await;
        server.template("lines", "concat").await;
        let id = server.job(json!({"templateId": "t"})).await;
        let archive = json!({"data": package(&binary("b", "0.1"))});
        let mut engine = binary("c", "0.1");
        engine["type"] = json!("partitioner");
        let secret = json!({"secretType": "aws", "accessKey": "AK"});
        let creates = [
            ("/compat/daestro/v1/client/cron-job", json!({})),
            ("/compat/daestro/v1/client/job", json!({})),
            (EJJY_JOBS, json!({"name": "n", "image": "a"})),
            (EJJY_RUNS, json!({})),
            (
                "/compat/quedup/jobs",
                json!({"method": "GET", "name": "n", "url": "https://h.example", "schedule": "@daily"}),
            ),
            ("/v1/auth/api_key", json!({"name": "n"})),
            ("/v1/auth/secrets", json!({"secret": secret, "secretKey": "K"})),
            ("/v1/customer/jobs", json!({"templateId": "t"})),
            ("/v1/customer/jobs/{jobId}/clone", json!({})),
            ("/v1/app_tests", json!({"app": "a"})),
            ("/v1/apps", json!({})),
            ("/v1/coupons", json!({"code": "TWO-OF-TWO", "credits": "1"})),
            ("/v1/coupons/redeem", json!({"code": "TWO-OF-TWO"})),
            ("/v1/definitions/{definition}/jobs", json!({})),
            ("/v1/engines", json!({})),
            ("/v1/jobs", json!({"template": "t"})),
            ("/v1/jobs/{job}/copy", json!({})),
            ("/v1/keys", json!({"name": "n"})),
            ("/v1/nodes/tokens", json!({})),
            ("/v1/payouts", json!({"credits": "10000"})),
            ("/v1/secrets", json!({"type": "aws", "access_key": "AK", "value": "V"})),
            ("/v1/top_ups", json!({"credits": "10000"})),
            ("/v1/dev/apps", archive),
            ("/v1/dev/engines", json!({"data": package(&engine)})),
            ("/v1/dev/nodes/tokens", json!({})),
            ("/v1/dev/tests", json!({"id": "a"})),
            ("/v1/wallet/coupons", json!({"code": "ONE-OF-ONE", "amount": 1})),
            ("/v1/wallet/payout", json!({"amount": 10_000})),
            ("/v1/wallet/redeem_coupon", json!({"couponCode": "ONE-OF-ONE"})),
            ("/v1/wallet/top_up", json!({"amount": 10_000})),
        ];
        let (_, document) = server.get("/docs/openapi.json").await;
        let takes_name = |item: &Value| {
            let parameters = item["post"]["parameters"].as_array();
            parameters.is_some_and(|all| all.iter().any(|one| one["name"] == HEADER))
        };
        let paths = document["paths"].as_object().unwrap().iter();
        let documented: BTreeSet<_> =
            paths.filter(|(_, item)| takes_name(item)).map(|(path, _)| path.as_str()).collect();
        assert_eq!(documented, creates.iter().map(|(path, _)| *path).collect());

        for (path, body) in creates {
            let path = path.replace("{jobId}", &id).replace("{job}", &id);
            let name = "n".repeat(KEY_CHARS_MAX + 1);

            let (status, refused) = server.post_named(&name, &path, &body).await;

            assert_eq!(status, 400, "{path}: {refused}");
            let says = refused["message"].as_str().or(refused["detail"].as_str());
            let says = says.or(refused["error"]["message"].as_str());
            assert!(says.unwrap().starts_with(HEADER), "{path}: {refused}");
        }
    }

    #[tokio::test]
    async fn api_key_and_node_token_are_returned_once_under_an_idempotency_key() {
        let server = TestServer::open().await;
        for (path, body) in
            [("/v1/auth/api_key", json!({"name": "ci"})), ("/v1/dev/nodes/tokens", json!({}))]
        {
            let (status, made) = server.post_named(path, path, &body).await;
            let (again, refused) = server.post_named(path, path, &body).await;

            assert_eq!((status, again), (200, 400), "{made} {refused}");
            assert_eq!(refused["details"][0]["reason"], "SHOWN_ALREADY");
            assert!(!refused.to_string().contains(made["token"].as_str().unwrap()));
            let shown = made["apiKey"]["id"].as_str().unwrap_or("token");
            assert!(refused["message"].as_str().unwrap().contains(shown), "{refused}");
        }
        let (_, list) = server.get("/v1/auth/api_keys").await;
        assert_eq!(list["apiKeys"].as_array().unwrap().len(), 2);
    }
}
