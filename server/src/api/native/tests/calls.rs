//! Jobs that are HTTP calls.

use std::time::Duration;

use super::*;

/// A receiver that answers each request as its path says: `/503` with this status. Gives its
/// address.
pub(super) async fn receiver() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = vec![0; 64 * 1024];
                let read = socket.read(&mut head).await.unwrap_or(0);
                let head = String::from_utf8_lossy(&head[..read]).into_owned();
                let status = head.split('/').nth(1).and_then(|path| path.get(..3)).unwrap_or("200");
                let body = head.lines().skip(1).collect::<Vec<_>>().join("\n");
                let answer = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = socket.write_all(answer.as_bytes()).await;
            });
        }
    });
    url
}

fn call(url: &str, more: &Value) -> Value {
    let mut call = json!({"method": "POST", "url": url, "body": "hello",
                          "headers": {"X-A": "b"}, "retry": {"waits_secs": [0]}});
    call.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"name": "hook", "call": call})
}

/// Runs a job to its end; gives the run and its attempts.
pub(super) async fn ended(server: &TestServer, job: &str) -> (Value, Value) {
    let run = start(server, job).await;
    let id = run["id"].as_str().unwrap().to_owned();
    let run = read(server, &format!("/v1/runs/{id}?wait=30")).await;
    (run, read(server, &format!("/v1/runs/{id}/attempts")).await)
}

#[tokio::test]
async fn call_is_made_signed_and_paid_each_time_that_its_job_is_started() {
    let (server, url) = (granted().await, receiver().await);
    let key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let secret = json!({"id": "hook", "type": "other", "access_key": "", "value": key});
    let (status, kept) = server.post("/v1/secrets", secret).await;
    assert_eq!(status, 200, "{kept}");
    let before = read(&server, "/v1/balance").await["available"].clone();
    let id = make(&server, call(&format!("{url}/200"), &json!({"sign": ["hook"]}))).await;

    let job = read(&server, &format!("/v1/jobs/{id}")).await;
    assert_eq!((&job["kind"], &job["template"]), (&json!("call"), &Value::Null), "{job}");
    assert_eq!(job["call"]["headers"], json!({"X-A": "b"}));
    let (first, attempts) = ended(&server, &id).await;
    assert_eq!((&first["state"], &first["price"]), (&json!("succeeded"), &json!("0.00010000")));
    let attempt = &attempts["attempts"][0];
    assert_eq!((&attempt["number"], &attempt["status"]), (&json!(1), &json!(200)), "{attempt}");
    let told = attempt["body"].as_str().unwrap();
    let header = |name: &str| {
        let line = told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("{name} in {told}")).trim().to_owned()
    };
    assert_eq!(header("webhook-id"), format!("msg_{}", attempt["task"].as_str().unwrap()));
    assert_eq!(header("idempotency-key"), header("webhook-id"));
    assert_eq!((header("fanfold-attempt"), header("x-a")), ("1".to_owned(), "b".to_owned()));
    assert!(header("webhook-signature").starts_with("v1,"), "{told}");
    assert!(told.ends_with("hello"), "{told}");

    let (second, _) = ended(&server, &id).await;
    assert_ne!(first["id"], second["id"]);
    let runs = read(&server, &format!("/v1/jobs/{id}/runs")).await;
    assert_eq!(runs["runs"].as_array().unwrap().len(), 2);
    assert_eq!(before, json!("1000.00000000"));
    assert_eq!(read(&server, "/v1/balance").await["available"], json!("999.99980000"));
}

#[tokio::test]
async fn call_that_fails_is_made_again_and_costs_nothing() {
    let (server, url) = (granted().await, receiver().await);
    let id = make(&server, call(&format!("{url}/503"), &json!({}))).await;

    let (run, attempts) = ended(&server, &id).await;

    assert_eq!((&run["state"], &run["price"]), (&json!("failed"), &json!("0.00000000")), "{run}");
    let message = run["cause"]["message"].as_str().unwrap();
    assert_eq!(message, "the call failed 2 times: the receiver answered 503");
    let list = attempts["attempts"].as_array().unwrap();
    assert_eq!(list.len(), 2);
    assert!(list[0]["next_at"].is_string() && list[1]["next_at"].is_null(), "{attempts}");
}

#[tokio::test]
async fn callback_tells_how_a_run_has_ended_and_is_no_run_of_its_job() {
    let (server, url) = (granted().await, receiver().await);
    let mut order = call(&format!("{url}/404"), &json!({"retry": {"waits_secs": []}}));
    order["callbacks"] = json!([{"on": ["failed"], "call": {"url": format!("{url}/200")}},
                                {"on": ["succeeded"], "call": {"url": format!("{url}/200")}}]);
    let id = make(&server, order).await;

    let (run, _) = ended(&server, &id).await;

    let run_id = run["id"].as_str().unwrap();
    let told = read(&server, &format!("/v1/runs/{run_id}/callbacks")).await;
    assert_eq!(told["runs"].as_array().unwrap().len(), 1, "{told}");
    let callback = &told["runs"][0];
    assert_eq!((&callback["origin"], &callback["callback_of"]), (&json!("callback"), &run["id"]));
    let callback = callback["id"].as_str().unwrap();
    let sent = read(&server, &format!("/v1/runs/{callback}?wait=30")).await;
    assert_eq!(sent["state"], "succeeded", "{sent}");
    let attempts = read(&server, &format!("/v1/runs/{callback}/attempts")).await;
    let text = attempts["attempts"][0]["body"].as_str().unwrap();
    assert!(text.contains("content-type: application/json"), "{text}");
    let event: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((&event["type"], &event["data"]["run"]), (&json!("run.failed"), &run["id"]));
    assert_eq!(event["data"]["cause"]["kind"], "task_failed", "{event}");
    let runs = read(&server, &format!("/v1/jobs/{id}/runs")).await;
    assert_eq!(runs["runs"].as_array().unwrap().len(), 1);
    let job = read(&server, &format!("/v1/jobs/{id}")).await;
    assert_eq!((&job["run"], &job["callbacks"][0]["on"]), (&run["id"], &json!(["failed"])));
    let none = json!({"callbacks": []});
    let (status, job) = server.patch(&format!("/v1/jobs/{id}"), none).await;
    assert_eq!((status, &job["callbacks"]), (200, &json!([])));
}

