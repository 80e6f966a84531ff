use common::expression::{Fixed, Scope, evaluate_text};
use uuid::Uuid;

use super::*;

fn document() -> Value {
    json!({"name": "a {{ b }} \"c\"", "tags": ["t"], "tasks": [{}, {}]})
}

fn told(webhook: &Webhook, state: &str) -> (Option<String>, String) {
    told_of(webhook, json!({"state": state, "output": "x", "ended_at": "2026-01-01T00:00:00Z"}))
}

fn told_of(webhook: &Webhook, event: Value) -> (Option<String>, String) {
    let document = document();
    let id = JobId::new(Uuid::from_u128(7));
    let job = Job { id, is_scheduled: false, document: &document };
    let callbacks = callbacks(&job, std::slice::from_ref(webhook)).unwrap();
    let callback = callbacks.iter().next().unwrap().clone();
    let mut scope = Scope::default();
    scope.set("event", event);
    let text = |template| evaluate_text(template, &scope, &Fixed::default()).unwrap();
    (callback.when.as_ref().map(text), text(&callback.late[0].text))
}

fn webhook(condition: Option<&str>) -> Webhook {
    let url = Some("https://h.example/".to_owned());
    Webhook { url, condition: condition.map(str::to_owned), ..Webhook::default() }
}

#[test]
fn webhook_gets_a_summary_without_what_is_empty() {
    let (when, body) = told(&webhook(None), "succeeded");

    assert_eq!(when, None);
    assert_eq!(
        serde_json::from_str::<Value>(&body).unwrap(),
        json!({
            "id": "00000000000000000000000000000007",
            "name": "a {{ b }} \"c\"",
            "tags": ["t"],
            "state": "COMPLETED",
            "completedAt": "2026-01-01T00:00:00Z",
            "position": 3,
            "progress": 100,
            "taskCount": 2,
            "result": "x",
        })
    );
}

#[test]
fn webhook_of_progress_gets_how_far_the_job_is() {
    let event = Some("job.Progress".to_owned());
    let webhook = Webhook { event, ..webhook(None) };

    let (_, body) = told_of(&webhook, json!({"state": "running", "blocks_done": "1"}));

    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        [&body["state"], &body["position"], &body["progress"]],
        [&json!("RUNNING"), &json!(2), &json!(50)]
    );
}

#[test]
fn webhook_of_tasks_gets_a_task_where_its_condition_holds() {
    let event = Some("task.StateChange".to_owned());
    let condition = Some("task.State == 'SKIPPED' && job.TaskCount == 2".to_owned());
    let webhook = Webhook { event, condition, ..webhook(None) };

    let (when, body) = told_of(
        &webhook,
        json!({
            "state": "running", "at": "2026-01-01T00:00:01Z",
            "block": "b", "block_state": "skipped", "block_place": "2", "block_output": "",
            "block_opened_at": "2026-01-01T00:00:00Z", "block_task": "0-1-2",
        }),
    );

    assert_eq!(when.as_deref(), Some("true"));
    assert_eq!(
        serde_json::from_str::<Value>(&body).unwrap(),
        json!({
            "id": "012",
            "jobId": "00000000000000000000000000000007",
            "name": "b",
            "position": 2,
            "state": "SKIPPED",
            "createdAt": "2026-01-01T00:00:00Z",
            "completedAt": "2026-01-01T00:00:01Z",
        })
    );
}

#[test]
fn webhook_is_told_what_its_condition_says() {
    for (condition, state, expected) in [
        ("{{ job.State == 'COMPLETED' }}", "succeeded", "true"),
        ("job.State == 'COMPLETED'", "failed", "false"),
        ("{{ job.State in ['FAILED', 'CANCELLED'] }}", "cancelled", "true"),
        ("{{ job.Name contains 'b' && job.TaskCount == 2 }}", "running", "true"),
    ] {
        let (when, _) = told(&webhook(Some(condition)), state);
        assert_eq!(when.as_deref(), Some(expected), "{condition} {state}");
    }
}

#[test]
fn webhook_of_what_is_not_told_is_refused() {
    let document = document();
    let id = JobId::new(Uuid::from_u128(7));
    let job = Job { id, is_scheduled: false, document: &document };
    let refusal = |webhook: Webhook| callbacks(&job, &[webhook]).unwrap_err().to_string();

    let event = Some("task.Progress".to_owned());
    let told = refusal(Webhook { event, ..webhook(None) });
    assert!(told.contains("job.StateChange"), "{told}");
    let told = refusal(webhook(Some("{{ secrets.a }}")));
    assert!(told.contains("names what is not there"), "{told}");
    let url = Some("nowhere".to_owned());
    assert!(refusal(Webhook { url, ..Webhook::default() }).contains("webhooks"));
}
