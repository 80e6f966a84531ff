//! Jobs as this API shows them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::schedule::{Schedule, When};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::blocks;
use super::ids;
use super::redact::{HIDDEN, Redactor};
use super::task_out::{TaskOut, TasksOf, is_named};
use super::words::JobState;
use crate::jobs::plans::PlanRun;
use crate::jobs::plans::executions::Executions;

/// A job in a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TorkJobSummary)]
pub struct Summary {
    id: String,
    /// What expressions read as `inputs`.
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
    /// When it failed or was cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_at: Option<DateTime<Utc>>,
    /// The task that is under way, from 1; one more than there are at the end.
    position: u64,
    /// How many tasks its document has.
    task_count: usize,
    /// What its `output` gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Hundredths of the tasks that are done.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    progress: Option<serde_json::Number>,
    /// Where a schedule has made it.
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
    /// What expressions know.
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
    /// What expressions read as `inputs`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    inputs: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    secrets: BTreeMap<String, &'static str>,
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
    /// The pattern of five fields.
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

impl Summary {
    /// `ended` is how many outermost tasks have ended.
    pub fn of(of: &PlanRun, ended: u64, redactor: &Redactor) -> Self {
        let PlanRun { job, run, schedule } = of;
        let document = &of.work().document;
        let (state, task_count) = (JobState::from(run.state), blocks::outermost(document).len());
        let at = run.ended_at();
        let hundredths = (ended * 10_000).checked_div(task_count as u64).unwrap_or(0);
        let progress = match hundredths % 100 {
            0 => Some(serde_json::Number::from(hundredths / 100)),
            part => format!("{}.{part:02}", hundredths / 100).parse().ok(),
        };
        Self {
            id: ids::write(of.id()),
            inputs: inputs(document),
            name: job.name.clone(),
            description: job.description.clone(),
            tags: job.tags.clone(),
            state,
            created_at: if schedule.is_some() {
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
            progress: progress.filter(|_| ended > 0),
            schedule: schedule.as_ref().map(|schedule| ScheduleOf {
                id: ids::write(schedule.job.uuid()),
                cron: cron(schedule),
            }),
        }
    }
}

impl Full {
    pub fn of(of: &PlanRun, executions: &Executions, redactor: &Redactor) -> Self {
        let document = &of.work().document;
        let tasks = blocks::tasks(document);
        let shown = TasksOf { run: of, executions, tasks: &tasks, redactor };
        let values = executions.values.iter().filter(|(name, _)| is_named(name));
        let secrets = document["secrets"].as_object().into_iter().flatten();
        let fields = ["output", "defaults", "autoDelete", "secrets"];
        let definition = fields
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), document.get(name)?.clone())));
        Self {
            summary: Summary::of(of, executions.ended, redactor),
            tasks: blocks::outermost(document).to_vec(),
            execution: shown.all(),
            context: Context {
                job: ContextJob { id: ids::write(of.id()), name: of.job.name.clone() },
                inputs: inputs(document),
                secrets: secrets.map(|(name, _)| (name.clone(), HIDDEN)).collect(),
                tasks: values
                    .map(|(name, value)| (name.clone(), redactor.named(name, value)))
                    .collect(),
            },
            definition: definition.collect(),
        }
    }
}
