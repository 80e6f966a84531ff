//! Whatever any route accepts can be read after a restart: hostile JSON through the real router,
//! then a start from what was stored.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use reqwest::Method;
use serde_json::{Value, json};

use super::testing::{TestServer, binary, package_with};
use crate::store;

const CASES: usize = 400;

/// JSON text that a reader may trip over, and text that is hardly JSON.
fn hostile() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("-0.0".to_owned()),
        Just("1e308".to_owned()),
        Just("0.1234567890123456789".to_owned()),
        Just("18446744073709551616".to_owned()),
        Just("-9223372036854775809".to_owned()),
        Just(r#""\u0000""#.to_owned()),
        Just(r#""\ud800""#.to_owned()),
        Just(r#""\u202e\ufeff""#.to_owned()),
        any::<String>().prop_map(|text| Value::from(text).to_string()),
        any::<f64>().prop_map(|number| format!("{number:e}")),
    ];
    (leaf, 0..150usize, any::<[bool; 8]>()).prop_map(|(leaf, levels, shapes)| {
        (0..levels).fold(leaf, |inner, level| match shapes[level % shapes.len()] {
            true => format!("[{inner}]"),
            false => format!(r#"{{"a":{inner}}}"#),
        })
    })
}

/// Where a value can go in: a method, a path, and a body with the value at `@`.
const PLACES: [(&str, &str, &str); 17] = [
    ("PATCH", "/v1/customer/jobs/JOB/params", "@"),
    ("PATCH", "/v1/customer/jobs/JOB/params", r#"{"app":@}"#),
    ("PATCH", "/v1/customer/jobs/JOB/params", r#"{"params":{"app":{"x":@}}}"#),
    ("PATCH", "/v1/customer/jobs/JOB/params", r#"{"partitioner":{"x":@}}"#),
    ("PATCH", "/v1/customer/jobs/JOB/jobname", "@"),
    ("PATCH", "/v1/customer/jobs/JOB/configs", r#"{"taskTimeout":@}"#),
    ("PATCH", "/v1/customer/jobs/JOB/datasource", r#"{"dataSource":@}"#),
    (
        "PATCH",
        "/v1/customer/jobs/JOB/datasource",
        r#"{"dataSource":{"dataSourceDescriptor":"url","params":{"url":@}}}"#,
    ),
    ("POST", "/v1/customer/jobs", r#"{"templateId":"t","params":{"app":{"x":@}}}"#),
    ("POST", "/v1/customer/jobs", r#"{"templateId":"t","tags":@,"description":@}"#),
    ("POST", "/v1/customer/jobs", r#"{"templateId":"t","name":@}"#),
    (
        "POST",
        "/v1/dev/templates",
        r#"{"id":"u","app":"a","partitioner":"passthrough","assembler":"passthrough","params":{"app":{"x":@}}}"#,
    ),
    (
        "POST",
        "/v1/dev/templates",
        r#"{"id":"v","app":"a","partitioner":"passthrough","assembler":"passthrough","description":@}"#,
    ),
    ("POST", "/v1/auth/secrets", r#"{"id":"s","type":"other","name":@,"secretKey":@}"#),
    ("PATCH", "/v1/auth/user", r#"{"firstName":@,"contactInfo":{"city":@}}"#),
    ("POST", "/v1/customer/jobs/JOB/run", r#"{"startAt":@}"#),
    ("POST", "/v1/customer/jobs/JOB/run", "@"),
];

async fn ask(server: &TestServer, method: &str, path: &str, body: String) -> u16 {
    let method: Method = method.parse().unwrap();
    let request = server.client.request(method, format!("{}{path}", server.url));
    let answer = request.header("authorization", &server.key).body(body).send().await.unwrap();
    answer.status().as_u16()
}

#[tokio::test]
async fn accepted_values_of_any_route_can_be_read_after_a_restart() {
    let server = TestServer::open().await;
    server.running_job().await;
    let draft = json!({"templateId": "t", "dataSource": {"dataSourceDescriptor": "bypass"},
                       "dataDestination": {"dataSourceDescriptor": "bucket"}});
    let (mut runner, values) = (TestRunner::deterministic(), hostile());
    let (mut accepted, mut started) = (0, 1);
    for case in 0..CASES {
        let value = values.new_tree(&mut runner).unwrap().current();
        let (method, path, body) = PLACES[case % PLACES.len()];
        let job = server.job(draft.clone()).await;

        let status =
            ask(&server, method, &path.replace("JOB", &job), body.replace('@', &value)).await;
        let run =
            ask(&server, "POST", &format!("/v1/customer/jobs/{job}/run"), "{}".to_owned()).await;

        assert!(status < 500, "{method} {path} {body} {value}: {status}");
        accepted += usize::from(status == 200);
        started += usize::from(run == 200 || (path.ends_with("/run") && status == 200));
        let stored = store::load(&server.app.db).await.unwrap();
        assert_eq!(stored.unreadable, [], "{method} {path} {body} {value}");
        assert_eq!(stored.runs.len(), started, "{method} {path} {body} {value}");
        assert_eq!(server.get(&format!("/v1/customer/jobs/{job}")).await.0, 200);
    }
    assert!(accepted > CASES / 10 && started > CASES / 2, "{accepted} {started}");
    assert_eq!(store::check(&server.app.db).await.unwrap(), []);
}

#[tokio::test]
async fn manifest_and_schema_that_nest_too_deep_are_refused_by_name() {
    let server = TestServer::open().await;
    for levels in [70, 127, 5_000] {
        let deep = format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
        let schema = format!(r#"{{"properties":{{"x":{deep}}}}}"#);
        let data = package_with(&binary("b", "0.1"), &[("schema.json", &schema)]);

        let (status, body) = server.post("/v1/dev/apps", json!({"data": data})).await;

        assert_eq!(status, 400, "{body}");
        let message = body["message"].as_str().unwrap();
        assert!(message.starts_with("schema.json.properties.x"), "{message}");
    }
}

#[tokio::test]
async fn params_that_nest_too_deep_are_refused_by_name_and_64_levels_run() {
    let server = TestServer::open().await;
    server.running_job().await;
    let job = server.job(json!({"templateId": "t"})).await;
    let path = format!("/v1/customer/jobs/{job}/params");
    let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));

    // The body and its phase are two levels of the 64.
    assert_eq!(server.patch(&path, json!({"app": {"x": nested(62)}})).await.0, 200);
    for levels in [63, 125, 126, 10_000] {
        let body = format!(r#"{{"app":{{"x":{}1{}}}}}"#, "[".repeat(levels), "]".repeat(levels));
        let request = server.client.patch(format!("{}{path}", server.url));
        let answer = request.header("authorization", &server.key).body(body).send().await.unwrap();

        assert_eq!(answer.status(), 400, "{levels}");
        let text = answer.text().await.unwrap();
        assert!(text.contains("app.x: has more than 64"), "{levels}: {text}");
    }
}
