//! From webhooks to callbacks. What a receiver gets is written by an expression over what the
//! server knows of a run, so that the body has this API's words.

use std::collections::BTreeSet;

use common::call::{Call, CallPlace, HeaderText, LateCallText, Method, Retry, Waits};
use common::ids::JobId;
use common::order::call::CallWork;
use common::order::callback::{Callbacks, OrderedCallback};
use common::run::callback::RunEvent;
use data_encoding::BASE64;
use serde_json::{Value, json};

use super::{refused, template};
use crate::api::tork::document::{Webhook, text, texts};
use crate::api::tork::ids;
use crate::api::tork::shown::blocks;
use crate::error::Result;

/// The pauses before further attempts.
const PAUSES_SECS: [u32; 4] = [2, 4, 6, 8];
const TIMEOUT_SECS: u32 = 5;
const CONTENT_TYPE: &str = "application/json; charset=UTF-8";
/// The states of jobs, by the events of runs.
const STATE: &str = "{\"running\": \"RUNNING\", \"succeeded\": \"COMPLETED\", \
                     \"failed\": \"FAILED\", \"cancelled\": \"CANCELLED\"}[event.state]";

/// What all events of a job have in common.
pub(super) struct Job<'a> {
    pub id: JobId,
    /// Its runs are named by themselves.
    pub is_scheduled: bool,
    /// Without the values of secrets.
    pub document: &'a Value,
}

/// The callbacks of a job.
pub(super) fn callbacks(job: &Job<'_>, webhooks: &[Webhook]) -> Result<Callbacks> {
    let each = (0..).zip(webhooks).map(|(n, webhook)| callback(job, n, webhook));
    let callbacks = Callbacks::new(each.collect::<Result<_>>()?);
    callbacks.map_err(|invalid| refused("webhooks", invalid))
}

fn callback(job: &Job<'_>, n: usize, webhook: &Webhook) -> Result<OrderedCallback> {
    let place = format!("webhooks[{n}]");
    match text(webhook.event.as_ref()) {
        "" | "job.StateChange" | "job.StatusChange" => {}
        event => {
            let why = format!("{event:?} is not told by this server: use job.StateChange");
            return Err(refused(&place, why));
        }
    }
    let when = match text(webhook.condition.as_ref()) {
        "" => None,
        condition => Some(template(&place, &when(job, &place, condition)?)?),
    };
    let mut call = Call::new(Method::Post, text(webhook.url.as_ref()));
    call.timeout_secs = TIMEOUT_SECS;
    call.headers.insert("content-type".to_owned(), HeaderText::Text(CONTENT_TYPE.to_owned()));
    let body = template(&place, &body(job))?;
    let mut late = vec![LateCallText { place: CallPlace::Body, text: body }];
    for (name, value) in texts(webhook.headers.as_ref()) {
        let value_of = template(&place, value)?;
        if value_of.is_plain() {
            call.headers.retain(|known, _| !known.eq_ignore_ascii_case(name));
            call.headers.insert(name.to_owned(), HeaderText::Text(value.to_owned()));
        } else {
            late.push(LateCallText { place: CallPlace::Header(name.to_owned()), text: value_of });
        }
    }
    let retry = Retry { waits: Waits::Table(PAUSES_SECS.to_vec()), honours_retry_after: false };
    let on: BTreeSet<RunEvent> = RunEvent::ALL.into();
    Ok(OrderedCallback { on, when, work: CallWork { call, retry }, late })
}

/// What a job is called, as an expression gives it.
fn id(job: &Job<'_>) -> String {
    if job.is_scheduled {
        return "replace(event.run, \"-\", \"\")".to_owned();
    }
    format!("\"{}\"", ids::write(job.id.uuid()))
}

/// What is known of a job when it is made, as an expression gives it.
fn fixed(job: &Job<'_>) -> String {
    let fixed = json!({
        "name": job.document["name"],
        "description": job.document["description"].as_str().unwrap_or_default(),
        "tags": job.document["tags"],
        "inputs": job.document["inputs"],
        "taskCount": blocks::outermost(job.document).len(),
    });
    // So no text of the customer's is read as a part of the expression.
    format!("fromJSON(fromBase64(\"{}\"))", BASE64.encode(fixed.to_string().as_bytes()))
}

/// A summary of the job, without what is empty.
fn body(job: &Job<'_>) -> String {
    format!(
        "{{{{ let fixed = {fixed}; let state = {STATE}; let job = {{\"id\": {id}, \
         \"name\": fixed.name, \"description\": fixed.description, \"tags\": fixed.tags, \
         \"inputs\": fixed.inputs, \"state\": state, \"createdAt\": event.accepted_at, \
         \"startedAt\": event.started_at, \
         \"completedAt\": state == \"COMPLETED\" ? event.ended_at : \"\", \
         \"failedAt\": state in [\"FAILED\", \"CANCELLED\"] ? event.ended_at : \"\", \
         \"position\": state == \"COMPLETED\" ? fixed.taskCount + 1 : 1, \
         \"taskCount\": fixed.taskCount, \"result\": event.output, \
         \"error\": state == \"FAILED\" ? event.error : \"\"}}; \
         fromPairs(filter(toPairs(job), #[1] != nil && string(#[1]) != \"\")) }}}}",
        fixed = fixed(job),
        id = id(job),
    )
}

/// A condition over `job`, whose members have the names that Go gives them.
fn when(job: &Job<'_>, place: &str, condition: &str) -> Result<String> {
    let plain = condition.trim();
    let inner = plain.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
    let inner = inner.unwrap_or(plain);
    if inner.contains("{{") {
        return Err(refused(place, "if must be one expression"));
    }
    Ok(format!(
        "{{{{ let fixed = {fixed}; let state = {STATE}; let job = {{\"ID\": {id}, \
         \"Name\": fixed.name, \"Description\": fixed.description, \"Tags\": fixed.tags, \
         \"Inputs\": fixed.inputs, \"State\": state, \"TaskCount\": fixed.taskCount, \
         \"Result\": event.output, \"Error\": event.error}}; ({inner}) == true }}}}",
        fixed = fixed(job),
        id = id(job),
    ))
}

#[cfg(test)]
mod tests {
    use common::expression::{Fixed, Scope, evaluate_text};
    use uuid::Uuid;

    use super::*;

    fn document() -> Value {
        json!({"name": "a {{ b }} \"c\"", "tags": ["t"], "tasks": [{}, {}]})
    }

    fn told(webhook: &Webhook, state: &str) -> (Option<String>, String) {
        let document = document();
        let id = JobId::new(Uuid::from_u128(7));
        let job = Job { id, is_scheduled: false, document: &document };
        let callbacks = callbacks(&job, std::slice::from_ref(webhook)).unwrap();
        let callback = callbacks.iter().next().unwrap().clone();
        let mut scope = Scope::default();
        scope.set(
            "event",
            json!({"state": state, "output": "x", "ended_at": "2026-01-01T00:00:00Z"}),
        );
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
                "taskCount": 2,
                "result": "x",
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
}
