//! `fanfold run`: a container on a node, as if it ran here: its output comes out, and its exit code
//! is the command's.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::signal::ctrl_c;
use tokio::time::{Instant, sleep};

use crate::client::Answer;
use crate::client::failure::Failure;
use crate::client::output::{Output, line, note};
use crate::client::session::Session;
use crate::commands::http;
use crate::commands::job::results::{Item, download};
use crate::file;

const JOBS: &str = "/v1/jobs";
const RUNS: &str = "/v1/runs";
/// Where the container writes what is to be downloaded.
const RESULTS: &str = "/results";
const FILE_BYTES_MAX: u64 = 256 << 10;
const PERIOD: Duration = Duration::from_millis(300);
/// How long a server may be away, say for a restart, before the command gives up.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Image that was pushed, or of a registry; localhost/NAME is one of the engine of your own nodes
    image: String,
    /// Program with its arguments, in place of the image's own
    #[arg(last = true)]
    command: Vec<String>,
    /// Name of the job
    #[arg(long)]
    name: Option<String>,
    /// Variable of the container; may be repeated
    #[arg(long = "env", short, value_name = "NAME=VALUE", value_parser = pair)]
    env: Vec<(String, String)>,
    /// Text file that the container finds at this path; may be repeated
    #[arg(long = "file", value_name = "LOCAL:PATH", value_parser = mounted)]
    files: Vec<(PathBuf, String)>,
    /// Secret that the container gets as a variable, by its id; may be repeated
    #[arg(long = "secret", value_name = "ID")]
    secrets: Vec<String>,
    /// Secret of type registry that opens the image
    #[arg(long, value_name = "ID")]
    image_secret: Option<String>,
    /// Working folder [default: the image's own]
    #[arg(long, value_name = "PATH")]
    workdir: Option<String>,
    /// vCPUs, such as 2 or 0.5
    #[arg(long, default_value = "1", value_parser = millis)]
    cpu: u32,
    /// Memory in MiB
    #[arg(long, default_value_t = 1024)]
    memory: u32,
    /// What it may write to the disk, in MiB
    #[arg(long, default_value_t = 2048)]
    disk: u32,
    /// Name of a GPU that it may get; may be repeated
    #[arg(long = "gpu", value_name = "NAME")]
    gpus: Vec<String>,
    /// Seconds that one attempt may run [default: the server's own]
    #[arg(long, value_name = "SECS", value_parser = clap::value_parser!(u32).range(1..))]
    timeout: Option<u32>,
    /// Further attempts after the first failed
    #[arg(long, default_value_t = 0)]
    retries: u32,
    /// Download into this folder what the container wrote to /results
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
    /// Run it as its image's maker meant it: with the image's user, and a root to write to
    #[arg(long)]
    plain: bool,
    /// Give it a network, on a node whose owner has one for containers
    #[arg(long)]
    network: bool,
    /// Run it on nodes of this workspace only
    #[arg(long)]
    own_nodes: bool,
    /// Address that is told how the run has ended; may be repeated
    #[arg(long = "callback", value_name = "URL")]
    callbacks: Vec<String>,
    /// Print the ids of the job and its run, and do not follow it
    #[arg(long, short, conflicts_with = "results")]
    detach: bool,
}

#[derive(Debug, Deserialize)]
struct Started {
    run: Run,
}

