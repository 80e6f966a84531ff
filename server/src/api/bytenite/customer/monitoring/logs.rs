//! What the containers of a job wrote, and their nodes around them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use chrono::{DateTime, Utc};
use common::access::Scope;
use common::ids::JobId;
use common::plan::Phase;
use common::protocol::Level;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::bytenite::words;
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, post};
use crate::api::http::shape::{text, texts};
use crate::error::{Error, Result};
use crate::jobs::monitoring::logs;
use crate::jobs::monitoring::logs::{BatchPlace, LogEntry, LogPage, LogQuery};
use crate::jobs::monitoring::tasks::TaskName;

const LIST_MAX: usize = 1_000;
const LEVELS: [&str; 8] = ["UNKNOWN", "TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL", "PANIC"];

pub fn routes() -> Vec<Route> {
    vec![
        post("Customer_GetLogs", "/logs", get_logs)
            .summary("Gets a job's logs in pages of about 1 MiB")
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
    let job = Segment(body.required_text("jobId")?);
    let tasks = read_tasks(&body.texts("taskIds", LIST_MAX)?)?;
    let levels = read_levels(&body.texts("levels", LIST_MAX)?)?;
    let phases = read_services(&body.texts("services", LIST_MAX)?)?;
    let cursor = body.text("cursor")?.filter(|text| !text.is_empty());
    let after = cursor.as_deref().map(read_cursor).transpose()?;
    let _permit = call.answer_permit(&caller).await;
    let query = LogQuery { phases, tasks, levels, after };
    let page = logs::read(call.app(), &caller, job.id::<JobId>("job")?, query).await?;
    let LogPage { lines, next } = page.ok_or_else(unknown_task)?;
    let mut out =
        LogsOut { next_cursor: next.map(write_cursor).transpose()?, ..LogsOut::default() };
    for line in lines {
        out.add(line);
    }
    Ok(out)
}

impl LogsOut {
    fn add(&mut self, line: LogEntry) {
        let LogEntry { task, phase, at, level, text, .. } = line;
        let container = phase.as_str();
        let shown = LogOut { log: text, timestamp: at, level: level_name(level), container };
        match phase {
            Phase::Partition => self.partitioner.push(shown),
            Phase::Assemble => self.assembler.push(shown),
            Phase::Fetch | Phase::Process | Phase::Deliver => {
                let logs = self.taskrunner.entry(task.id().to_string()).or_default();
                logs.chunk_number = task.index;
                logs.logs.push(shown);
            }
        }
    }
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

/// Tasks, by their ids or chunk numbers.
fn read_tasks(texts: &[String]) -> Result<Vec<TaskName>> {
    texts.iter().map(|text| TaskName::read(text).ok_or_else(unknown_task)).collect()
}

fn unknown_task() -> Error {
    Error::field("taskIds", "must be ids of the job's tasks, or chunk numbers")
}

/// The levels of these names that lines can have; `None` where all are asked for.
fn read_levels(names: &[String]) -> Result<Option<Vec<Level>>> {
    if let Some(other) = names.iter().find(|name| !LEVELS.contains(&name.as_str())) {
        let problem = format!("{other:?} is not one of {}", LEVELS.join(", "));
        return Err(Error::field("levels", problem));
    }
    let all = [Level::Unknown, Level::Debug, Level::Info, Level::Error];
    let is_named = |level: &Level| names.iter().any(|name| name == level_name(*level));
    Ok((!names.is_empty()).then(|| all.into_iter().filter(is_named).collect()))
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
    use common::ids::RunId;
    use common::package::config::JobConfig;
    use common::plan::{Assemble, Partition, Pipeline, Plan};
    use common::protocol::{LogLine, Stream};
    use common::run::spec::RunSpec;
    use common::run::task::{Lease, TaskRef};
    use common::testing::{self, PROCESS};
    use serde_json::json;

    use super::*;
    use crate::api::testing::TestServer;
    use crate::jobs::monitoring::logs::PAGE_BYTES;
    use crate::store;
    use crate::store::jobs::StartAs;
    use crate::store::logs::{Batch, tail};
    use crate::store::testing::runs_of;

    /// A started job whose partitioner and assembler are packages.
    async fn job_of_custom_engines(server: &TestServer) -> (String, RunId, Plan) {
        let custom = || Box::new(testing::container());
        let (partition, assemble) = (Partition::Custom(custom()), Assemble::Custom(custom()));
        let pipeline = Pipeline { partition, assemble, ..testing::pipeline() };
        let app = &server.app;
        app.coordinator.grant(server.workspace, "100".parse().unwrap(), "first").await.unwrap();
        server.template("passthrough", "passthrough").await;
        let id = server.job(json!({"templateId": "t"})).await;
        let found = store::jobs::find(&app.db, server.workspace, id.parse().unwrap()).await;
        let job = found.unwrap().unwrap();
        let spec = RunSpec { job: job.id, ..testing::order(server.workspace, &pipeline) };
        let plan = spec.plan.clone();
        let how = StartAs::Only(JobConfig::default());
        let run = crate::coordinator::testing::start(&app.coordinator, spec, how).await.unwrap();
        (id, run, plan)
    }

    #[tokio::test]
    async fn log_lines_show_service_task_and_level() {
        let server = TestServer::open().await;
        let db = &server.app.db;
        let (id, run, plan) = job_of_custom_engines(&server).await;
        let stage = |phase| plan.container_of(phase).unwrap().0;
        let record = |number, phase, index, text: &str, level| Batch {
            number,
            lease: Lease { task: TaskRef { run, stage: stage(phase), index }, attempt: 1 },
            first: 0,
            lines: vec![LogLine {
                at_us: 1_700_000_000_000_000,
                level,
                stream: Stream::Out,
                text: text.to_owned(),
            }],
        };
        let records = [
            record(1, Phase::Partition, 0, "cut", Level::Unknown),
            record(2, Phase::Process, 0, "zero", Level::Unknown),
            record(3, Phase::Process, 7, "seven", Level::Error),
            record(4, Phase::Assemble, 0, "fold", Level::Info),
        ];
        tail::insert(db, &records).await.unwrap();
        let ask = async |mut body: serde_json::Value| {
            body["jobId"] = json!(id);
            server.post("/v1/customer/logs", body).await
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
    fn large(run: RunId, index: u32, first: u32) -> Batch {
        let line = LogLine {
            at_us: 0,
            level: Level::Unknown,
            stream: Stream::Out,
            text: "x".repeat(1_000),
        };
        let task = TaskRef { run, stage: PROCESS, index };
        let number = i64::from(index * 1_000 + first + 1);
        Batch { number, lease: Lease { task, attempt: 1 }, first, lines: vec![line; 64] }
    }

    #[tokio::test]
    async fn log_pages_are_bounded_in_bytes_and_give_every_line_once() {
        let server = TestServer::open().await;
        let id = server.running_job().await;
        let job = id.parse().unwrap();
        let db = &server.app.db;
        let runs = runs_of(db, server.workspace, job).await;
        let records: Vec<_> = (0..10)
            .flat_map(|task| [0, 64, 128, 192].map(|at| large(runs[0].id, task, at)))
            .collect();
        tail::insert(db, &records).await.unwrap();

        let (mut lines, mut pages) = (BTreeMap::<u64, usize>::new(), 0);
        let mut cursor = serde_json::Value::Null;
        loop {
            let body = json!({"jobId": id, "cursor": cursor});
            let (status, page) = server.post("/v1/customer/logs", body).await;
            assert_eq!(status, 200, "{page}");
            assert!(page.to_string().len() < PAGE_BYTES + (256 << 10));
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
        let (_, page) = server.post("/v1/customer/logs", one).await;
        assert_eq!(page["taskrunner"].as_object().unwrap().len(), 1);
        assert_eq!(page["nextCursor"], serde_json::Value::Null);
        for wrong in ["x", "W10", "WzEsMl0"] {
            let body = json!({"jobId": id, "cursor": wrong});
            let (status, body) = server.post("/v1/customer/logs", body).await;
            assert_eq!((status, &body["details"][0]["metadata"]["field"]), (400, &json!("cursor")));
        }
    }
}
