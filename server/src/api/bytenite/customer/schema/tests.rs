//! Where params are held against a package's schema.

use serde_json::{Value, json};

use crate::api::testing::{TestServer, binary, package_with};

const SCHEMA: &str = r#"{"type": "object", "required": ["case"],
    "properties": {"case": {"enum": ["upper", "lower"]}}}"#;

async fn pushed(server: &TestServer, schema: &str) -> (u16, Value) {
    let data = package_with(&binary("hello", "0.1"), &[("schema.json", schema)]);
    server.post("/v1/dev/apps", json!({ "data": data })).await
}

#[tokio::test]
async fn params_are_checked_when_they_are_given_and_when_the_job_runs() {
    let server = TestServer::open().await;
    assert_eq!(pushed(&server, SCHEMA).await.0, 200);
    assert_eq!(server.post("/v1/dev/apps/hello/activate", json!({})).await.0, 200);
    let job = json!({"app": "hello", "dataSource": {"dataSourceDescriptor": "bypass"},
                     "dataDestination": {"dataSourceDescriptor": "bucket"}});
    let refused = |(status, body): (u16, Value), field: &str| {
        assert_eq!((status, body["code"].as_i64()), (400, Some(3)), "{body}");
        assert!(body["message"].as_str().unwrap().starts_with(field), "{body}");
    };
    let mut wrong = job.clone();
    wrong["params"] = json!({"app": {"case": "loud"}});

    refused(server.post("/v1/customer/jobs", wrong).await, "params.app.case: ");
    let id = server.job(job).await;
    let path = format!("/v1/customer/jobs/{id}");
    let params = format!("{path}/params");
    refused(server.patch(&params, json!({"app": {"case": 7}})).await, "params.app.case: ");
    refused(server.patch(&params, json!({"app": {"cas": "upper"}})).await, "params.app: ");
    refused(server.post(&format!("{path}/run"), json!({})).await, "params.app: ");
    assert_eq!(server.patch(&params, json!({"app": {"case": "upper"}})).await.0, 200);
    assert_eq!(server.post(&format!("{path}/run?dryRun=true"), json!({})).await.0, 200);
}

#[tokio::test]
async fn params_that_fit_no_container_are_refused() {
    let server = TestServer::open().await;
    let job = json!({"app": "hello", "dataSource": {"dataSourceDescriptor": "bypass"},
                     "dataDestination": {"dataSourceDescriptor": "bucket"}});
    let large = |bytes| json!({"app": {"text": "x".repeat(bytes)}});
    let refused = |(status, body): (u16, Value)| {
        assert_eq!((status, body["code"].as_i64()), (400, Some(3)), "{body}");
        let message = body["message"].as_str().unwrap();
        assert!(message.starts_with("params.app: are 134"), "{message}");
    };
    assert_eq!(pushed(&server, "{}").await.0, 200);
    let id = server.job(job.clone()).await;
    let params = format!("/v1/customer/jobs/{id}/params");

    let mut with_params = job;
    with_params["params"] = large(134_850);
    refused(server.post("/v1/customer/jobs", with_params).await);
    refused(server.patch(&params, large(134_850)).await);
    assert_eq!(server.patch(&params, large(130_000)).await.0, 200);
    // The limit holds for what the container gets: the escapes of JSON count.
    refused(server.patch(&params, json!({"app": {"text": "\n".repeat(67_200)}})).await);
}

#[tokio::test]
async fn schema_is_read_by_id_and_by_name() {
    let server = TestServer::open().await;
    let (_, package) = pushed(&server, SCHEMA).await;
    let id = package["id"].as_str().unwrap();
    let stranger = server.stranger().await;

    for path in [id, "hello", "hello?version=0.1", "hello?version=0", "hello@0.1"] {
        let path = format!("/v1/customer/schema/{path}");
        let (status, body) = server.get(&path).await;

        assert_eq!(
            (status, &body["name"], &body["version"]),
            (200, &json!("hello"), &json!("0.1"))
        );
        assert_eq!(body["schema"]["required"], json!(["case"]));
        let seen = server.call_as(&stranger, reqwest::Method::GET, &path, None).await;
        assert_eq!(seen.0, 404);
    }
    assert_eq!(server.get("/v1/customer/schema/hello?version=9").await.0, 404);
}

#[tokio::test]
async fn schema_that_is_invalid_is_refused_at_the_push() {
    let server = TestServer::open().await;
    for (schema, says) in [
        ("{", "schema.json: is not JSON"),
        (r#"{"properties": {"a": {"type": "text"}}}"#, "schema.json.properties.a.type: "),
        (r#"{"$ref": "http://127.0.0.1:1/"}"#, "schema.json.$ref: must lead"),
        (r##"{"$ref": "#"}"##, "schema.json.$ref"),
    ] {
        let (status, body) = pushed(&server, schema).await;

        assert_eq!(status, 400);
        assert!(body["message"].as_str().unwrap().starts_with(says), "{body}");
    }
}

#[tokio::test]
async fn template_params_are_checked_against_the_schemas_of_its_packages() {
    let server = TestServer::open().await;
    let schema = r#"{"required": ["case", "name"], "additionalProperties": false,
        "properties": {"case": {"enum": ["upper", "lower"]}, "name": {"type": "string"}}}"#;
    assert_eq!(pushed(&server, schema).await.0, 200);
    let push = async |params: Value, partitioner: &str, app: &str| {
        let template = json!({"id": "t", "app": app, "partitioner": partitioner,
                              "assembler": "passthrough", "params": params});
        let (status, body) = server.post("/v1/dev/templates", template).await;
        (status, body["message"].as_str().unwrap_or_default().to_owned())
    };
    let refused = |(status, message): (u16, String), field: &str| {
        assert!(status == 400 && message.starts_with(field), "{status} {message}");
    };

    // Not active yet: a template is pushed beside its app.
    refused(push(json!({"app": {"case": "loud"}}), "file", "hello").await, "params.app.case: ");
    refused(push(json!({"app": {"cas": "upper"}}), "file", "hello").await, "params.app: ");
    // The name may come with the job.
    assert_eq!(push(json!({"app": {"case": "upper"}}), "file", "hello").await.0, 200);
    assert_eq!(push(json!({"app": {"case": "loud"}}), "file", "not-there-yet").await.0, 200);
    let none = json!({"partitioner": {"num_replicas": 0}});
    refused(push(none.clone(), "fanout-replica", "hello").await, "params.partitioner.num_replicas");
    let (status, body) = server
        .post(
            "/v1/customer/jobs",
            json!({"app": "hello", "partitioner": "fanout-replica",
                                          "params": none}),
        )
        .await;
    assert_eq!(
        (status, &body["details"][0]["metadata"]["field"]),
        (400, &json!("params.partitioner.num_replicas"))
    );
    let mut manifest = binary("cut", "0.1");
    manifest["type"] = json!("partitioner");
    let data = package_with(&manifest, &[]);
    assert_eq!(server.post("/v1/dev/engines", json!({ "data": data })).await.0, 200);
    let template = json!({"id": "t", "app": "hello", "partitioner": "file", "assembler": "cut"});
    let (status, body) = server.post("/v1/dev/templates", template).await;
    assert_eq!(
        (status, &body["message"]),
        (400, &json!("assembler: \"cut\" is no assembler, it is partitioner"))
    );
}
