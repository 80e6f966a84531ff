//! What customers do with drafts.

use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use crate::api::testing::TestServer;

#[tokio::test]
async fn job_takes_its_templates_defaults_and_its_own_fields() {
    let server = TestServer::open().await;
    server
        .post(
            "/v1/dev/templates",
            json!({"id": "t", "app": "a", "partitioner": "lines", "assembler": "concat",
               "dataSource": {"dataSourceDescriptor": "bypass"},
               "params": {"app": {"case": "upper", "n": 1}},
               "config": {"taskTimeout": 60, "maxTaskRetries": 3}}),
        )
        .await;

    let (status, body) = server
        .post(
            "/v1/computing/jobs",
            json!({"templateId": "t", "name": "my job", "params": {"app": {"case": "lower"}},
                   "data_destination": {"data_source_descriptor": "bucket"},
                   "config": {"taskTimeout": "90"}}),
        )
        .await;

    let job = &body["job"];
    assert_eq!((status, &job["state"]), (200, &json!("JOB_STATE_NEW")));
    assert_eq!(job["params"]["app"], json!({"case": "lower", "n": 1}));
    assert_eq!(job["config"]["taskTimeout"], 90);
    assert_eq!(job["config"]["maxTaskRetries"], 3);
    assert_eq!(job["dataSource"]["dataSourceDescriptor"], "bypass");
    assert_eq!(job["dataDestination"]["dataSourceDescriptor"], "bucket");
    assert_eq!(job["paymentAmount"].to_string(), "0.0");
    assert_eq!(body["templateInfo"]["partitioner"], "lines");
    assert!(job["stateTimestamps"]["JOB_STATE_NEW"].is_string());
}

#[tokio::test]
async fn job_with_a_given_id_is_created_then_updated_for_one_owner_only() {
    let server = TestServer::open().await;
    server.template("lines", "concat").await;
    let id = Uuid::now_v7();
    let body = |name: &str| json!({"templateId": "t", "jobId": id, "name": name});

    assert_eq!(server.job(body("one")).await, id.to_string());
    let (_, second) = server.post("/v1/customer/jobs", body("two")).await;
    assert_eq!(second["job"]["name"], "two");
    assert_eq!(server.get("/v1/customer/jobs").await.1["pagination"]["total"], 1);

    let stranger = server.stranger().await;
    let template = json!({"id": "t", "app": "a", "partitioner": "lines", "assembler": "zip"});
    server.call_as(&stranger, Method::POST, "/v1/dev/templates", Some(template)).await;
    let taken =
        server.call_as(&stranger, Method::POST, "/v1/customer/jobs", Some(body("three"))).await;
    assert_eq!(taken.0, 404);
    let (status, body) =
        server.post("/v1/customer/jobs", json!({"templateId": "t", "jobId": "7"})).await;
    assert_eq!(status, 400);
    assert!(body["message"].as_str().unwrap().starts_with("jobId"));
}

#[tokio::test]
async fn job_of_another_workspace_is_not_found() {
    let server = TestServer::open().await;
    server.template("lines", "concat").await;
    let id = server.job(json!({"templateId": "t"})).await;
    let stranger = server.stranger().await;
    let job = format!("/v1/customer/jobs/{id}");
    for (method, path, body) in [
        (Method::GET, job.clone(), None),
        (Method::DELETE, job.clone(), None),
        (Method::PATCH, format!("{job}/jobname"), Some(json!("x"))),
        (Method::PATCH, format!("{job}/params"), Some(json!({}))),
        (Method::PATCH, format!("{job}/configs"), Some(json!({}))),
        (
            Method::PATCH,
            format!("{job}/datasource"),
            Some(json!({"dataSource": {"dataSourceDescriptor": "bypass"}})),
        ),
        (Method::PATCH, format!("{job}/uploadcompleted"), None),
        (Method::POST, format!("{job}/run"), None),
        (Method::POST, format!("{job}/abort"), None),
        (Method::GET, format!("{job}/results"), None),
        (Method::GET, format!("{job}/progress"), None),
        (Method::GET, format!("{job}/tasks"), None),
        (Method::GET, format!("{job}/tasks/0"), None),
        (Method::POST, "/v1/customer/logs".to_owned(), Some(json!({"jobId": id}))),
    ] {
        let (status, _) = server.call_as(&stranger, method.clone(), &path, body).await;

        assert_eq!(status, 404, "{method} {path}");
    }
    let asked = json!({"jobsIds": [id]});
    let path = "/v1/customer/jobs/runningTasks";
    let (_, body) = server.call_as(&stranger, Method::POST, path, Some(asked)).await;
    assert_eq!(body["jobsRunningTasks"], json!({}));
}

#[tokio::test]
async fn draft_is_deleted_by_delete_and_by_abort() {
    let server = TestServer::open().await;
    server.template("lines", "concat").await;
    for (method, path) in [(Method::DELETE, ""), (Method::POST, "/abort")] {
        let id = server.job(json!({"templateId": "t"})).await;
        let job = format!("/v1/customer/jobs/{id}");

        assert_eq!(server.call(method, &format!("{job}{path}"), None).await.0, 200);
        assert_eq!(server.get(&job).await.0, 404);
    }
}

