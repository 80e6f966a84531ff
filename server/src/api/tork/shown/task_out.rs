//! Tasks as this API shows them: an attempt of one, with what its document says.

use chrono::{DateTime, Utc};
use common::protocol::Failure;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::blocks::{self, Placed};
use super::redact::Redactor;
use super::words::TaskState;
use crate::api::tork::compile::{HIDDEN_VAR, QUEUE, hidden_var};
use crate::api::tork::ids;
use crate::jobs::plans::PlanRun;
use crate::jobs::plans::executions::{Execution, Executions, State};

/// What is wrong with a task that takes longer than it may.
const TIMED_OUT: &str = "context deadline exceeded";
/// What of a task's document is shown as it is.
const SHOWN: [&str; 25] = [
    "name",
    "description",
    "cmd",
    "entrypoint",
    "run",
    "image",
    "registry",
    "env",
    "files",
    "pre",
    "post",
    "sidecars",
    "mounts",
    "volumes",
    "networks",
    "var",
    "if",
    "parallel",
    "each",
    "subjob",
    "gpus",
    "tags",
    "workdir",
    "probe",
    "priority",
];

/// A task. Its other fields are those of its document.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TorkTask)]
pub struct TaskOut {
    id: String,
    job_id: String,
    /// The task that it is a part of.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<String>,
    /// Which task of its job it is, from 1.
    position: u64,
    state: TaskState,
    created_at: DateTime<Utc>,
    /// When it could begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    scheduled_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed_at: Option<DateTime<Utc>>,
    /// When it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Hundredths of it that are done, as it says itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<u8>,
    /// What it gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_id: Option<String>,
    #[serde(flatten)]
    #[schema(value_type = Object)]
    definition: Map<String, Value>,
}

/// What is shown with each task of a job.
pub struct TasksOf<'a> {
    pub run: &'a PlanRun,
    pub executions: &'a Executions,
    pub tasks: &'a [Placed<'a>],
    pub redactor: &'a Redactor,
}

impl TasksOf<'_> {
    pub fn all(&self) -> Vec<TaskOut> {
        self.executions.items.iter().filter_map(|execution| self.task(execution)).collect()
    }

    /// A task; `None` where the document has none of this place.
    pub fn task(&self, execution: &Execution) -> Option<TaskOut> {
        let block = usize::from(execution.block.number()).checked_sub(1)?;
        let placed = self.tasks.get(block)?;
        let (stage, attempt) = (&execution.stage, execution.attempt.as_ref());
        let ended = match attempt {
            Some(attempt) => attempt.ended_at,
            None => stage.ended.map(|end| end.at),
        };
        let ended = ended.or_else(|| self.run.run.ended_at());
        let (is_done, is_failed) = match execution.state {
            State::Done | State::Skipped => (true, false),
            State::Failed | State::CutOff => (false, true),
            State::Waiting | State::Running => (false, false),
        };
        let started = match attempt {
            Some(attempt) => attempt.running_at.or(attempt.leased_at),
            None => Some(stage.opened_at).filter(|_| execution.state != State::Waiting),
        };
        let error = attempt.and_then(|attempt| attempt.error.as_deref());
        let failure = attempt.and_then(|attempt| attempt.head).and_then(|head| head.failure);
        Some(TaskOut {
            id: ids::write(execution.id),
            job_id: ids::write(self.run.id()),
            parent_id: execution.parent.map(ids::write),
            position: placed.position,
            state: execution.state.into(),
            created_at: stage.opened_at,
            scheduled_at: Some(stage.opened_at).filter(|_| execution.state != State::Skipped),
            started_at: started.filter(|_| execution.state != State::Skipped),
            completed_at: ended.filter(|_| is_done),
            failed_at: ended.filter(|_| is_failed),
            error: error.filter(|_| is_failed).map(|error| match failure {
                Some(Failure::Timeout) => TIMED_OUT.to_owned(),
                Some(_) | None => self.redactor.text(error),
            }),
            progress: execution.progress.filter(|_| execution.state == State::Running),
            result: self.result(execution, placed).map(|text| self.redactor.text(text)),
            node_id: attempt.and_then(|attempt| attempt.node).map(|node| ids::write(node.uuid())),
            definition: self.definition(execution, placed.task),
        })
    }

    fn result<'a>(&'a self, execution: &'a Execution, placed: &Placed<'_>) -> Option<&'a String> {
        let values = &self.executions.values;
        let named = placed.task["var"].as_str().and_then(|var| values.get(var));
        let of_block = || named.or_else(|| values.get(&hidden_var(execution.block)));
        let found = execution.value.as_ref().or_else(|| {
            let is_alone = execution.parent.is_none() && execution.state == State::Done;
            is_alone.then(of_block).flatten()
        });
        found.filter(|text| !text.is_empty())
    }

    /// What the task's document says, and what its job says where it says nothing.
    fn definition(&self, execution: &Execution, task: &Value) -> Map<String, Value> {
        let defaults = &blocks::document(self.run)["defaults"];
        let mut shown = Map::new();
        for field in SHOWN {
            if let Some(value) = task.get(field) {
                shown.insert(field.to_owned(), value.clone());
            }
        }
        if let Some(Value::Object(subjob)) = shown.get_mut("subjob")
            && execution.state != State::Waiting
            && execution.state != State::Skipped
        {
            let child = self.run.run.id.of_child(execution.stage.no.number());
            subjob.insert("id".to_owned(), json!(ids::write(child.uuid())));
        }
        if ["parallel", "each", "subjob"].iter().any(|kind| task.get(*kind).is_some()) {
            return shown;
        }
        for field in ["limits", "timeout", "retry", "priority"] {
            if let Some(value) = task.get(field).or_else(|| defaults.get(field)) {
                shown.insert(field.to_owned(), value.clone());
            }
        }
        let queue = task.get("queue").or_else(|| defaults.get("queue")).cloned();
        shown.insert("queue".to_owned(), queue.unwrap_or_else(|| json!(QUEUE)));
        let attempt = execution.attempt.as_ref().map_or(1, |attempt| attempt.lease.attempt);
        if let Some(Value::Object(retry)) = shown.get_mut("retry")
            && attempt > 1
        {
            retry.insert("attempts".to_owned(), json!(attempt - 1));
        }
        shown
    }
}

/// Whether a value is one that blocks themselves name.
pub fn is_named(name: &str) -> bool {
    !name.starts_with(HIDDEN_VAR)
}