#[tokio::test]
async fn callback_that_cannot_be_made_is_refused_with_its_field() {
    let server = granted().await;
    let to = |call: Value| json!([{"call": call}]);
    let url = "https://h.example/";
    for (callbacks, field) in [
        (json!({}), "callbacks"),
        (json!([{"call": {"url": url}, "on": []}]), "callbacks[0].on"),
        (json!([{"call": {"url": url}, "on": ["begun"]}]), "callbacks[0].on"),
        (json!([{}]), "callbacks[0].call"),
        (to(json!({"url": "nowhere"})), "callbacks[0].call.url"),
        (to(json!({"url": url, "body": "x"})), "callbacks[0].call.body"),
        (to(json!({"url": url, "headers": {"Host": "x"}})), "callbacks[0].call.headers"),
        (json!(vec![json!({"call": {"url": url}}); 9]), "callbacks"),
    ] {
        let mut order = call(url, &json!({}));
        order["callbacks"] = callbacks.clone();
        let (status, refused) = server.post("/v1/jobs", order).await;
        assert_eq!((status, problem(&refused)), (400, ("INVALID_ARGUMENT", field)), "{callbacks}");
    }
}

#[tokio::test]
async fn call_that_cannot_be_made_is_refused_with_its_field() {
    let server = granted().await;
    for (more, field) in [
        (json!({"url": "ftp://h.example/"}), "call.url"),
        (json!({"url": "https://u:p@h.example/"}), "call.url"),
        (json!({"method": "CONNECT"}), "call.method"),
        (json!({"headers": {"Host": "x"}}), "call.headers"),
        (json!({"headers": {"X-A": "a\r\nb: c"}}), "call.headers"),
        (json!({"headers": {"X-A": 1}}), "call.headers.X-A"),
        (json!({"accept": ["2xx"]}), "call.accept"),
        (json!({"timeout_secs": 0}), "call.timeout_secs"),
        (json!({"retry": {"waits_secs": [9_999_999]}}), "call.retry"),
        (json!({"flow": {"at_once": 0}}), "call.flow.at_once"),
    ] {
        let (status, refused) = server.post("/v1/jobs", call("https://h.example/", &more)).await;
        assert_eq!((status, problem(&refused)), (400, ("INVALID_ARGUMENT", field)), "{more}");
    }
    let both = json!({"template": "t", "call": {"url": "https://h.example/"}});
    assert_eq!(server.post("/v1/jobs", both).await.0, 400);
}

#[tokio::test]
async fn call_of_a_job_can_be_changed_between_its_runs() {
    let (server, url) = (granted().await, receiver().await);
    let id = make(&server, call(&format!("{url}/500"), &json!({}))).await;
    let (first, _) = ended(&server, &id).await;
    let change = json!({"call": {"url": format!("{url}/200")}});

    let (status, job) = server.patch(&format!("/v1/jobs/{id}"), change).await;
    assert_eq!((status, &job["call"]["method"]), (200, &json!("GET")), "{job}");
    let (second, _) = ended(&server, &id).await;

    assert_eq!((&first["state"], &second["state"]), (&json!("failed"), &json!("succeeded")));
    let (status, _) =
        server.patch(&format!("/v1/jobs/{id}"), json!({"source": {"type": "bypass"}})).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn call_that_is_cancelled_ends_at_once() {
    let server = granted().await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let id = make(&server, call(&url, &json!({}))).await;
    let run = start(&server, &id).await["id"].as_str().unwrap().to_owned();
    let (mut socket, _) = silent.accept().await.unwrap();
    let under_way = read(&server, &format!("/v1/runs/{run}/attempts")).await;
    assert_eq!(under_way["attempts"][0]["duration_ms"], Value::Null, "{under_way}");

    let (status, cancelled) = server.post(&format!("/v1/runs/{run}/cancel"), json!({})).await;

    assert_eq!((status, &cancelled["state"]), (200, &json!("cancelled")), "{cancelled}");
    // The request is cut off: its connection ends.
    let closed = async {
        use tokio::io::AsyncReadExt as _;
        let mut bytes = Vec::new();
        socket.read_to_end(&mut bytes).await
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), closed).await.is_ok());
}

#[tokio::test]
async fn key_begins_as_its_holder_asks() {
    let server = granted().await;
    let (status, made) = server.post("/v1/keys", json!({"name": "k", "prefix": "qup"})).await;
    assert_eq!(status, 200, "{made}");
    let key = made["secret"].as_str().unwrap();
    assert!(key.starts_with("qup_"), "{key}");
    assert_eq!(server.call_as(key, Method::GET, "/v1/jobs", None).await.0, 200);
    let path = format!("/v1/keys/{}", made["key"]["id"].as_str().unwrap());
    assert_eq!(server.call(Method::DELETE, &path, None).await.0, 200);
    assert_eq!(server.call_as(key, Method::GET, "/v1/jobs", None).await.0, 401);
    for prefix in ["q", "QUP", "qupqup", "a_b"] {
        let (status, refused) =
            server.post("/v1/keys", json!({"name": "k", "prefix": prefix})).await;
        assert_eq!((status, problem(&refused).1), (400, "prefix"), "{prefix}");
    }
}
