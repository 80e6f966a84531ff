//! `fanfold template`: what to run on which kind of data, with which defaults.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::file;
use crate::output::pretty;
use crate::session::Session;

const PATH: &str = "/v1/dev/templates";
const DOCUMENT_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Upload a template.json; one with the same id is replaced
    Push { file: PathBuf },
    /// List the workspace's templates
    List,
    /// Show one template
    Get { id: String },
}

pub async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::Push { file } => {
            let id = push(&file, session).await?;
            session.output.result(&json!({ "id": id }).to_string(), || vec![id.as_str()])
        }
        Command::List => list(session).await,
        Command::Get { id } => {
            let answer = session.client.get(session.client.url(PATH, &[&id])).await?;
            session.output.result(&answer.text, || pretty(&answer.text))
        }
    }
}

/// Uploads a template document and gives back its id.
pub async fn push(path: &Path, session: &Session) -> Result<String, Failure> {
    let name = path.display();
    let text = file::read_text(path, DOCUMENT_BYTES_MAX)
        .map_err(|error| Failure::Usage(format!("cannot read {name}: {error}")))?;
    let document: Value = serde_json::from_str(&text)
        .map_err(|error| Failure::Usage(format!("{name} is not JSON: {error}")))?;
    let Some(id) = document.get("id").and_then(Value::as_str) else {
        return Err(Failure::Usage(format!("{name} has no \"id\"")));
    };
    session.client.post(session.client.url(PATH, &[]), &document).await?;
    Ok(id.to_owned())
}

async fn list(session: &Session) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct List {
        templates: Vec<Template>,
    }
    #[derive(Deserialize)]
    struct Template {
        id: String,
        partitioner: String,
        app: String,
        assembler: String,
    }
    let answer = session.client.get(session.client.url(PATH, &[])).await?;
    let list: List = answer.read()?;
    session.output.result(&answer.text, || {
        let line =
            |t: &Template| format!("{}  {} -> {} -> {}", t.id, t.partitioner, t.app, t.assembler);
        list.templates.iter().map(line).collect()
    })
}
