//! Jobs as this API shows them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::schedule::{Schedule, When};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::blocks;
use super::redact::{HIDDEN, Redactor};
use super::task_out::{TaskOut, TasksOf, is_named};
use super::words::JobState;
use crate::api::tork::ids;
use crate::jobs::plans::PlanRun;
use crate::jobs::plans::executions::Executions;

/// A job in a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TorkJobSummary)]
pub struct Summary {
    id: String,
    /// The task that has started it, where it is a sub-job.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<String>,
    /// What expressions read, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    inputs: BTreeMap<String, String>,
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    state: JobState,
    created_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed_at: Option<DateTime<Utc>>,
    /// When it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_at: Option<DateTime<Utc>>,
    /// The task that is under way, from 1; one more than there are at the end.
    position: u64,
    /// How many tasks it has.
    task_count: usize,
    /// What it gives at its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Hundredths of the tasks that are done.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    progress: Option<serde_json::Number>,
    /// The scheduled job that it comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule: Option<ScheduleOf>,
}

/// A job with its tasks.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TorkJob)]
pub struct Full {
    #[serde(flatten)]
    summary: Summary,
    /// As they were ordered.
    #[schema(value_type = Vec<Object>)]
    tasks: Vec<Value>,
    /// What was opened, and each attempt.
    execution: Vec<TaskOut>,
    /// What its expressions know.
    context: Context,
    #[serde(flatten)]
    #[schema(value_type = Object)]
    definition: Map<String, Value>,
}

/// What expressions know.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TorkContext)]
struct Context {
    job: ContextJob,
    /// The inputs, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    inputs: BTreeMap<String, String>,
    /// The secrets, masked.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    secrets: BTreeMap<String, &'static str>,
    /// What tasks gave, by their variables.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tasks: BTreeMap<String, String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TorkContextJob)]
struct ContextJob {
    id: String,
    name: String,
}

/// The scheduled job that a job comes from.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TorkScheduleOf)]
struct ScheduleOf {
    id: String,
    /// The cron pattern.
    cron: String,
}

/// A cron pattern; empty for a schedule of another kind.
pub fn cron(schedule: &Schedule) -> String {
    match &schedule.rules.when {
        When::Cron(cron) => cron.text().to_owned(),
        When::Once(_) | When::Every { .. } => String::new(),
    }
}

/// The inputs of a document.
pub fn inputs(document: &Value) -> BTreeMap<String, String> {
    let inputs = document["inputs"].as_object().into_iter().flatten();
    inputs
        .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect()
}

/// What a job was given: a sub-job what its inputs were when it began.
fn inputs_of(of: &PlanRun, redactor: &Redactor) -> BTreeMap<String, String> {
    let Some(part) = &of.part else { return inputs(&of.work().document) };
    let named = part.inputs.iter();
    named.map(|(name, value)| (name.clone(), redactor.named(name, value))).collect()
}

impl Summary {
    /// `ended` is how many outermost tasks have ended.
    pub fn of(of: &PlanRun, ended: u64, redactor: &Redactor) -> Self {
        Self::with_progress(of, ended, 0, redactor)
    }

    /// The same, where this many hundredths of the next outermost task are done.
    fn with_progress(of: &PlanRun, ended: u64, of_next: u8, redactor: &Redactor) -> Self {
        let PlanRun { job, run, schedule, part } = of;
        let document = blocks::document(of);
        let text = |name: &str| document[name].as_str().unwrap_or_default().to_owned();
        let (state, task_count) = (JobState::from(run.state), blocks::outermost(document).len());
        let at = run.ended_at();
        let done = ended * 10_000 + u64::from(of_next) * 100;
        let hundredths = done.checked_div(task_count as u64).unwrap_or(0);
        let progress = match hundredths % 100 {
            0 => Some(serde_json::Number::from(hundredths / 100)),
            part => format!("{}.{part:02}", hundredths / 100).parse().ok(),
        };
        Self {
            id: ids::write(of.id()),
            parent_id: part.as_ref().map(|part| ids::write(part.starter)),
            inputs: inputs_of(of, redactor),
            name: text("name"),
            description: text("description"),
            tags: if part.is_some() { Vec::new() } else { job.tags.clone() },
            state,
            created_at: if schedule.is_some() || part.is_some() {
                run.started_at().unwrap_or(job.created_at)
            } else {
                job.created_at
            },
            started_at: run.times.began(),
            completed_at: at.filter(|_| state == JobState::Completed),
            failed_at: at.filter(|_| matches!(state, JobState::Failed | JobState::Cancelled)),
            position: ended + 1,
            task_count,
            result: run.output.as_deref().map(|text| redactor.text(text)),
            error: run
                .error()
                .filter(|_| state == JobState::Failed)
                .map(|text| redactor.text(text)),
            progress: progress.filter(|_| done > 0),
            schedule: schedule.as_ref().map(|schedule| ScheduleOf {
                id: ids::write(schedule.job.uuid()),
                cron: cron(schedule),
            }),
        }
    }
}

impl Full {
    pub fn of(of: &PlanRun, executions: &Executions, redactor: &Redactor) -> Self {
        let document = blocks::document(of);
        let tasks = blocks::tasks(document);
        let shown = TasksOf { run: of, executions, tasks: &tasks, redactor };
        let values = executions.values.iter().filter(|(name, _)| is_named(name));
        let secrets = document["secrets"].as_object().into_iter().flatten();
        let fields = ["output", "defaults", "autoDelete", "secrets"];
        let definition = fields
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), document.get(name)?.clone())));
        // The outermost tasks run one after the other.
        let outermost = executions.items.iter().filter(|execution| execution.parent.is_none());
        let of_next = outermost.filter_map(|execution| execution.progress).next().unwrap_or(0);
        let summary = Summary::with_progress(of, executions.ended, of_next, redactor);
        let context = Context {
            job: ContextJob { id: ids::write(of.id()), name: summary.name.clone() },
            inputs: summary.inputs.clone(),
            secrets: secrets.map(|(name, _)| (name.clone(), HIDDEN)).collect(),
            tasks: values
                .map(|(name, value)| (name.clone(), redactor.named(name, value)))
                .collect(),
        };
        Self {
            summary,
            tasks: blocks::outermost(document).to_vec(),
            execution: shown.all(),
            context,
            definition: definition.collect(),
        }
    }
}
