//! A customer's way through the API: push, activate, create, run, watch.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::tiny;
use crate::client::failure::Failure;
use crate::client::session::Session;
use crate::commands::package::archive;

/// The name of the app and the template.
pub const TEMPLATE: &str = "bench";
const JOBS: &str = "/v1/customer/jobs";
/// Where the program of [`prepare`]'s app lies in its folder.
pub const PROGRAM: &str = "package/app/main";

/// How far a run is.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    pub state: String,
    pub chunks: Option<u64>,
    #[serde(default)]
    pub chunks_done: u64,
}

impl Progress {
    pub fn is_final(&self) -> bool {
        matches!(self.state.as_str(), "JOB_STATE_COMPLETE" | "JOB_STATE_FAILED")
    }

    /// Nodes work on the chunks, or have.
    pub fn is_cut(&self) -> bool {
        self.chunks.is_some_and(|chunks| chunks > 0)
    }
}

/// Pushes an app that ends at once, and a template that runs it `num_replicas` times on nothing.
pub async fn prepare(session: &Session, folder: &Path) -> Result<(), Failure> {
    prepare_isolated(session, folder, "warm").await
}

/// The same, with this isolation between its tasks.
pub async fn prepare_isolated(
    session: &Session,
    folder: &Path,
    isolation: &str,
) -> Result<(), Failure> {
    let package = write_package(folder, isolation)
        .map_err(|error| Failure::local("cannot write the benchmark's package", error))?;
    let body = json!({ "data": BASE64_STANDARD.encode(archive::pack(&package)?) });
    let client = &session.client;
    client.post(client.url("/v1/dev/apps", &[]), &body).await?;
    client.post(client.url("/v1/dev/apps", &[TEMPLATE, "activate"]), &json!({})).await?;
    let template = json!({
        "id": TEMPLATE, "app": TEMPLATE, "partitioner": "replicate", "assembler": "passthrough",
        "dataSource": { "dataSourceDescriptor": "bypass" },
        "dataDestination": { "dataSourceDescriptor": "bypass" },
    });
    client.post(client.url("/v1/dev/templates", &[]), &template).await?;
    Ok(())
}

fn write_package(folder: &Path, isolation: &str) -> std::io::Result<std::path::PathBuf> {
    let package = folder.join("package");
    let program = folder.join(PROGRAM);
    std::fs::create_dir_all(package.join("app"))?;
    let manifest = json!({
        "name": TEMPLATE, "version": "1.0", "platform": "binary", "entrypoint": "main",
        "isolation": isolation,
        "device_requirements": { "min_cpu": 1, "min_memory": 1 },
    });
    std::fs::write(package.join("manifest.json"), manifest.to_string())?;
    std::fs::write(&program, tiny::executable())?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    Ok(package)
}

/// Makes a job of this many chunks and gives its id.
pub async fn create(session: &Session, chunks: u32) -> Result<String, Failure> {
    #[derive(Deserialize)]
    struct Created {
        job: Job,
    }
    #[derive(Deserialize)]
    struct Job {
        id: String,
    }
    let draft = json!({
        "templateId": TEMPLATE, "params": { "partitioner": { "num_replicas": chunks } },
    });
    let url = session.client.url(JOBS, &[]);
    Ok(session.client.post(url, &draft).await?.read::<Created>()?.job.id)
}

pub async fn run(session: &Session, job: &str) -> Result<(), Failure> {
    session.client.post(session.client.url(JOBS, &[job, "run"]), &json!({})).await?;
    Ok(())
}

/// Reads a job, and gives its state.
pub async fn read(session: &Session, job: &str) -> Result<String, Failure> {
    #[derive(Deserialize)]
    struct Read {
        job: Job,
    }
    #[derive(Deserialize)]
    struct Job {
        state: String,
    }
    let url = session.client.url(JOBS, &[job]);
    Ok(session.client.get(url).await?.read::<Read>()?.job.state)
}

/// How many tasks are on a page that begins after this one.
pub async fn page_of_tasks(session: &Session, job: &str, after: u64) -> Result<usize, Failure> {
    #[derive(Deserialize)]
    struct Page {
        tasks: Vec<serde::de::IgnoredAny>,
    }
    let mut url = session.client.url(JOBS, &[job, "tasks"]);
    url.query_pairs_mut().append_pair("after", &after.to_string());
    Ok(session.client.get(url).await?.read::<Page>()?.tasks.len())
}

/// How many nodes the session's workspace has.
pub async fn nodes(session: &Session) -> Result<u64, Failure> {
    #[derive(Deserialize)]
    struct Nodes {
        nodes: Vec<serde::de::IgnoredAny>,
    }
    let url = session.client.url("/v1/dev/nodes", &[]);
    Ok(session.client.get(url).await?.read::<Nodes>()?.nodes.len() as u64)
}

/// Asks for a run's progress every `period` until `enough`, or until it has ended badly.
pub async fn follow(
    session: &Session,
    job: &str,
    (period, limit): (Duration, Duration),
    enough: impl Fn(&Progress) -> bool,
) -> Result<Progress, Failure> {
    let url = session.client.url(JOBS, &[job, "progress"]);
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let start = Instant::now();
    let asked = async {
        loop {
            ticks.tick().await;
            let progress: Progress = session.client.get(url.clone()).await?.read()?;
            let ended = progress.is_final();
            if progress.state == "JOB_STATE_FAILED" {
                let reason = "see the server's log".to_owned();
                return Err(Failure::JobFailed { job: job.to_owned(), reason });
            }
            if ended || enough(&progress) {
                return Ok(progress);
            }
        }
    };
    timeout(limit, asked).await.map_err(|_| {
        Failure::local("the run takes too long", format!("{:?} have passed", start.elapsed()))
    })?
}
