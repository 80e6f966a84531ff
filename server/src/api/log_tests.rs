//! The ids of requests, and what the log has of each.

use reqwest::{Method, Response};
use serde_json::{Value, json};

use super::testing::TestServer;
use crate::captured_log::CapturedLog;

const JOBS: &str = "/v1/customer/jobs";

/// Asks with an id, as a proxy gives it.
async fn ask(server: &TestServer, method: Method, path: &str, id: &str) -> Response {
    let request = server.client.request(method, format!("{}{path}", server.url));
    let request = request.header("authorization", &server.key).header("x-request-id", id);
    request.send().await.unwrap()
}

/// The id that an answer has in its header.
fn id_of(answer: &Response) -> String {
    let ids: Vec<_> = answer.headers().get_all("x-request-id").iter().collect();
    assert_eq!(ids.len(), 1, "{answer:?}");
    ids[0].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn request_id_is_in_the_header_of_each_answer_and_in_each_error() {
    let server = TestServer::open().await;
    for (method, path, status, key) in [
        (Method::GET, "/healthz", 200, ""),
        (Method::GET, JOBS, 200, ""),
        (Method::HEAD, JOBS, 200, ""),
        (Method::OPTIONS, JOBS, 204, ""),
        (Method::GET, "/v1/customer/events", 200, ""),
        (Method::GET, "/docs/", 200, ""),
        (Method::GET, "/nowhere", 404, "/request_id"),
        (Method::GET, "/v1/runs/not-an-id", 404, "/request_id"),
        (Method::PUT, "/v1/jobs", 405, "/request_id"),
        (Method::GET, "/v1/storage/x", 403, "/request_id"),
        (Method::GET, "/v1/customer/nowhere", 404, "/details/0/metadata/requestId"),
        (Method::DELETE, JOBS, 405, "/details/0/metadata/requestId"),
        (Method::GET, "/v1/customer/jobs?x=1", 400, "/details/0/metadata/requestId"),
    ] {
        let answer = ask(&server, method.clone(), path, "edge-7.a_B").await;

        assert_eq!((answer.status().as_u16(), id_of(&answer)), (status, "edge-7.a_B".to_owned()));
        if !key.is_empty() {
            let body: Value = answer.json().await.unwrap();
            assert_eq!(body.pointer(key), Some(&json!("edge-7.a_B")), "{method} {path}: {body}");
        }
    }
}

#[tokio::test]
async fn request_id_is_in_refusals_and_acknowledgements() {
    let server = TestServer::open().await;
    let post = async |key: &str, path: &str, body: String| {
        let request = server.client.post(format!("{}{path}", server.url)).body(body);
        let answer = request.header("authorization", key).send().await.unwrap();
        let (status, id) = (answer.status().as_u16(), id_of(&answer));
        (status, id, answer.json::<Value>().await.unwrap())
    };

    let (status, id, body) = post("ff_wrong", JOBS, "{}".to_owned()).await;
    assert_eq!((status, &body["details"][0]["metadata"]["requestId"]), (401, &json!(id)));
    let huge = json!({"templateId": "x".repeat(2 << 20)}).to_string();
    let (status, id, body) = post(&server.key, JOBS, huge).await;
    assert_eq!((status, &body["details"][0]["metadata"]["requestId"]), (413, &json!(id)));
    let secret = json!({"secret": {"id": "s", "secretType": "aws", "accessKey": "AK"},
                        "secretKey": "K"});
    let (status, id, body) = post(&server.key, "/v1/auth/secrets", secret.to_string()).await;
    assert_eq!((status, &body["requestId"]), (200, &json!(id)), "{body}");

    // Who holds the key is known for a moment; the template has to be looked up.
    server.app.db.close().await.unwrap();
    let job = json!({"templateId": "t"}).to_string();
    let (status, id, body) = post(&server.key, JOBS, job).await;
    assert_eq!((status, &body["details"][0]["metadata"]["requestId"]), (503, &json!(id)));
}

#[tokio::test]
async fn request_id_that_is_hostile_is_replaced() {
    let server = TestServer::open().await;
    let long = "x".repeat(65);
    for hostile in ["", "a b", "a\" status=200", "<script>", "${jndi:x}", "a;b", "../..", &long] {
        let id = id_of(&ask(&server, Method::GET, "/healthz", hostile).await);

        assert!(id.parse::<uuid::Uuid>().is_ok(), "{hostile:?}: {id}");
    }
}

#[tokio::test]
async fn access_log_has_a_line_for_each_request() {
    let log = CapturedLog::start();
    let server = TestServer::open().await;
    let by_key = format!("workspace={} caller=key:", server.workspace);
    let stranger = "workspace=- caller=-";
    for (id, method, path, route, status, caller) in [
        ("r-list", Method::GET, JOBS, JOBS, 200, &*by_key),
        ("r-none", Method::GET, "/v1/customer/nowhere/ada", "unknown", 404, stranger),
        ("r-job", Method::GET, "/v1/customer/jobs/x", "/v1/customer/jobs/{jobId}", 404, &*by_key),
        ("r-method", Method::PATCH, "/healthz", "/healthz", 405, stranger),
        ("r-odd", Method::TRACE, JOBS, JOBS, 405, stranger),
    ] {
        let named = if method == Method::TRACE { "other".to_owned() } else { method.to_string() };
        let answer = ask(&server, method, path, id).await;
        let bytes = answer.bytes().await.unwrap().len();

        let line = log.line(&[" access: request ended", &format!("request_id={id} ")]).await;
        let parts = format!("method={named:?} route={route:?} status={status} ms=");
        assert!(line.contains(&parts), "{line}");
        assert!(line.contains(&format!(" bytes={bytes} {caller}")), "{line}");
    }
}

#[tokio::test]
async fn access_log_has_refused_callers_and_streams_at_their_end() {
    let log = CapturedLog::start();
    let server = TestServer::open().await;

    let request = server.client.get(format!("{}{JOBS}", server.url));
    let request = request.header("authorization", "ff_wrong").header("x-request-id", "r-wrong");
    assert_eq!(request.send().await.unwrap().status(), 401);
    let line = log.line(&["access: ", "request_id=r-wrong "]).await;
    assert!(line.contains("status=401 ") && line.contains("workspace=- caller=-"), "{line}");

    let mut stream = ask(&server, Method::GET, "/v1/customer/events", "r-stream").await;
    let first = stream.chunk().await.unwrap().unwrap().len();
    assert!(!log.text().contains("request ended request_id=r-stream "), "the stream goes on");
    drop(stream);
    let line = log.line(&["access: ", "request_id=r-stream "]).await;
    assert!(line.contains("status=200 ") && line.contains(&format!("bytes={first} ")), "{line}");
}

#[tokio::test]
async fn log_lines_of_a_request_have_its_id_and_lead_to_its_run() {
    let log = CapturedLog::start();
    let server = TestServer::open().await;
    let job = server.running_job().await;

    let accepted = log.line(&["run accepted", &job]).await;

    let id = accepted.split("request{request_id=").nth(1).unwrap().split(' ').next().unwrap();
    let access = log.line(&["access: ", &format!("request_id={id} ")]).await;
    assert!(access.contains("route=\"/v1/customer/jobs/{jobId}/run\" status=200"), "{access}");
    let run = accepted.split(" run=").nth(1).unwrap().split(' ').next().unwrap();
    log.line(&["stage opened", &format!("run={run}"), "kind=\"tasks\"", "tasks=1"]).await;
    assert_eq!(server.post(&format!("{JOBS}/{job}/abort"), json!({})).await.0, 200);
    log.line(&["request{request_id=", "run cancelled by its customer", run]).await;
    log.line(&["stage cut off", run]).await;
    // Nothing has run, so the grant alone is on the statement.
    let line = log.line(&["statement line written", &server.workspace.to_string()]).await;
    assert!(line.contains("line=1 kind=\"coupon\" amount=1000.00000000"), "{line}");
    let ended = log.line(&["run ended", run]).await;
    assert!(ended.contains("state=\"cancelled\"") && ended.contains("aborted by user"), "{ended}");
}

#[tokio::test]
async fn log_of_a_failed_part_has_the_request_id_and_the_causes() {
    let log = CapturedLog::start();
    let server = TestServer::open().await;
    server.app.db.close().await.unwrap();

    assert_eq!(ask(&server, Method::GET, JOBS, "r-away").await.status(), 503);

    let line = log.line(&["the database is away", "request{request_id=r-away "]).await;
    assert!(line.contains(" error="), "{line}");
}

#[tokio::test]
async fn log_contains_no_credential_and_no_address() {
    let log = CapturedLog::start();
    let server = TestServer::open().await;
    let secret = json!({"secret": {"id": "s", "secretType": "aws", "accessKey": "AK-hush"},
                        "secretKey": "TOPSECRET"});
    assert_eq!(server.post("/v1/auth/secrets", secret).await.0, 200);
    let (_, made) = server.post("/v1/auth/api_key", json!({"name": "ci"})).await;
    let (key, exchange) = (&made["token"], json!({"apiKey": made["token"]}));
    let (_, token) = server.post("/v1/auth/access_token", exchange).await;
    let (key, token) = (key.as_str().unwrap(), token["token"].as_str().unwrap());
    let sign_in = json!({"email": "ada@example.com", "isNewUser": false});
    assert_eq!(server.post("/v1/auth/signin", sign_in).await.0, 200);
    for by in [key, token] {
        assert_eq!(server.call_as(by, Method::GET, JOBS, None).await.0, 200);
        let path = format!("/nowhere/{by}/ada@example.com?token={by}&email=ada@example.com");
        assert_eq!(server.call_as(by, Method::GET, &path, None).await.0, 404);
    }
    let invited = json!({"email": "ada@example.com", "role": "ROLE_READER"});
    server.post("/v1/auth/members", invited).await;
    let id = id_of(&ask(&server, Method::GET, "/healthz", "last").await);
    log.line(&["access: ", &format!("request_id={id} ")]).await;

    let text = log.text();
    for secret in [key, token, &server.key, "TOPSECRET", "AK-hush", "ada@example.com"] {
        assert!(!text.contains(secret), "{secret}:\n{text}");
    }
}
