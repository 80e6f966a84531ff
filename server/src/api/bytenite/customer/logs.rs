//! What the containers of a job wrote, and their nodes around them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use chrono::{DateTime, Utc};
use common::access::Scope;
use common::ids::RunId;
use common::plan::Phase;
use common::protocol::Level;
use common::run::task::{StageNo, TaskRef};
use serde::Serialize;
use utoipa::ToSchema;

use super::tasks::phase_of;
use super::{job_out, jobs};
use crate::api::bytenite::words;
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, post};
use crate::api::http::shape::{text, texts};
use crate::error::{Error, Result};
use crate::store::market::logs;
use crate::store::market::logs::{BatchPlace, LogView};
use crate::store::market::runs;

/// An answer ends with the batch of lines that takes it to so many bytes.
const ANSWER_BYTES: usize = 1 << 20;
/// What is looked through for an answer, where levels leave most of it out.
const SCANNED_BYTES: usize = 8 << 20;
/// What a line's fields take beside its text.
const LINE_BYTES: usize = 128;
/// Batches that are read at a time.
const BATCHES: u64 = 8;
const LIST_MAX: usize = 1_000;
const LEVELS: [&str; 8] = ["UNKNOWN", "TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL", "PANIC"];

pub fn routes() -> Vec<Route> {
    vec![
        post("Customer_GetLogs", "/logs", get_logs)
            .summary("Reads a job's logs, a page at a time: about 1 MiB")
            .needs(Scope::JobsRead)
            .body(vec![
                text("jobId", "").required(),
                texts("taskIds", "None stands for all"),
                texts("levels", "None stands for all"),
                texts("services", "PARTITIONER, ASSEMBLER, TASKRUNNER; none stands for all"),
                text("cursor", "The nextCursor of the page before, with all else the same"),
            ]),
    ]
}

#[derive(Serialize, Default, ToSchema)]
#[serde(rename_all = "camelCase")]
struct LogsOut {
    partitioner: Vec<LogOut>,
    assembler: Vec<LogOut>,
    /// By the task's id.
    taskrunner: BTreeMap<String, TaskLogs>,
    /// Where there may be more: the `cursor` that asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
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
    #[schema(value_type = words::LogLevel)]
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
    let phases = read_services(&body.texts("services", LIST_MAX)?)?;
    let cursor = body.text("cursor")?.filter(|text| !text.is_empty());
    let mut after = cursor.as_deref().map(read_cursor).transpose()?;
    let _place = call.answer_place(&caller).await;
    let app = call.app();
    let job = jobs::find(app, &caller, &job_id).await?;
    let mut out = LogsOut::default();
    let Some(run) = job_out::run_of(app, &job).await? else { return Ok(out) };
    let Some(plan) = runs::plan(&app.db, run.id).await? else { return Ok(out) };
    let stages: Vec<StageNo> = phases
        .iter()
        .filter_map(|phase| plan.container_of(*phase))
        .map(|(stage, _)| stage)
        .collect();
    if stages.is_empty() && !phases.is_empty() {
        return Ok(out);
    }
    let indexes = ids.iter().map(|id| read_task(run.id, id)).collect::<Result<Vec<_>>>()?;
    let (mut bytes, mut scanned) = (0, 0);
    loop {
        let found = logs::find_after(&app.db, run.id, &stages, &indexes, after, BATCHES).await?;
        let is_last = (found.len() as u64) < BATCHES;
        for batch in found {
            after = Some(batch.place);
            scanned += batch.bytes;
            for line in batch.lines {
                let level = level_name(line.level);
                if levels.is_empty() || levels.iter().any(|wanted| wanted == level) {
                    bytes += LINE_BYTES + written_bytes(&line.text);
                    let phase = phase_of(&plan, line.stage);
                    out.add(run.id, phase, line, level);
                }
            }
            if bytes >= ANSWER_BYTES || scanned >= SCANNED_BYTES {
                out.next_cursor = Some(write_cursor(batch.place)?);
                return Ok(out);
            }
        }
        if is_last {
            return Ok(out);
        }
    }
}

impl LogsOut {
    fn add(&mut self, run: RunId, phase: Option<Phase>, line: LogView, level: &'static str) {
        let (stage, index) = (line.stage, line.index);
        let phase = phase.unwrap_or(Phase::Process);
        let shown = LogOut { log: line.text, timestamp: line.at, level, container: phase.as_str() };
        match phase {
            Phase::Partition => self.partitioner.push(shown),
            Phase::Assemble => self.assembler.push(shown),
            Phase::Fetch | Phase::Process | Phase::Deliver => {
                let task = TaskRef { run, stage, index };
                let logs = self.taskrunner.entry(task.id().to_string()).or_default();
                logs.chunk_number = index;
                logs.logs.push(shown);
            }
        }
    }
}

/// What a text takes in JSON, at most.
fn written_bytes(text: &str) -> usize {
    let escaped = text.bytes().filter(|byte| *byte < b' ' || matches!(byte, b'"' | b'\\'));
    text.len() + 5 * escaped.count()
}

fn write_cursor(place: BatchPlace) -> Result<String> {
    let text = serde_json::to_vec(&place).map_err(|error| Error::Internal(Box::new(error)))?;
    Ok(BASE64.encode(text))
}

