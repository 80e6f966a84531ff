//! Tests are ordinary jobs: what they take, what they cost, and who sees them.

use common::money::credits::Credits;
use reqwest::Method;
use serde_json::{Value, json};

use crate::api::testing::{Door, package_with};

async fn pushed(credits: i64) -> Door {
    let door = Door::open().await;
    let manifest =
        json!({"name": "a", "version": "0.1", "platform": "binary", "entrypoint": "main"});
    let data = package_with(&manifest, &[("test/source/words.txt", "a b c")]);
    assert_eq!(door.post("/v1/dev/apps", json!({ "data": data })).await.0, 200);
    if credits > 0 {
        let amount = Credits::from_units(credits).unwrap();
        door.app.coordinator.grant(door.workspace, amount, "first").await.unwrap();
    }
    door
}

async fn start(door: &Door, body: Value) -> (u16, Value) {
    door.post("/v1/dev/tests", body).await
}

#[tokio::test]
async fn app_test_is_a_test_job_over_the_packages_own_sample() {
    let door = pushed(100_000_000_000).await;

    let (status, test) = start(&door, json!({"id": "a"})).await;

    assert_eq!((status, &test["app"]), (200, &json!("a@0.1")), "{test}");
    assert_eq!(test["dataSource"]["params"]["name"], "words.txt");
    assert_eq!((&test["passed"], &test["results"]), (&Value::Null, &json!([])));
    let id = test["id"].as_str().unwrap();
    let (_, job) = door.get(&format!("/v1/customer/jobs/{id}")).await;
    let config = &job["job"]["config"];
    assert_eq!((&config["isTestJob"], &config["taskTimeout"]), (&json!(true), &json!(600)));
    door.post(&format!("/v1/customer/jobs/{id}/abort"), json!({})).await;
    door.get(&format!("/v1/customer/jobs/{id}?wait=20")).await;
    let (_, ended) = door.get(&format!("/v1/dev/tests/{id}")).await;
    assert_eq!(
        (&ended["passed"], &ended["errorMessage"]),
        (&json!(false), &json!("aborted by user"))
    );
}

#[tokio::test]
async fn repeated_app_test_of_one_name_runs_once() {
    let door = pushed(100_000_000_000).await;
    let test = async || {
        let (_, test) = door.post_named("k", "/v1/dev/tests", &json!({"id": "a"})).await;
        test["id"].clone()
    };

    let ((first, second), third) = (tokio::join!(test(), test()), test().await);

    assert!(first.is_string());
    assert_eq!((&first, &first), (&second, &third));
    let (_, list) = door.get("/v1/customer/jobs").await;
    assert_eq!(list["pagination"]["total"], 1);
}

#[tokio::test]
async fn refused_app_test_of_one_name_runs_on_a_later_request() {
    let door = pushed(0).await;
    let body = json!({"id": "a"});
    assert_eq!(door.post_named("k", "/v1/dev/tests", &body).await.0, 400);
    let amount = Credits::from_units(100_000_000_000).unwrap();
    door.app.coordinator.grant(door.workspace, amount, "late").await.unwrap();

    let (status, test) = door.post_named("k", "/v1/dev/tests", &body).await;

    assert_eq!(status, 200, "{test}");
    assert_ne!(test["state"], "JOB_STATE_NEW");
}

#[tokio::test]
async fn app_test_accepts_data_params_and_config_of_the_caller() {
    let door = pushed(100_000_000_000).await;
    let body = json!({"id": "a@0.1", "params": {"app": {"n": 1}},
                      "data": {"dataSourceDescriptor": "bypass"}, "config": {"taskTimeout": 5}});

    let (status, test) = start(&door, body).await;

    assert_eq!((status, &test["dataSource"]["dataSourceDescriptor"]), (200, &json!("bypass")));
    let id = test["id"].as_str().unwrap();
    let (_, job) = door.get(&format!("/v1/customer/jobs/{id}")).await;
    assert_eq!(job["job"]["config"]["taskTimeout"], 5);
    assert_eq!(job["job"]["params"]["app"]["n"], 1);
}

#[tokio::test]
async fn app_test_without_enough_credits_leaves_nothing_behind() {
    let door = pushed(0).await;

    let (status, refused) = start(&door, json!({"id": "a"})).await;

    assert_eq!((status, refused["code"].as_i64()), (400, Some(9)), "{refused}");
    assert_eq!(door.get("/v1/customer/jobs").await.1["pagination"]["total"], 0);
}

#[tokio::test]
async fn app_tests_are_shown_to_their_owner_and_exclude_other_jobs() {
    let door = pushed(100_000_000_000).await;
    let stranger = door.stranger().await;
    let (_, test) = start(&door, json!({"id": "a"})).await;
    let path = format!("/v1/dev/tests/{}", test["id"].as_str().unwrap());
    let job = door.job(json!({"app": "a"})).await;

    assert_eq!(door.call_as(&stranger, Method::GET, &path, None).await.0, 404);
    let body = Some(json!({"id": "a"}));
    assert_eq!(door.call_as(&stranger, Method::POST, "/v1/dev/tests", body).await.0, 404);
    assert_eq!(door.get(&format!("/v1/dev/tests/{job}")).await.0, 404);
    assert_eq!(start(&door, json!({})).await.0, 400);
    assert_eq!(start(&door, json!({"id": "a", "date": 1})).await.0, 400);
}
