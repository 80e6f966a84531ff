//! Drafts, changed part by part.

use common::data::location::Location as _;
use reqwest::Method;
use serde_json::json;

use crate::api::testing::TestServer;
use crate::store::jobs;

/// What opens a job's source, if it has keys of its own.
async fn kept(server: &TestServer, id: &str) -> Option<String> {
    let job = jobs::find(&server.app.db, server.workspace, id.parse().unwrap()).await.unwrap();
    let source = job.unwrap().work.template()?.source()?.clone();
    let own = source.secret()?;
    assert!(!own.is_named(), "{own}");
    let target = source.target().unwrap();
    let keys = server.app.secrets.open(server.workspace, own, &target).await.ok().unwrap();
    Some(keys.secret_key)
}

#[tokio::test]
async fn patch_changes_only_its_part() {
    let server = TestServer::open().await;
    server.template("lines", "concat").await;
    let id = server.job(json!({"templateId": "t"})).await;
    let job = format!("/v1/customer/jobs/{id}");
    let url = json!({"dataSource": {"dataSourceDescriptor": "url",
                                    "params": {"url": "https://example.com/a"}}});

    for (part, body) in [
        ("datasource", url),
        ("params", json!({"app": {"case": "title"}})),
        ("params", json!({"partitioner": {"chunk_bytes": 9}})),
        ("jobname", json!("renamed")),
        ("configs", json!({"jobTimeout": 7, "isTestJob": true, "maxTaskRetries": 3})),
        ("configs", json!({"taskTimeout": 3.6e1, "isTestJob": null})),
    ] {
        let (status, body) = server.patch(&format!("{job}/{part}"), body).await;
        assert_eq!(status, 200, "{part}: {body}");
    }

    let (_, body) = server.get(&job).await;
    let job = &body["job"];
    assert_eq!(job["dataSource"]["params"]["url"], "https://example.com/a");
    assert_eq!(job["params"]["app"]["case"], "title");
    assert_eq!(job["name"], "renamed");
    assert_eq!(job["params"]["partitioner"]["chunk_bytes"], 9);
    let config = json!({"taskTimeout": 36, "jobTimeout": 7, "isTestJob": true,
                        "maxTaskRetries": 3});
    assert_eq!(job["config"], config);
}

#[tokio::test]
async fn params_of_2023_reach_the_app_and_misspelt_ones_are_refused() {
    let server = TestServer::open().await;
    server.template("lines", "concat").await;
    let id = server.job(json!({"templateId": "t"})).await;
    let job = format!("/v1/customer/jobs/{id}");
    let old = json!({"data": {"case": "upper"}, "preset": "hd"});
    let path = format!("/v1/customer/jobs/params/{id}");

    assert_eq!(server.post(&path, old).await.0, 200);

    let kept = json!({"case": "upper", "preset": "hd"});
    let typo = server.patch(&format!("{job}/params"), json!({"ap": {"case": "title"}})).await;
    assert_eq!(typo.0, 400, "{}", typo.1);
    assert!(typo.1["message"].as_str().unwrap().contains("app"), "{}", typo.1);
    let body = json!({"templateId": "t", "params": {"ap": {}}});
    assert_eq!(server.post("/v1/customer/jobs", body).await.0, 400);
    for given in [json!({"chunk_lines": 5}), json!({"chunk_bytes": 0})] {
        let body = json!({"templateId": "t", "params": {"partitioner": given}});
        let (status, refused) = server.post("/v1/customer/jobs", body).await;
        assert_eq!(status, 400, "{refused}");
    }
    assert_eq!(server.get(&job).await.1["job"]["params"]["app"], kept);
}

#[tokio::test]
async fn params_keep_their_digits_from_the_body_to_the_answer() {
    let server = TestServer::open().await;
    server.template("lines", "concat").await;
    let id = server.job(json!({"templateId": "t"})).await;
    let url = format!("{}/v1/customer/jobs/{id}", server.url);
    let digits = r#"{"big":123456789012345678901234567890,"p":3.14159265358979323846}"#;

    let sent = server.client.patch(format!("{url}/params")).header("authorization", &server.key);
    let sent = sent.body(format!("{{\"app\": {digits}}}")).send().await.unwrap();

    assert_eq!(sent.status(), 200);
    let read = server.client.get(url).header("authorization", &server.key).send().await.unwrap();
    let read = read.text().await.unwrap();
    assert!(read.contains(digits), "{read}");
}

