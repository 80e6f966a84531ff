//! What the containers of a job wrote, and their nodes around them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::ids::RunId;
use common::protocol::Level;
use common::rights::Scope;
use common::task::{Stage, TaskRef};
use serde::Serialize;
use utoipa::ToSchema;

use super::{job_out, jobs};
use crate::api::http::call::{Call, Segment};
use crate::api::http::error::{Error, Result};
use crate::api::http::route::{Route, post};
use crate::api::http::shape::{text, texts};
use crate::store::logs;

const LOG_BATCHES_MAX: u64 = 5_000;
const LIST_MAX: usize = 1_000;
const LEVELS: [&str; 8] = ["UNKNOWN", "TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL", "PANIC"];

pub fn routes() -> Vec<Route> {
    vec![
        post("Customer_GetLogs", "/logs", get_logs)
            .summary("Reads a job's logs")
            .needs(Scope::JobsRead)
            .body(vec![
                text("jobId", "").required(),
                texts("taskIds", "None stands for all"),
                texts("levels", "None stands for all"),
                texts("services", "PARTITIONER, ASSEMBLER, TASKRUNNER; none stands for all"),
            ]),
    ]
}

#[derive(Serialize, Default, ToSchema)]
struct LogsOut {
    partitioner: Vec<LogOut>,
    assembler: Vec<LogOut>,
    /// By the task's id.
    taskrunner: BTreeMap<String, TaskLogs>,
}

#[derive(Serialize, Default, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TaskLogs {
    logs: Vec<LogOut>,
    chunk_number: u32,
}

#[derive(Serialize, ToSchema)]
struct LogOut {
    log: String,
    timestamp: DateTime<Utc>,
    level: &'static str,
    container: &'static str,
}

/// What the containers of a job wrote, at level `UNKNOWN`, and what their nodes say of them.
async fn get_logs(mut call: Call) -> Result<LogsOut> {
    let caller = call.caller().await?;
    let mut body = call.json().await?;
    let job_id = Segment(body.required_text("jobId")?);
    let ids = body.texts("taskIds", LIST_MAX)?;
    let levels = body.texts("levels", LIST_MAX)?;
    if let Some(other) = levels.iter().find(|level| !LEVELS.contains(&level.as_str())) {
        let problem = format!("{other:?} is not one of {}", LEVELS.join(", "));
        return Err(Error::field("levels", problem));
    }
    let stages = read_services(&body.texts("services", LIST_MAX)?)?;
    let app = call.app();
    let job = jobs::find(app, &caller, &job_id).await?;
    let mut out = LogsOut::default();
    let Some(run) = job_out::run_of(app, &job).await? else { return Ok(out) };
    let indexes = ids.iter().map(|id| read_task(run.id, id)).collect::<Result<Vec<_>>>()?;
    for line in logs::find(&app.db, run.id, &stages, &indexes, LOG_BATCHES_MAX).await? {
        let level = level_name(line.level);
        if !levels.is_empty() && !levels.iter().any(|wanted| wanted == level) {
            continue;
        }
        let shown =
            LogOut { log: line.text, timestamp: line.at, level, container: line.stage.as_str() };
        match line.stage {
            Stage::Partition => out.partitioner.push(shown),
            Stage::Assemble => out.assembler.push(shown),
            Stage::Process => {
                let task = TaskRef { run: run.id, stage: line.stage, index: line.index };
                let logs = out.taskrunner.entry(task.id().to_string()).or_default();
                logs.chunk_number = line.index;
                logs.logs.push(shown);
            }
        }
    }
    Ok(out)
}

pub const fn level_name(level: Level) -> &'static str {
    match level {
        Level::Unknown => "UNKNOWN",
        Level::Debug => "DEBUG",
        Level::Info => "INFO",
        Level::Error => "ERROR",
    }
}

