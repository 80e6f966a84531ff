use chrono::{DateTime, TimeDelta, Utc};

use super::*;
use crate::clock;

/// A draft, and the path of its schedule.
async fn draft(server: &TestServer) -> (String, String) {
    let job = make(server, three_chunks()).await;
    let path = format!("/v1/jobs/{job}/schedule");
    (job, path)
}

async fn put(server: &TestServer, path: &str, body: Value) -> (u16, Value) {
    server.call(Method::PUT, path, Some(body)).await
}

/// Waits until a job has so many runs, newest first.
async fn runs(server: &TestServer, job: &str, n: usize) -> Vec<Value> {
    loop {
        let found = read(server, &format!("/v1/jobs/{job}/runs")).await;
        let runs = found["runs"].as_array().unwrap();
        if runs.len() >= n {
            return runs.clone();
        }
        tokio::task::yield_now().await;
    }
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn schedule_is_set_read_paused_resumed_listed_and_removed() {
    let server = granted().await;
    let (job, path) = draft(&server).await;
    let body = json!({"cron": "30 9 * * mon-fri", "time_zone": "Europe/Berlin",
                      "overlap": "allow", "missed": "skip", "grace_secs": 90, "jitter_secs": 5});

    let (status, set) = put(&server, &path, body).await;
    assert_eq!(status, 200, "{set}");
    let expected = json!({
        "job": job, "name": "n", "state": "active", "cron": "30 9 * * mon-fri",
        "time_zone": "Europe/Berlin", "every_secs": null, "from": null, "at": null,
        "overlap": "allow", "max_runs": 2, "missed": "skip", "grace_secs": 90, "jitter_secs": 5,
        "next_at": set["next_at"], "last_at": null,
    });
    assert_eq!([&set, &read(&server, &path).await], [&expected, &expected]);
    assert!(time(&set["next_at"]) > clock::now());
    let listed = read(&server, "/v1/schedules?limit=1").await;
    assert_eq!(listed, json!({"schedules": [set], "next_cursor": job}));
    let rest = read(&server, &format!("/v1/schedules?cursor={job}")).await;
    assert_eq!(rest, json!({"schedules": [], "next_cursor": null}));

    for _ in 0..2 {
        let (_, paused) = server.post(&format!("{path}/pause"), json!({})).await;
        assert_eq!((&paused["state"], &paused["next_at"]), (&json!("paused"), &Value::Null));
    }
    let (_, resumed) = server.post(&format!("{path}/resume"), json!({})).await;
    assert_eq!(resumed, set);

    let (status, removed) = server.call(Method::DELETE, &path, None).await;
    assert_eq!((status, removed), (200, json!({"job": job})));
    for method in [Method::GET, Method::DELETE] {
        assert_eq!(server.call(method, &path, None).await.0, 404);
    }
    assert_eq!(read(&server, "/v1/schedules").await["schedules"], json!([]));
}

#[tokio::test]
async fn schedule_makes_runs_of_its_nominal_times_and_skips_what_overlaps() {
    let server = granted().await;
    let (job, path) = draft(&server).await;

    let (_, set) = put(&server, &path, json!({"every_secs": 1})).await;
    let first = runs(&server, &job, 1).await[0].clone();
    assert_eq!(first["origin"], json!("schedule"));
    assert_eq!(time(&first["scheduled_for"]), time(&set["next_at"]));
    let skips = loop {
        let found = read(&server, &format!("{path}/skips?limit=1")).await;
        if found["skips"] != json!([]) {
            break found;
        }
        tokio::task::yield_now().await;
    };
    let skip = &skips["skips"][0];
    assert_eq!((&skip["cause"], &skip["message"]), (&json!("overlap"), &Value::Null));
    assert!(time(&skip["first"]) > time(&first["scheduled_for"]));
    let cursor = skips["next_cursor"].as_str().unwrap();
    let older = read(&server, &format!("{path}/skips?cursor={cursor}")).await;
    assert!(older["skips"].as_array().unwrap().iter().all(|old| old["first"] != skip["first"]));

    let id = first["id"].as_str().unwrap();
    assert_eq!(server.post(&format!("/v1/runs/{id}/cancel"), json!({})).await.0, 200);
    let second = runs(&server, &job, 2).await[0].clone();
    assert!(time(&second["scheduled_for"]) > time(&first["scheduled_for"]));
    // The job is started by hand beside its schedule, and cannot be deleted while it runs.
    let by_hand = start(&server, &job).await;
    assert_eq!(by_hand["origin"], json!("manual"));
    assert_eq!(server.call(Method::DELETE, &format!("/v1/jobs/{job}"), None).await.0, 400);
    assert_eq!(read(&server, &path).await["state"], json!("active"));
}

#[tokio::test]
async fn single_time_that_has_passed_makes_its_run_at_once_and_only_once() {
    let server = granted().await;
    let (job, path) = draft(&server).await;
    let at = clock::now() - TimeDelta::days(3);
    let body = json!({"at": at});

    put(&server, &path, body.clone()).await;
    let run = runs(&server, &job, 1).await[0].clone();
    assert_eq!(time(&run["scheduled_for"]), at);
    let ended = read(&server, &path).await;
    assert_eq!((&ended["state"], &ended["next_at"]), (&json!("ended"), &Value::Null));
    assert_eq!(server.post(&format!("{path}/resume"), json!({})).await.0, 400);

    // Neither set again nor removed and set again does it come twice: its run is stored.
    assert_eq!(put(&server, &path, body.clone()).await.1["state"], json!("ended"));
    assert_eq!(server.call(Method::DELETE, &path, None).await.0, 200);
    assert_eq!(put(&server, &path, body).await.1["state"], json!("ended"));
    assert_eq!(runs(&server, &job, 1).await.len(), 1);
}

#[tokio::test]
async fn deleted_job_has_no_schedule_any_more() {
    let server = granted().await;
    let (job, path) = draft(&server).await;
    put(&server, &path, json!({"cron": "@yearly"})).await;

    assert_eq!(server.call(Method::DELETE, &format!("/v1/jobs/{job}"), None).await.0, 200);

    assert_eq!(read(&server, "/v1/schedules").await["schedules"], json!([]));
    assert_eq!(server.get(&path).await.0, 404);
}

#[tokio::test]
async fn schedule_of_a_member_who_has_left_makes_no_run() {
    let server = granted().await;
    let (job, path) = draft(&server).await;
    let (member, key) = server.member(Role::User).await;
    let at = clock::now() + TimeDelta::milliseconds(1_500);
    let set = server.call_as(&key, Method::PUT, &path, Some(json!({"at": at}))).await;
    assert_eq!(set.0, 200, "{}", set.1);
    let left = server.call(Method::DELETE, &format!("/v1/members/{member}"), None).await;
    assert_eq!(left.0, 200);

    let skip = loop {
        let found = read(&server, &format!("{path}/skips")).await;
        if found["skips"] != json!([]) {
            break found["skips"][0].clone();
        }
        tokio::task::yield_now().await;
    };

    assert_eq!(skip["cause"], json!("job"));
    assert!(skip["message"].as_str().unwrap().contains("no longer a member"), "{skip}");
    assert_eq!(read(&server, &format!("/v1/jobs/{job}/runs")).await["runs"], json!([]));
}

#[tokio::test]
async fn schedule_that_is_wrong_is_refused_with_its_field() {
    let server = granted().await;
    let (_, path) = draft(&server).await;
    for (body, field) in [
        (json!({}), "cron"),
        (json!({"cron": "61 * * * *"}), "cron"),
        (json!({"cron": "0 0 30 2 *"}), "cron"),
        (json!({"cron": "@reboot"}), "cron"),
        (json!({"cron": "@daily", "time_zone": "Berlin"}), "time_zone"),
        (json!({"cron": "@daily", "at": "2030-01-01T00:00:00Z"}), "cron"),
        (json!({"every_secs": 9, "at": "2030-01-01T00:00:00Z"}), "at"),
        (json!({"every_secs": 0}), "every_secs"),
        (json!({"every_secs": 9, "time_zone": "UTC"}), "time_zone"),
        (json!({"at": "soon"}), "at"),
        (json!({"at": "+20000-01-01T00:00:00Z"}), "at"),
        (json!({"cron": "@daily", "from": "2030-01-01T00:00:00Z"}), "from"),
        (json!({"cron": "@daily", "overlap": "maybe"}), "overlap"),
        (json!({"cron": "@daily", "max_runs": 2}), "max_runs"),
        (json!({"cron": "@daily", "overlap": "allow", "max_runs": 101}), "max_runs"),
        (json!({"cron": "@daily", "missed": "all"}), "missed"),
        (json!({"cron": "@daily", "grace_secs": -1}), "grace_secs"),
        (json!({"cron": "@daily", "jitter_secs": 3601}), "jitter_secs"),
    ] {
        let (status, refused) = put(&server, &path, body.clone()).await;
        assert_eq!((status, problem(&refused)), (400, ("INVALID_ARGUMENT", field)), "{body}");
    }
    assert_eq!(server.get(&path).await.0, 404);
}

#[tokio::test]
async fn job_that_cannot_be_started_takes_no_schedule() {
    let server = granted().await;
    let job = make(&server, json!({"template": "t", "source": {"type": "file"}})).await;

    let path = format!("/v1/jobs/{job}/schedule");
    let (status, refused) = put(&server, &path, json!({"cron": "@daily"})).await;

    assert_eq!((status, problem(&refused).0), (400, "FAILED_PRECONDITION"), "{refused}");
}

#[tokio::test]
async fn preview_lists_the_next_times_over_a_change_of_the_clock() {
    let server = granted().await;
    let body = json!({"cron": "0 12 * * *", "time_zone": "Europe/Berlin", "count": 100});
    let (status, preview) = server.post("/v1/schedules/preview", body).await;
    assert_eq!(status, 200, "{preview}");
    assert_eq!(preview["times"].as_array().unwrap().len(), 100);

    let from = json!({"every_secs": 60, "from": "2099-01-01T00:00:30Z", "count": 2});
    let (_, preview) = server.post("/v1/schedules/preview", from).await;
    assert_eq!(preview["times"], json!(["2099-01-01T00:00:30Z", "2099-01-01T00:01:30Z"]));
    for body in [json!({"cron": "@daily", "count": 101}), json!({"cron": "x"})] {
        assert_eq!(server.post("/v1/schedules/preview", body).await.0, 400);
    }
}
