//! Jobs of job files.

use super::calls::{ended, receiver};
use super::*;

#[tokio::test]
async fn workflow_is_made_from_a_job_file_and_runs_its_steps() {
    let (server, url) = (granted().await, receiver().await);
    let call = |body: &str| json!({"method": "POST", "url": format!("{url}/200"), "body": body});
    let file = json!({
        "name": "two calls",
        "tags": ["a"],
        "inputs": {"who": "anna"},
        "steps": [
            {"name": "first", "var": "first", "call": call("hello {{ inputs.who }}")},
            {"name": "skipped", "if": "{{ inputs.who == 'bob' }}", "call": call("never")},
            {"name": "second", "call": call("again: {{ tasks.first contains 'hello anna' }}")},
        ],
    });
    let id = make(&server, json!({"workflow": file.to_string(), "description": "d"})).await;

    let job = read(&server, &format!("/v1/jobs/{id}")).await;
    assert_eq!((&job["kind"], &job["name"]), (&json!("plan"), &json!("two calls")), "{job}");
    assert_eq!((&job["description"], &job["tags"]), (&json!("d"), &json!(["a"])));
    assert_eq!(job["workflow"], file);
    let (run, attempts) = ended(&server, &id).await;
    assert_eq!(run["state"], "succeeded", "{run}");
    let told: Vec<&str> = attempts["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|attempt| attempt["body"].as_str().unwrap())
        .collect();
    assert_eq!(told.len(), 2, "{attempts}");
    assert!(told.iter().any(|told| told.ends_with("hello anna")), "{told:?}");
    assert!(told.iter().any(|told| told.ends_with("again: true")), "{told:?}");
}

#[tokio::test]
async fn workflow_that_is_no_job_file_is_refused_with_its_place() {
    let server = granted().await;
    for (workflow, problem) in [
        (json!("steps: [{ image: a, cpu: 1 }]"), "cpu"),
        (json!("steps: [{ image: a, env: { X: '{{ 1 + }}' } }]"), "column"),
        (json!({"steps": [{"image": "a", "env": {"X": "{{ inputs.y }}"}}]}), "steps[0].env.X"),
        (json!({"steps": []}), "has no steps"),
        (json!(1), "must be a job file"),
    ] {
        let (status, refused) = server.post("/v1/jobs", json!({"workflow": workflow})).await;

        assert_eq!((status, super::problem(&refused).1), (400, "workflow"), "{refused}");
        assert!(refused["detail"].as_str().unwrap().contains(problem), "{refused}");
    }
    let both = json!({"workflow": "steps: [{ image: a }]", "template": "t"});
    assert_eq!(server.post("/v1/jobs", both).await.0, 400);
}