/// The index of a task, by its id or chunk number.
fn read_task(run: RunId, text: &str) -> Result<u32> {
    if let Ok(index) = text.parse() {
        return Ok(index);
    }
    let id = text.parse().ok().and_then(|id| TaskRef::find(run, id));
    id.map(|task| task.index)
        .ok_or_else(|| Error::field("taskIds", "must be ids of the job's tasks, or chunk numbers"))
}

fn read_services(services: &[String]) -> Result<Vec<Stage>> {
    let stage = |name: &String| match name.to_uppercase().as_str() {
        "PARTITIONER" => Ok(Stage::Partition),
        "TASKRUNNER" => Ok(Stage::Process),
        "ASSEMBLER" => Ok(Stage::Assemble),
        _ => Err(Error::field("services", "must be PARTITIONER, ASSEMBLER or TASKRUNNER")),
    };
    services.iter().map(stage).collect()
}

#[cfg(test)]
mod tests {
    use common::market::LogRecord;
    use common::protocol::LogLine;
    use common::task::Lease;
    use serde_json::json;

    use super::*;
    use crate::api::testing::Door;

    #[tokio::test]
    async fn lines_are_told_by_service_task_and_level() {
        let door = Door::open().await;
        let id = door.running_job().await;
        let job = [id.parse().unwrap()];
        let db = &door.app.db;
        let runs = crate::store::runs::find_by_jobs(db, door.workspace, &job).await.unwrap();
        let record = |stage, index, text: &str, level| LogRecord {
            lease: Lease { task: TaskRef { run: runs[0].id, stage, index }, attempt: 1 },
            first: 0,
            lines: vec![LogLine { at_us: 1_700_000_000_000_000, level, text: text.to_owned() }],
        };
        let records = [
            record(Stage::Partition, 0, "cut", Level::Unknown),
            record(Stage::Process, 0, "zero", Level::Unknown),
            record(Stage::Process, 7, "seven", Level::Error),
            record(Stage::Assemble, 0, "fold", Level::Info),
        ];
        logs::insert(db, &records).await.unwrap();
        let ask = async |mut body: serde_json::Value| {
            body["jobId"] = json!(id);
            door.post("/v1/customer/logs", body).await
        };

        let (status, all) = ask(json!({"taskIds": [], "levels": [], "services": []})).await;

        let task =
            |index| TaskRef { run: runs[0].id, stage: Stage::Process, index }.id().to_string();
        let line = |text: &str, container: &str, level: &str| {
            json!({"log": text, "timestamp": "2023-11-14T22:13:20Z", "level": level,
                   "container": container})
        };
        assert_eq!(status, 200);
        assert_eq!(
            all,
            json!({
                "partitioner": [line("cut", "partition", "UNKNOWN")],
                "assembler": [line("fold", "assemble", "INFO")],
                "taskrunner": {
                    task(0): {"chunkNumber": 0, "logs": [line("zero", "process", "UNKNOWN")]},
                    task(7): {"chunkNumber": 7, "logs": [line("seven", "process", "ERROR")]},
                },
            })
        );
        for id in ["7".to_owned(), task(7)] {
            let (_, one) = ask(json!({"services": ["taskrunner"], "taskIds": [id]})).await;
            assert_eq!(one["taskrunner"].as_object().unwrap().len(), 1);
            assert_eq!(one["partitioner"], json!([]));
        }
        let (_, warnings) = ask(json!({"levels": ["WARN", "ERROR"]})).await;
        let seven =
            json!({task(7): {"chunkNumber": 7, "logs": [line("seven", "process", "ERROR")]}});
        assert_eq!(warnings, json!({"partitioner": [], "assembler": [], "taskrunner": seven}));
        for wrong in [
            json!({"levels": ["LOUD"]}),
            json!({"services": ["FEEDER"]}),
            json!({"taskIds": ["x"]}),
            json!({"taskIds": "7"}),
        ] {
            assert_eq!(ask(wrong).await.0, 400);
        }
    }
}