#[tokio::test]
async fn job_is_renamed_even_after_its_end() {
    let server = TestServer::open().await;
    let id = server.running_job().await;
    let job = format!("/v1/customer/jobs/{id}");
    assert_eq!(server.post(&format!("{job}/abort"), json!({})).await.0, 200);

    let (status, body) = server.patch(&format!("{job}/jobname"), json!("told apart")).await;

    assert_eq!((status, &body["job"]["name"]), (200, &json!("told apart")), "{body}");
    assert_eq!(body["job"]["state"], "JOB_STATE_FAILED");
    assert_eq!(server.get(&job).await.1["job"]["name"], "told apart");
    let config = server.patch(&format!("{job}/configs"), json!({"jobTimeout": 1})).await;
    assert_eq!(config.0, 400);
}

#[tokio::test]
async fn inline_keys_become_a_secret_and_are_never_shown() {
    let server = TestServer::open().await;
    server.template("lines", "concat").await;
    let source = json!({"dataSourceDescriptor": "s3", "params": {"name": "n",
        "bucketName": "b", "accessKey": "AK", "secretKey": "TOPSECRET"}});

    let id = server.job(json!({"templateId": "t", "dataSource": source})).await;

    let (_, body) = server.get(&format!("/v1/customer/jobs/{id}")).await;
    assert!(!body.to_string().contains("TOPSECRET"));
    let shown = body["job"]["dataSource"].clone();
    assert_eq!(shown["params"]["secret_id"], json!(null), "{shown}");
    assert_eq!(kept(&server, &id).await, Some("TOPSECRET".to_owned()));
    assert_eq!(server.get("/v1/auth/secrets").await.1["secrets"], json!([]));

    // What was shown can be sent back; another place has no keys.
    let path = format!("/v1/customer/jobs/{id}/datasource");
    assert_eq!(server.patch(&path, json!({"dataSource": shown})).await.0, 200);
    assert_eq!(kept(&server, &id).await, Some("TOPSECRET".to_owned()));
    let (_, copy) = server.post(&format!("/v1/customer/jobs/{id}/clone"), json!({})).await;
    let mut other = shown;
    other["params"]["bucketName"] = json!("other");
    assert_eq!(server.patch(&path, json!({"dataSource": other})).await.0, 200);
    assert_eq!(kept(&server, &id).await, None);
    let copy = copy["job"]["id"].as_str().unwrap();
    assert_eq!(kept(&server, copy).await, Some("TOPSECRET".to_owned()));
}

#[tokio::test]
async fn file_is_uploaded_to_its_link_and_recorded() {
    let server = TestServer::open().await;
    server.template("lines", "concat").await;
    let source = json!({"dataSourceDescriptor": "file", "params": {}});
    let id = server.job(json!({"templateId": "t", "dataSource": source})).await;
    let job = format!("/v1/customer/jobs/{id}");

    let (_, body) = server.get(&job).await;
    let link = body["job"]["dataSource"]["params"]["tempUrl"].as_str().unwrap();
    let (early, body) = server.call(Method::PATCH, &format!("{job}/uploadcompleted"), None).await;
    assert_eq!((early, body["code"].as_i64()), (400, Some(9)));
    let put = server.client.put(link).header("content-disposition", "attachment").body("a\nb\n");
    assert_eq!(put.send().await.unwrap().status(), 200);
    let old = format!("/v1/customer/jobs/uploadcompleted/{id}");

    assert_eq!(server.call(Method::PATCH, &format!("{job}/uploadcompleted"), None).await.0, 200);
    assert_eq!(server.call(Method::POST, &old, None).await.0, 200);
    // The link is still good, but what it brings now is not what was called complete.
    assert_eq!(server.client.put(link).body("x\ny\n").send().await.unwrap().status(), 200);
    let run = server.post(&format!("{job}/run"), json!({})).await;
    assert_eq!(run.0, 400);
    let message = run.1["message"].as_str().unwrap();
    assert!(message.contains("has changed since its upload"), "{message}");
}