#[tokio::test]
async fn invalid_job_is_refused_with_the_named_field() {
    let server = TestServer::open().await;
    server.template("lines", "concat").await;
    for (body, status, says) in [
        (json!({}), 400, "templateId: is missing"),
        (json!({"templateId": "nope"}), 404, "template"),
        (json!({"templateId": "t", "config": {"taskTimeout": -1}}), 400, "config.taskTimeout"),
        (json!({"templateId": "t", "params": {"app": 7}}), 400, "params.app"),
        (json!({"templateId": "t", "name": "a\nb"}), 400, "name"),
        (
            json!({"templateId": "t", "dataSource": {"dataSourceDescriptor": "ftp"}}),
            400,
            "dataSource.dataSourceDescriptor",
        ),
    ] {
        let (got, body) = server.post("/v1/customer/jobs", body).await;

        assert_eq!(got, status, "{body}");
        assert!(body["message"].as_str().unwrap().starts_with(says), "{body}");
    }
    assert_eq!(server.get("/v1/customer/jobs?orderBy=nothing").await.0, 400);
    assert_eq!(server.get("/v1/customer/jobs?pagination.limit=x").await.0, 400);
    assert_eq!(server.get("/v1/customer/jobs?pagination.offset=18446744073709551615").await.0, 400);
}

#[tokio::test]
async fn clone_is_a_separate_draft() {
    let server = TestServer::open().await;
    let id = server.running_job().await;
    let clone = format!("/v1/customer/jobs/{id}/clone");

    let (status, body) = server.post(&clone, json!({"name": "again"})).await;

    let copy = &body["job"];
    assert_eq!((status, &copy["state"]), (200, &json!("JOB_STATE_NEW")), "{body}");
    assert_eq!((&copy["name"], &copy["numChunks"]), (&json!("again"), &json!(0)));
    assert_eq!(copy["dataSource"]["dataSourceDescriptor"], "bypass");
    assert_ne!(copy["id"], id);
    let run = format!("/v1/customer/jobs/run/{}", copy["id"].as_str().unwrap());
    assert_eq!(server.post(&run, json!({})).await.0, 200);
    let stranger = server.stranger().await;
    assert_eq!(server.call_as(&stranger, Method::POST, &clone, None).await.0, 404);
}

#[tokio::test]
async fn repeated_clone_of_one_name_makes_one_draft() {
    let server = TestServer::open().await;
    let id = server.running_job().await;
    let path = format!("/v1/customer/jobs/{id}/clone");
    let clone = async |name: &str| server.post_named("k", &path, &json!({"name": name})).await;

    let (_, first) = clone("again").await;
    let (_, second) = clone("again").await;
    let (other, _) = clone("else").await;

    assert_eq!(first["job"]["id"], second["job"]["id"]);
    assert_ne!(first["job"]["id"], id);
    assert_eq!(other, 400);
}

#[tokio::test]
async fn job_flow_of_2023_works() {
    let server = TestServer::open().await;
    let first = server.running_job().await;
    let id = server.job(json!({"templateId": "t", "name": "old way"})).await;
    let source = json!({"dataSource": {"dataSourceDescriptor": "local"},
                        "dataDestination": {"dataSourceDescriptor": "bucket"}});

    let (_, body) = server.post(&format!("/v1/customer/jobs/datasource/{id}"), source).await;
    let link = body["job"]["dataSource"]["params"]["tempUrl"].as_str().unwrap();
    assert_eq!(server.client.put(link).body("data").send().await.unwrap().status(), 200);

    for (path, body) in [
        ("params", json!({"app": {"preset": "x"}})),
        ("uploadcompleted", json!({})),
        ("run", json!({})),
    ] {
        let (status, body) = server.post(&format!("/v1/customer/jobs/{path}/{id}"), body).await;
        assert_eq!(status, 200, "{path}: {body}");
    }
    let (_, list) = server.get("/v1/customer/jobs?orderBy=createdAt").await;
    assert_eq!(list["data"][0]["id"], first);
    assert_eq!(list["data"][1]["params"]["app"]["preset"], "x");
}

#[tokio::test]
async fn repeated_create_of_one_name_makes_one_job() {
    let server = TestServer::open().await;
    server.template("lines", "concat").await;
    let create = async |key: &str, name: &str| {
        let body = json!({"templateId": "t", "name": name});
        server.post_named(key, "/v1/customer/jobs", &body).await
    };

    let (first, again) = tokio::join!(create("k", "one"), create("k", "one"));
    let other = create("k", "two").await;
    let fresh = create("k2", "two").await;

    assert_eq!((first.0, again.0, fresh.0), (200, 200, 200), "{first:?} {again:?}");
    assert_eq!(first.1["job"]["id"], again.1["job"]["id"]);
    assert_eq!((other.0, &other.1["code"]), (400, &json!(9)));
    assert_ne!(fresh.1["job"]["id"], first.1["job"]["id"]);
    assert_eq!(server.get("/v1/customer/jobs").await.1["pagination"]["total"], 2);
    assert_eq!(create("", "x").await.0, 400);
}

#[tokio::test]
async fn draft_is_changed_once_by_a_named_create() {
    let server = TestServer::open().await;
    server.template("lines", "concat").await;
    let id = server.job(json!({"templateId": "t", "name": "old"})).await;
    let change = json!({"templateId": "t", "jobId": id, "name": "new"});

    let wrong = json!({"templateId": "t", "jobId": id, "name": 7});
    for _ in 0..2 {
        assert_eq!(server.post_named("wrong", "/v1/customer/jobs", &wrong).await.0, 400);
    }
    let (_, first) = server.post_named("k", "/v1/customer/jobs", &change).await;
    server
        .post("/v1/customer/jobs", json!({"templateId": "t", "jobId": id, "name": "newer"}))
        .await;
    let (status, again) = server.post_named("k", "/v1/customer/jobs", &change).await;

    assert_eq!((&first["job"]["id"], &first["job"]["name"]), (&json!(id), &json!("new")));
    assert_eq!((status, &again["job"]["name"]), (200, &json!("newer")));
}
