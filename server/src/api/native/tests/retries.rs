//! Runs that have ended and go on, and jobs that go by themselves.

use chrono::TimeDelta;

use super::calls::{ended, receiver};
use super::*;
use crate::clock;
use crate::jobs::auto_delete;

#[tokio::test]
async fn retry_goes_on_with_the_step_that_failed() {
    let (server, url) = (granted().await, receiver().await);
    let call = |path: &str| json!({"method": "POST", "url": format!("{url}/{path}"), "body": "b"});
    let file = json!({"steps": [
        {"name": "first", "var": "first", "call": call("200")},
        {"name": "second", "retry": {"limit": 0}, "call": call("500")},
    ]});
    let id = make(&server, json!({"workflow": file})).await;
    let (run, _) = ended(&server, &id).await;
    assert_eq!(run["state"], "failed", "{run}");
    let price = run["price"].clone();

    let (status, again) = server.post(&format!("/v1/jobs/{id}/retry"), json!({})).await;

    assert_eq!((status, &again["id"]), (200, &run["id"]), "{again}");
    let run = again["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/runs/{run}?wait=60");
    let last = read(&server, &path).await;
    assert_eq!((&last["state"], &last["price"]), (&json!("failed"), &price), "{last}");
    let stages = read(&server, &format!("/v1/runs/{run}/stages")).await;
    let all = stages["stages"].as_array().unwrap();
    assert_eq!(all.iter().filter(|stage| stage["state"] == "done").count(), 1, "{stages}");
    let lines = read(&server, "/v1/transactions").await;
    let payments = lines["transactions"].as_array().unwrap().iter();
    assert_eq!(payments.filter(|line| line["kind"] == "payment").count(), 1, "{lines}");
    let named = server.post(&format!("/v1/runs/{run}/retry"), json!({})).await;
    assert_eq!(named.0, 200, "{}", named.1);
}

#[tokio::test]
async fn retry_of_what_goes_on_or_has_succeeded_is_refused() {
    let (server, url) = (granted().await, receiver().await);
    let file = json!({"steps": [{"call": {"url": format!("{url}/200")}}]});
    let id = make(&server, json!({"workflow": file})).await;
    let path = format!("/v1/jobs/{id}/retry");
    let (early, why) = server.post(&path, json!({})).await;
    assert_eq!((early, problem(&why).0), (400, "FAILED_PRECONDITION"), "{why}");
    ended(&server, &id).await;

    let (status, refused) = server.post(&path, json!({})).await;

    assert_eq!((status, problem(&refused).0), (400, "FAILED_PRECONDITION"), "{refused}");
    let three = make(&server, three_chunks()).await;
    start(&server, &three).await;
    let going = server.post(&format!("/v1/jobs/{three}/retry"), json!({})).await;
    assert_eq!(going.0, 400, "{}", going.1);
}

#[tokio::test]
async fn cancelled_run_of_a_template_goes_on_and_a_wallet_that_is_empty_refuses() {
    let server = granted().await;
    let job = make(&server, three_chunks()).await;
    let run = start(&server, &job).await["id"].as_str().unwrap().to_owned();
    let cancelled = server.post(&format!("/v1/runs/{run}/cancel"), json!({})).await;
    assert_eq!(cancelled.0, 200, "{}", cancelled.1);

    let (status, again) = server.post(&format!("/v1/runs/{run}/retry"), json!({})).await;

    assert_eq!((status, &again["cause"]), (200, &Value::Null), "{again}");
    assert_ne!(again["state"], "cancelled");
}

#[tokio::test]
async fn job_is_deleted_some_time_after_its_end_and_not_before() {
    let (server, url) = (granted().await, receiver().await);
    let file = json!({"auto_delete": {"after": "1h"},
                      "steps": [{"call": {"url": format!("{url}/200")}}]});
    let id = make(&server, json!({"workflow": file})).await;
    let kept = make(&server, json!({"call": {"url": format!("{url}/200")}})).await;
    let own = json!({"call": {"url": format!("{url}/200")}, "auto_delete_secs": 7200});
    let later = make(&server, own).await;
    let pass = async |minutes: i64| {
        let now = clock::now() + TimeDelta::minutes(minutes);
        auto_delete::pass(&server.app, now).await.unwrap();
    };
    let shown = async |id: &str| server.get(&format!("/v1/jobs/{id}")).await;
    assert_eq!(shown(&id).await.1["auto_delete_secs"], 3600);

    pass(600).await;
    assert_eq!(shown(&id).await.0, 200, "it has not run");
    for job in [&id, &kept, &later] {
        ended(&server, job).await;
    }
    pass(59).await;
    assert_eq!(shown(&id).await.0, 200);
    pass(61).await;
    assert_eq!((shown(&id).await.0, shown(&later).await.0), (404, 200));
    pass(121).await;

    assert_eq!((shown(&later).await.0, shown(&kept).await.0), (404, 200));
    let (status, refused) =
        server.post("/v1/jobs", json!({"template": "t", "auto_delete_secs": 0})).await;
    assert_eq!((status, problem(&refused).1), (400, "auto_delete_secs"), "{refused}");
}

#[tokio::test]
async fn spend_cap_refuses_what_a_project_may_not_spend() {
    let (server, url) = (granted().await, receiver().await);
    let price = server.app.settings.wallet.call_price;
    let file = || {
        json!({"project": "small",
               "workflow": {"steps": [{"call": {"url": format!("{url}/200")}}]}})
    };
    let cap = |credits: &str| json!({"project": "small", "credits": credits, "period": "day"});
    let (status, set) = server.post("/v1/spend_caps", cap(&price.to_string())).await;
    assert_eq!((status, &set["spent"], &set["period"]), (200, &json!("0.00000000"), &json!("day")));
    let first = make(&server, file()).await;
    let (run, _) = ended(&server, &first).await;
    assert_eq!(run["state"], "succeeded", "{run}");

    let second = make(&server, file()).await;
    let (status, refused) = server.post(&format!("/v1/jobs/{second}/runs"), json!({})).await;

    assert_eq!((status, problem(&refused).0), (400, "SPEND_CAP_REACHED"), "{refused}");
    let other = json!({"workflow": {"steps": [{"call": {"url": format!("{url}/200")}}]}});
    let other = make(&server, other).await;
    assert_eq!(ended(&server, &other).await.0["state"], "succeeded");
    let shown = read(&server, "/v1/spend_caps/small").await;
    assert_eq!((&shown["spent"], &shown["held"]), (&json!(price), &json!("0.00000000")));
    let more = price.saturating_mul(2).to_string();
    assert_eq!(server.post("/v1/spend_caps", cap(&more)).await.1["spent"], json!(price));
    assert_eq!(ended(&server, &second).await.0["state"], "succeeded");
    let listed = read(&server, "/v1/spend_caps").await;
    assert_eq!(listed["spend_caps"].as_array().unwrap().len(), 1);
    let gone = server.call(Method::DELETE, "/v1/spend_caps/small", None).await;
    assert_eq!(gone, (200, json!({"project": "small"})));
    assert_eq!(server.get("/v1/spend_caps/small").await.0, 404);
    for (body, field) in [
        (json!({"credits": "1"}), "project"),
        (json!({"project": "p", "credits": "-1"}), "credits"),
        (json!({"project": "p", "credits": "1", "period": "week"}), "period"),
    ] {
        let (status, refused) = server.post("/v1/spend_caps", body).await;
        assert_eq!((status, problem(&refused).1), (400, field), "{refused}");
    }
}