fn read_cursor(text: &str) -> Result<BatchPlace> {
    let place = BASE64.decode(text).ok().and_then(|text| serde_json::from_slice(&text).ok());
    place.ok_or_else(|| Error::field("cursor", "must be the nextCursor of the page before"))
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

fn read_services(services: &[String]) -> Result<Vec<Phase>> {
    let phase = |name: &String| match name.to_uppercase().as_str() {
        "PARTITIONER" => Ok(Phase::Partition),
        "TASKRUNNER" => Ok(Phase::Process),
        "ASSEMBLER" => Ok(Phase::Assemble),
        _ => Err(Error::field("services", "must be PARTITIONER, ASSEMBLER or TASKRUNNER")),
    };
    services.iter().map(phase).collect()
}

#[cfg(test)]
mod tests {
    use common::market::LogRecord;
    use common::plan::{Assemble, Partition, Pipeline, Plan};
    use common::protocol::LogLine;
    use common::run::spec::RunSpec;
    use common::run::task::Lease;
    use common::testing::{self, PROCESS};
    use serde_json::json;

    use super::*;
    use crate::api::testing::Door;
    use crate::store;

    /// A started job whose partitioner and assembler are packages.
    async fn job_of_custom_engines(door: &Door) -> (String, RunId, Plan) {
        let custom = || Box::new(testing::container());
        let (partition, assemble) = (Partition::Custom(custom()), Assemble::Custom(custom()));
        let pipeline = Pipeline { partition, assemble, ..testing::pipeline() };
        let app = &door.app;
        app.coordinator.grant(door.workspace, "100".parse().unwrap(), "first").await.unwrap();
        door.template("passthrough", "passthrough").await;
        let id = door.job(json!({"templateId": "t"})).await;
        let found = store::jobs::find(&app.db, door.workspace, id.parse().unwrap()).await;
        let job = found.unwrap().unwrap();
        let spec = RunSpec { job: job.id, ..testing::order(door.workspace, &pipeline) };
        let plan = spec.plan.clone();
        let run = app.coordinator.start_job(spec, job.draft, job.config).await.unwrap();
        (id, run, plan)
    }

    #[tokio::test]
    async fn lines_are_told_by_service_task_and_level() {
        let door = Door::open().await;
        let db = &door.app.db;
        let (id, run, plan) = job_of_custom_engines(&door).await;
        let stage = |phase| plan.container_of(phase).unwrap().0;
        let record = |phase, index, text: &str, level| LogRecord {
            lease: Lease { task: TaskRef { run, stage: stage(phase), index }, attempt: 1 },
            first: 0,
            lines: vec![LogLine { at_us: 1_700_000_000_000_000, level, text: text.to_owned() }],
        };
        let records = [
            record(Phase::Partition, 0, "cut", Level::Unknown),
            record(Phase::Process, 0, "zero", Level::Unknown),
            record(Phase::Process, 7, "seven", Level::Error),
            record(Phase::Assemble, 0, "fold", Level::Info),
        ];
        logs::insert(db, &records).await.unwrap();
        let ask = async |mut body: serde_json::Value| {
            body["jobId"] = json!(id);
            door.post("/v1/customer/logs", body).await
        };

        let (status, all) = ask(json!({"taskIds": [], "levels": [], "services": []})).await;

        let task = |index| TaskRef { run, stage: stage(Phase::Process), index }.id().to_string();
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

    /// A batch of lines of one task, about 64 KiB.
    fn large(run: RunId, index: u32, first: u32) -> LogRecord {
        let line = LogLine { at_us: 0, level: Level::Unknown, text: "x".repeat(1_000) };
        let task = TaskRef { run, stage: PROCESS, index };
        LogRecord { lease: Lease { task, attempt: 1 }, first, lines: vec![line; 64] }
    }

    #[tokio::test]
    async fn pages_are_bounded_in_bytes_and_give_every_line_once() {
        let door = Door::open().await;
        let id = door.running_job().await;
        let job = [id.parse().unwrap()];
        let db = &door.app.db;
        let runs = runs::find_by_jobs(db, door.workspace, &job).await.unwrap();
        let records: Vec<_> = (0..10)
            .flat_map(|task| [0, 64, 128, 192].map(|at| large(runs[0].id, task, at)))
            .collect();
        logs::insert(db, &records).await.unwrap();

        let (mut lines, mut pages) = (BTreeMap::<u64, usize>::new(), 0);
        let mut cursor = serde_json::Value::Null;
        loop {
            let body = json!({"jobId": id, "cursor": cursor});
            let (status, page) = door.post("/v1/customer/logs", body).await;
            assert_eq!(status, 200, "{page}");
            assert!(page.to_string().len() < ANSWER_BYTES + (256 << 10));
            for task in page["taskrunner"].as_object().unwrap().values() {
                let n = lines.entry(task["chunkNumber"].as_u64().unwrap()).or_default();
                *n += task["logs"].as_array().unwrap().len();
            }
            pages += 1;
            cursor = page["nextCursor"].clone();
            if cursor.is_null() {
                break;
            }
        }

        assert_eq!(lines, (0..10).map(|task| (task, 256)).collect());
        assert!(pages >= 3, "{pages}");
        let one = json!({"jobId": id, "taskIds": ["3"], "cursor": ""});
        let (_, page) = door.post("/v1/customer/logs", one).await;
        assert_eq!(page["taskrunner"].as_object().unwrap().len(), 1);
        assert_eq!(page["nextCursor"], serde_json::Value::Null);
        for wrong in ["x", "W10", "WzEsMl0"] {
            let body = json!({"jobId": id, "cursor": wrong});
            let (status, body) = door.post("/v1/customer/logs", body).await;
            assert_eq!((status, &body["details"][0]["metadata"]["field"]), (400, &json!("cursor")));
        }
    }
}
