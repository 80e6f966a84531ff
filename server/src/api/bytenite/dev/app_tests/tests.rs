//! Tests are ordinary jobs: what they take, what they cost, and who sees them.

use common::money::credits::Credits;
use reqwest::Method;
use serde_json::{Value, json};

use crate::api::testing::{TestServer, binary, package_with};

async fn pushed(credits: i64) -> TestServer {
    let server = TestServer::open().await;
    let data = package_with(&binary("a", "0.1"), &[("test/source/words.txt", "a b c")]);
    assert_eq!(server.post("/v1/dev/apps", json!({ "data": data })).await.0, 200);
    if credits > 0 {
        let amount = Credits::from_units(credits).unwrap();
        server.app.coordinator.grant(server.workspace, amount, "first").await.unwrap();
    }
    server
}

async fn start(server: &TestServer, body: Value) -> (u16, Value) {
    server.post("/v1/dev/tests", body).await
}

#[tokio::test]
async fn app_test_is_a_test_job_over_the_packages_own_sample() {
    let server = pushed(100_000_000_000).await;

    let (status, test) = start(&server, json!({"id": "a"})).await;

    assert_eq!((status, &test["app"]), (200, &json!("a@0.1")), "{test}");
    assert_eq!(test["dataSource"]["params"]["name"], "words.txt");
    assert_eq!((&test["passed"], &test["results"]), (&Value::Null, &json!([])));
    let id = test["id"].as_str().unwrap();
    let (_, job) = server.get(&format!("/v1/customer/jobs/{id}")).await;
    let config = &job["job"]["config"];
    assert_eq!((&config["isTestJob"], &config["taskTimeout"]), (&json!(true), &json!(600)));
    server.post(&format!("/v1/customer/jobs/{id}/abort"), json!({})).await;
    server.get(&format!("/v1/customer/jobs/{id}?wait=20")).await;
    let (_, ended) = server.get(&format!("/v1/dev/tests/{id}")).await;
    assert_eq!(
        (&ended["passed"], &ended["errorMessage"]),
        (&json!(false), &json!("aborted by user"))
    );
}

#[tokio::test]
async fn repeated_app_test_of_one_name_runs_once() {
    let server = pushed(100_000_000_000).await;
    let test = async || {
        let (_, test) = server.post_named("k", "/v1/dev/tests", &json!({"id": "a"})).await;
        test["id"].clone()
    };

    let ((first, second), third) = (tokio::join!(test(), test()), test().await);

    assert!(first.is_string());
    assert_eq!((&first, &first), (&second, &third));
    let (_, list) = server.get("/v1/customer/jobs").await;
    assert_eq!(list["pagination"]["total"], 1);
}

#[tokio::test]
async fn refused_app_test_of_one_name_runs_on_a_later_request() {
    let server = pushed(0).await;
    let body = json!({"id": "a"});
    assert_eq!(server.post_named("k", "/v1/dev/tests", &body).await.0, 400);
    let amount = Credits::from_units(100_000_000_000).unwrap();
    server.app.coordinator.grant(server.workspace, amount, "late").await.unwrap();

    let (status, test) = server.post_named("k", "/v1/dev/tests", &body).await;

    assert_eq!(status, 200, "{test}");
    assert_ne!(test["state"], "JOB_STATE_NEW");
}

#[tokio::test]
async fn app_test_accepts_data_params_and_config_of_the_caller() {
    let server = pushed(100_000_000_000).await;
    let body = json!({"id": "a@0.1", "params": {"app": {"n": 1}},
                      "data": {"dataSourceDescriptor": "bypass"}, "config": {"taskTimeout": 5}});

    let (status, test) = start(&server, body).await;

    assert_eq!((status, &test["dataSource"]["dataSourceDescriptor"]), (200, &json!("bypass")));
    let id = test["id"].as_str().unwrap();
    let (_, job) = server.get(&format!("/v1/customer/jobs/{id}")).await;
    assert_eq!(job["job"]["config"]["taskTimeout"], 5);
    assert_eq!(job["job"]["params"]["app"]["n"], 1);
}

#[tokio::test]
async fn app_test_without_enough_credits_leaves_nothing_behind() {
    let server = pushed(0).await;

    let (status, refused) = start(&server, json!({"id": "a"})).await;

    assert_eq!((status, refused["code"].as_i64()), (400, Some(9)), "{refused}");
    assert_eq!(server.get("/v1/customer/jobs").await.1["pagination"]["total"], 0);
}

#[tokio::test]
async fn app_tests_are_shown_to_their_owner_and_exclude_other_jobs() {
    let server = pushed(100_000_000_000).await;
    let stranger = server.stranger().await;
    let (_, test) = start(&server, json!({"id": "a"})).await;
    let path = format!("/v1/dev/tests/{}", test["id"].as_str().unwrap());
    let job = server.job(json!({"app": "a"})).await;

    assert_eq!(server.call_as(&stranger, Method::GET, &path, None).await.0, 404);
    let body = Some(json!({"id": "a"}));
    assert_eq!(server.call_as(&stranger, Method::POST, "/v1/dev/tests", body).await.0, 404);
    assert_eq!(server.get(&format!("/v1/dev/tests/{job}")).await.0, 404);
    assert_eq!(start(&server, json!({})).await.0, 400);
    assert_eq!(start(&server, json!({"id": "a", "date": 1})).await.0, 400);
}
