//! `fanfold job explain`, `tasks`, `clone` and `delete`.

use serde::Deserialize;
use serde_json::json;

use super::{JobAnswer, url};
use crate::failure::Failure;
use crate::output::{Table, note};
use crate::session::Session;

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

pub async fn tasks(id: &str, session: &Session) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Tasks {
        tasks: Vec<Task>,
    }
    let answer = session.client.get(url(session, &[id, "tasks"])).await?;
    let list: Tasks = answer.read()?;
    session.output.table(&answer.text, || Table {
        header: &["stage", "chunk", "state", "attempt", "node", "credits", "error"],
        rows: list.tasks.into_iter().map(row).collect(),
        empty: "no tasks yet: fanfold job explain JOB says what the job waits for",
    })
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
        note("its file is not copied: fanfold job create uploads one");
    }
    session.output.result(&answer.text, || vec![job.id])
}

pub async fn delete(id: &str, session: &Session) -> Result<(), Failure> {
    let answer = session.client.delete(url(session, &[id])).await?;
    session.output.result(&answer.text, || vec![format!("job {id} is deleted")])
}
