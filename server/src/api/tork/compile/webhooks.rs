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
/// The states of jobs and of tasks, by those of runs and of blocks.
const STATES: &str = "{\"running\": \"RUNNING\", \"succeeded\": \"COMPLETED\", \
                      \"skipped\": \"SKIPPED\", \"failed\": \"FAILED\", \
                      \"cancelled\": \"CANCELLED\"}";
/// What names a task.
const TASK: &str = "replace(event.block_task, \"-\", \"\")";

/// What a webhook is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    JobState,
    JobProgress,
    TaskState,
}

impl Event {
    fn read(name: &str) -> Option<Self> {
        match name {
            "" | "job.StateChange" | "job.StatusChange" => Some(Self::JobState),
            "job.Progress" => Some(Self::JobProgress),
            "task.StateChange" => Some(Self::TaskState),
            _ => None,
        }
    }

    fn of_run(self) -> BTreeSet<RunEvent> {
        match self {
            Self::JobState => RunEvent::STATES.into(),
            Self::JobProgress => [RunEvent::Progress].into(),
            Self::TaskState => [RunEvent::Block].into(),
        }
    }
}

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
    let name = text(webhook.event.as_ref());
    let event = Event::read(name).ok_or_else(|| {
        let why = "is not told by this server: use job.StateChange, job.Progress or \
                   task.StateChange";
        refused(&place, format!("{name:?} {why}"))
    })?;
    let when = match text(webhook.condition.as_ref()) {
        "" => None,
        condition => Some(template(&place, &when(job, event, &place, condition)?)?),
    };
    let mut call = Call::new(Method::Post, text(webhook.url.as_ref()));
    call.timeout_secs = TIMEOUT_SECS;
    call.headers.insert("content-type".to_owned(), HeaderText::Text(CONTENT_TYPE.to_owned()));
    let body = template(&place, &body(job, event))?;
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
    Ok(OrderedCallback { on: event.of_run(), when, work: CallWork { call, retry }, late })
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

/// A summary of the job or of its task, without what is empty.
fn body(job: &Job<'_>, event: Event) -> String {
    let of = match event {
        Event::JobState | Event::JobProgress => summary_of_job(job),
        Event::TaskState => summary_of_task(job),
    };
    format!(
        "{{{{ {of}; fromPairs(filter(toPairs(summary), #[1] != nil && string(#[1]) != \"\")) }}}}"
    )
}

fn summary_of_job(job: &Job<'_>) -> String {
    format!(
        "let fixed = {fixed}; let state = {STATES}[event.state]; \
         let done = int(event.blocks_done == \"\" ? \"0\" : event.blocks_done); \
         let summary = {{\"id\": {id}, \
         \"name\": fixed.name, \"description\": fixed.description, \"tags\": fixed.tags, \
         \"inputs\": fixed.inputs, \"state\": state, \"createdAt\": event.accepted_at, \
         \"startedAt\": event.started_at, \
         \"completedAt\": state == \"COMPLETED\" ? event.ended_at : \"\", \
         \"failedAt\": state in [\"FAILED\", \"CANCELLED\"] ? event.ended_at : \"\", \
         \"position\": state == \"COMPLETED\" ? fixed.taskCount + 1 : done + 1, \
         \"progress\": state == \"COMPLETED\" ? 100 : \
         done == 0 ? nil : round(done * 10000 / fixed.taskCount) / 100, \
         \"taskCount\": fixed.taskCount, \"result\": event.output, \
         \"error\": state == \"FAILED\" ? event.error : \"\"}}",
        fixed = fixed(job),
        id = id(job),
    )
}

fn summary_of_task(job: &Job<'_>) -> String {
    format!(
        "let state = {STATES}[event.block_state]; \
         let summary = {{\"id\": {TASK}, \"jobId\": {id}, \"name\": event.block, \
         \"position\": int(event.block_place), \"state\": state, \
         \"createdAt\": event.block_opened_at, \
         \"scheduledAt\": state == \"SKIPPED\" ? \"\" : event.block_opened_at, \
         \"startedAt\": state == \"RUNNING\" ? event.at : \"\", \
         \"completedAt\": state in [\"COMPLETED\", \"SKIPPED\"] ? event.at : \"\", \
         \"failedAt\": state in [\"FAILED\", \"CANCELLED\"] ? event.at : \"\", \
         \"result\": event.block_output, \
         \"error\": state == \"FAILED\" ? event.error : \"\"}}",
        id = id(job),
    )
}

/// A condition over `job` and, where it is told of tasks, `task`. Their members have the names that
/// Go gives them.
fn when(job: &Job<'_>, event: Event, place: &str, condition: &str) -> Result<String> {
    let plain = condition.trim();
    let inner = plain.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
    let inner = inner.unwrap_or(plain);
    if inner.contains("{{") {
        return Err(refused(place, "if must be one expression"));
    }
    let task = match event {
        Event::JobState | Event::JobProgress => String::new(),
        Event::TaskState => format!(
            "let task = {{\"ID\": {TASK}, \"JobID\": job.ID, \"Name\": event.block, \
             \"Position\": int(event.block_place), \"State\": {STATES}[event.block_state], \
             \"Result\": event.block_output, \"Error\": event.error}}; "
        ),
    };
    Ok(format!(
        "{{{{ let fixed = {fixed}; let state = {STATES}[event.state]; let job = {{\"ID\": {id}, \
         \"Name\": fixed.name, \"Description\": fixed.description, \"Tags\": fixed.tags, \
         \"Inputs\": fixed.inputs, \"State\": state, \"TaskCount\": fixed.taskCount, \
         \"Result\": event.output, \"Error\": event.error}}; {task}({inner}) == true }}}}",
        fixed = fixed(job),
        id = id(job),
    ))
}

#[cfg(test)]
mod tests;
