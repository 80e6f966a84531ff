//! `fanfold job explain`, `tasks`, `clone` and `delete`.

use serde::Deserialize;
use serde_json::json;

use super::{JobAnswer, url};
use crate::client::failure::Failure;
use crate::client::output::{Table, note};
use crate::client::session::Session;

pub async fn explain(id: &str, session: &Session) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Explained {
        reasons: Vec<String>,
    }
    let answer = session.client.get(url(session, &[id, "explain"])).await?;
    let explained: Explained = answer.read()?;
    session.output.result(&answer.text, || explained.reasons)
}

/// A task, as the list and a single answer show it.
#[derive(Debug, Deserialize)]
struct Task {
    stage: String,
    index: u64,
    state: String,
    #[serde(default)]
    attempt: u64,
    #[serde(default)]
    node: Option<String>,
    #[serde(default)]
    price: Option<String>,
    #[serde(default)]
    error: Option<String>,
}

/// Which tasks are listed.
#[derive(Debug, clap::Args)]
pub struct TasksArgs {
    id: String,
    #[arg(long, default_value = "process", value_parser = ["partition", "process", "assemble"])]
    stage: String,
    /// Maximum number of rows
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Only tasks after this chunk
    #[arg(long, value_name = "CHUNK")]
    after: Option<u32>,
}

pub async fn tasks(args: &TasksArgs, session: &Session) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Tasks {
        tasks: Vec<Task>,
    }
    let mut url = url(session, &[&args.id, "tasks"]);
    let limit = args.limit.to_string();
    url.query_pairs_mut().append_pair("stage", &args.stage).append_pair("limit", &limit);
    if let Some(after) = args.after {
        url.query_pairs_mut().append_pair("after", &after.to_string());
    }
    let answer = session.client.get(url).await?;
    let list: Tasks = answer.read()?;
    let (shown, last) = (list.tasks.len(), list.tasks.last().map_or(0, |task| task.index));
    session.output.table(&answer.text, || Table {
        header: &["stage", "chunk", "state", "attempt", "node", "credits", "error"],
        rows: list.tasks.into_iter().map(row).collect(),
        empty: match (args.after, args.stage.as_str()) {
            (Some(_), _) => "no tasks after that",
            (None, "process") => {
                "no tasks yet: fanfold job explain JOB says what the job waits for"
            }
            (None, _) => "no tasks: the server does the work of built-in engines itself",
        },
    })?;
    if shown == args.limit as usize {
        note(format_args!("there may be more: --after {last} shows the next"));
    }
    Ok(())
}

fn row(task: Task) -> Vec<String> {
    vec![
        task.stage,
        task.index.to_string(),
        task.state,
        task.attempt.to_string(),
        task.node.unwrap_or_default(),
        task.price.unwrap_or_default(),
        task.error.unwrap_or_default(),
    ]
}

pub async fn clone(id: &str, session: &Session) -> Result<(), Failure> {
    let answer = session.client.post(url(session, &[id, "clone"]), &json!({})).await?;
    let JobAnswer { job } = answer.read()?;
    let source = job.data_source.as_ref().map(|source| source.data_source_descriptor.as_str());
    if source == Some("file") {
        let id = &job.id;
        note(format_args!("its file is not copied: fanfold job upload {id} FILE brings one"));
    }
    session.output.result(&answer.text, || vec![job.id])
}

pub async fn delete(id: &str, session: &Session) -> Result<(), Failure> {
    let answer = session.client.delete(url(session, &[id])).await?;
    session.output.result(&answer.text, || vec![format!("job {id} is deleted")])
}