#[derive(Debug, Deserialize)]
struct Run {
    id: String,
    job: String,
    state: String,
    cause: Option<Cause>,
    waits: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Cause {
    message: String,
}

#[derive(Debug, Deserialize)]
struct Lines {
    lines: Vec<Line>,
    next_cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Line {
    stream: String,
    text: String,
}

#[derive(Debug, Deserialize)]
struct Tasks {
    tasks: Vec<Task>,
}

#[derive(Debug, Deserialize)]
struct Task {
    last_attempt: Option<Attempt>,
}

#[derive(Debug, Deserialize)]
struct Attempt {
    cause: Option<AttemptCause>,
}

#[derive(Debug, Deserialize)]
struct AttemptCause {
    exit_code: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct Results {
    files: Vec<Item>,
    next_cursor: Option<String>,
}

impl Run {
    fn is_final(&self) -> bool {
        matches!(self.state.as_str(), "succeeded" | "failed" | "cancelled")
    }
}

pub async fn run(args: Args, session: &Session) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Made {
        id: String,
    }
    let made = session.client.post(session.client.url(JOBS, &[]), &body(&args)?).await?;
    let Made { id } = made.read()?;
    let answer = session.client.post(session.client.url(JOBS, &[&id, "runs"]), &json!({})).await;
    let answer = match answer {
        Ok(answer) => answer,
        Err(failure) => {
            // What was refused leaves nothing; without an answer it may have begun.
            if !matches!(failure, Failure::Unreachable { .. }) {
                let _ = session.client.delete(session.client.url(JOBS, &[&id])).await;
            }
            return Err(failure);
        }
    };
    follow_to_end(&answer, args.detach, args.results.as_deref(), session).await
}

/// Follows the run that was started to its end, and fetches its results where there is a folder
/// for them.
pub(super) async fn follow_to_end(
    started: &Answer,
    detach: bool,
    results: Option<&Path>,
    session: &Session,
) -> Result<(), Failure> {
    let Started { run } = started.read()?;
    if detach {
        return session
            .output
            .result(&started.text, || vec![format!("job {}", run.job), format!("run {}", run.id)]);
    }
    follow_run(run, results, session).await
}

/// The same of a run that goes on, as the answer shows it.
pub(super) async fn follow_again(run: &Answer, session: &Session) -> Result<(), Failure> {
    follow_run(run.read()?, None, session).await
}

async fn follow_run(run: Run, results: Option<&Path>, session: &Session) -> Result<(), Failure> {
    note(format_args!("job {} run {}", run.job, run.id));
    let (ended, text) = tokio::select! {
        ended = follow(&run.id, session) => ended?,
        Ok(()) = ctrl_c() => return Err(Failure::Interrupted { job: run.job }),
    };
    if session.output == Output::Json {
        session.output.result::<String>(&text, Vec::new)?;
    }
    if ended.state == "succeeded" {
        return match results {
            Some(folder) => fetch_results(&ended.id, folder, session).await,
            None => Ok(()),
        };
    }
    let code = exit_code(&ended.id, session).await.and_then(|code| u8::try_from(code).ok());
    match code.filter(|code| *code != 0 && ended.state == "failed") {
        Some(code) => Err(Failure::Exited(code)),
        None => {
            let reason = ended.cause.map_or_else(|| ended.state.clone(), |cause| cause.message);
            Err(Failure::JobFailed { job: ended.job, reason })
        }
    }
}

/// The body of the create call.
fn body(args: &Args) -> Result<Value, Failure> {
    let mut files = Map::new();
    for (local, path) in &args.files {
        let text = file::read_text(local, FILE_BYTES_MAX)
            .map_err(|error| Failure::Usage(format!("cannot read {}: {error}", local.display())))?;
        files.insert(path.clone(), text.into());
    }
    let env: Map<_, _> =
        args.env.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    let mut container = json!({
        "image": args.image,
        "env": env,
        "files": files,
        "secrets": args.secrets,
        "cpu_millis": args.cpu,
        "memory_mib": args.memory,
        "disk_mib": args.disk,
        "gpus": args.gpus,
        "retries": args.retries,
        "profile": if args.plain { "plain" } else { "sealed" },
        "network": if args.network { "internet" } else { "none" },
        "own_nodes": args.own_nodes,
    });
    let optional = [
        ("command", (!args.command.is_empty()).then(|| json!(args.command))),
        ("image_secret", args.image_secret.as_ref().map(|id| json!(id))),
        ("workdir", args.workdir.as_ref().map(|path| json!(path))),
        ("timeout_secs", args.timeout.map(|secs| json!(secs))),
        ("results", args.results.as_ref().map(|_| json!(RESULTS))),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            container[name] = value;
        }
    }
    let mut body = json!({ "container": container });
    if let Some(name) = &args.name {
        body["name"] = json!(name);
    }
    if !args.callbacks.is_empty() {
        body["callbacks"] = http::callbacks(&args.callbacks);
    }
    Ok(body)
}

/// Shows what the container writes until its run has ended; gives the run as it is then.
async fn follow(id: &str, session: &Session) -> Result<(Run, String), Failure> {
    let mut shown = Shown::default();
    let (mut heard, mut waits) = (Instant::now(), None);
    loop {
        // Asked before the lines: what an ended run wrote is there.
        let asked = async {
            let answer = session.client.get(session.client.url(RUNS, &[id])).await?;
            let run: Run = answer.read()?;
            shown.next(id, session).await?;
            Ok((run, answer.text))
        };
        match asked.await {
            Ok((run, text)) if run.is_final() => return Ok((run, text)),
            Ok((run, _)) => {
                heard = Instant::now();
                if run.waits.is_some() && run.waits != waits {
                    note(format_args!("waits: {}", run.waits.as_deref().unwrap_or_default()));
                }
                waits = run.waits;
            }
            Err(Failure::Unreachable { .. }) if heard.elapsed() < PATIENCE => {}
            Err(failure) => return Err(failure),
        }
        sleep(PERIOD).await;
    }
}

/// How much of a log has been shown.
#[derive(Debug, Default)]
struct Shown {
    cursor: Option<String>,
    /// Lines after the cursor.
    lines: usize,
}

impl Shown {
    /// Shows what is new.
    async fn next(&mut self, id: &str, session: &Session) -> Result<(), Failure> {
        loop {
            let mut url = session.client.url(RUNS, &[id, "logs"]);
            if let Some(cursor) = &self.cursor {
                url.query_pairs_mut().append_pair("cursor", cursor);
            }
            let Lines { lines, next_cursor } = session.client.get(url).await?.read()?;
            for Line { stream, text } in lines.iter().skip(self.lines) {
                match stream.as_str() {
                    "out" if session.output == Output::Text => line(text)?,
                    "out" | "err" => note(text),
                    _ => {}
                }
            }
            self.lines = lines.len();
            let Some(next) = next_cursor else { return Ok(()) };
            (self.cursor, self.lines) = (Some(next), 0);
        }
    }
}

/// The code with which the container ended by itself.
async fn exit_code(id: &str, session: &Session) -> Option<i64> {
    let mut url = session.client.url(RUNS, &[id, "tasks"]);
    url.query_pairs_mut().append_pair("limit", "1");
    let Tasks { tasks } = session.client.get(url).await.ok()?.read().ok()?;
    tasks.into_iter().next()?.last_attempt?.cause?.exit_code
}

async fn fetch_results(id: &str, folder: &Path, session: &Session) -> Result<(), Failure> {
    let mut cursor = None::<String>;
    loop {
        let mut url = session.client.url(RUNS, &[id, "results"]);
        if let Some(cursor) = &cursor {
            url.query_pairs_mut().append_pair("cursor", cursor);
        }
        let Results { files, next_cursor } = session.client.get(url).await?.read()?;
        for item in &files {
            download(item, folder, session).await?;
        }
        let Some(next) = next_cursor else { return Ok(()) };
        cursor = Some(next);
    }
}

pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn mounted(text: &str) -> Result<(PathBuf, String), String> {
    let parts = text.rsplit_once(':').filter(|(_, path)| path.starts_with('/'));
    let (local, path) = parts.ok_or("must be LOCAL:PATH, where PATH is absolute")?;
    Ok((local.into(), path.to_owned()))
}

/// Thousandths of a vCPU, of a number with up to three places.
fn millis(text: &str) -> Result<u32, String> {
    let problem = || "must be vCPUs, such as 2 or 0.5".to_owned();
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || part.len() > 3 || !is_number(whole) || !is_number(part) {
        return Err(problem());
    }
    let whole: u32 = whole.parse().map_err(|_| problem())?;
    let part: u32 = format!("{part:0<3}").parse().map_err(|_| problem())?;
    let millis = whole.checked_mul(1000).and_then(|whole| whole.checked_add(part));
    millis.filter(|millis| *millis > 0).ok_or_else(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_read_to_the_thousandth() {
        for (text, expected) in [("1", 1000), ("0.5", 500), ("2.25", 2250), ("0.001", 1)] {
            assert_eq!(millis(text), Ok(expected), "{text}");
        }
        for text in ["", "0", "0.0", "-1", "+1", "1.0005", "x", ".5", "1e3", "99999999"] {
            assert!(millis(text).is_err(), "{text}");
        }
    }

    #[test]
    fn file_argument_names_an_absolute_path() {
        assert_eq!(mounted("a:b:/c"), Ok(("a:b".into(), "/c".to_owned())));
        assert!(mounted("a").is_err() && mounted("a:b").is_err());
    }
}
