//! `fanfold template`: what to run on which kind of data, with which defaults.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use common::exact::Exact;
use common::package::tag::split_owner;
use serde::Deserialize;
use serde_json::json;

use crate::failure::Failure;
use crate::file;
use crate::output::{Table, pretty};
use crate::package::told;
use crate::session::Session;

const PATH: &str = "/v1/dev/templates";
const DOCUMENT_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Upload a template.json; one with the same id is replaced
    Push { file: PathBuf },
    /// Write a blank template to ID.json
    New { id: String },
    /// List what jobs here can be made of: the workspace's own templates and imported ones
    List {
        /// What everybody has published, in their place
        #[arg(long)]
        public: bool,
    },
    /// Show one template, also a published one: OWNER/ID
    Get { id: String },
    /// Write a template to a new file; by default ID.json
    Pull {
        id: String,
        #[arg(long, short)]
        output: Option<PathBuf>,
    },
    /// Delete a template; its jobs stay
    Delete { id: String },
    /// Let everybody find and use a template; publish the packages that it names too
    Publish { id: String },
    /// Take a published template back
    Unpublish { id: String },
    /// Let an id stand for a published template: ID or OWNER/ID
    Import { id: String },
    /// Take an import back
    Forget { id: String },
}

pub async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::Push { file } => {
            let id = push(&file, session).await?;
            session.output.result(&json!({ "id": id }).to_string(), || vec![id.as_str()])
        }
        Command::New { id } => {
            let blank = json!({
                "id": id, "description": "", "app": "", "partitioner": "passthrough",
                "assembler": "passthrough", "params": { "partitioner": {}, "app": {}, "assembler": {} },
            });
            write(&id, None, &blank.to_string(), session)
        }
        Command::List { public } => list(public, session).await,
        Command::Pull { id, output } => {
            let answer = session.client.get(session.client.url(PATH, &[&id])).await?;
            write(&id, output, &answer.text, session)
        }
        Command::Delete { id } => {
            let answer = session.client.delete(session.client.url(PATH, &[&id])).await?;
            session.output.result(&answer.text, || vec![format!("{id}: deleted")])
        }
        Command::Publish { id } => share(&id, "publish", session).await,
        Command::Unpublish { id } => share(&id, "unpublish", session).await,
        Command::Import { id } => share(&id, "import", session).await,
        Command::Forget { id } => {
            let url = session.client.url(PATH, &[&id, "import"]);
            let answer = session.client.delete(url).await?;
            session.output.result(&answer.text, || vec![format!("{id}: forgotten")])
        }
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
    let document: Exact = serde_json::from_str(&text)
        .map_err(|error| Failure::Usage(format!("{name} is not JSON: {error}")))?;
    let Some(id) = document.value()["id"].as_str().map(ToOwned::to_owned) else {
        return Err(Failure::Usage(format!("{name} has no \"id\"")));
    };
    session.client.post(session.client.url(PATH, &[]), &document).await?;
    Ok(id)
}

/// Which templates there are that are called like one that is not found; empty where none is.
pub async fn hint(id: &str, session: &Session) -> String {
    #[derive(Deserialize)]
    struct List {
        templates: Vec<Named>,
    }
    #[derive(Deserialize)]
    struct Named {
        id: String,
    }
    // Without an answer there is no hint.
    let Ok(answer) = session.client.get(session.client.url(PATH, &[])).await else {
        return String::new();
    };
    let Ok(list) = answer.read::<List>() else { return String::new() };
    let ids: Vec<&str> = list.templates.iter().map(|template| template.id.as_str()).collect();
    match alike(id, &ids) {
        Some(other) => format!(": did you mean {other:?}?"),
        None if ids.is_empty() => {
            ": there are no templates yet: fanfold template push FILE".to_owned()
        }
        None => ": fanfold template list shows those there are".to_owned(),
    }
}

/// The name that is most like this one, if any is much like it.
fn alike<'a>(name: &str, others: &[&'a str]) -> Option<&'a str> {
    let distance = |other: &str| {
        let part = !name.is_empty() && (other.contains(name) || name.contains(other));
        if part { 1 } else { edits(name, other) }
    };
    let best = others.iter().copied().min_by_key(|other| distance(other))?;
    (distance(best) <= 3.min(name.len() / 2).max(1)).then_some(best)
}

/// How many letters must be changed, added or removed to make one text of the other.
fn edits(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut costs: Vec<usize> = (0..=other.len()).collect();
    for (row, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut costs[0], row + 1);
        for (column, known) in other.iter().enumerate() {
            let above = costs[column + 1];
            let change = diagonal + usize::from(letter != *known);
            costs[column + 1] = change.min(above + 1).min(costs[column] + 1);
            diagonal = above;
        }
    }
    costs[other.len()]
}

async fn share(id: &str, how: &str, session: &Session) -> Result<(), Failure> {
    let answer = session.client.post(session.client.url(PATH, &[id, how]), &json!({})).await?;
    told(&answer, session)
}

/// Writes a document to a file that was not there before.
fn write(
    id: &str,
    output: Option<PathBuf>,
    document: &str,
    session: &Session,
) -> Result<(), Failure> {
    let (_, name) = split_owner(id);
    let path = output.unwrap_or_else(|| PathBuf::from(format!("{name}.json")));
    let text = pretty(document).join("\n") + "\n";
    File::create_new(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| Failure::local(format_args!("cannot write {}", path.display()), error))?;
    let shown = path.display().to_string();
    session.output.result(&json!({ "file": shown }).to_string(), || vec![shown.as_str()])
}

async fn list(public: bool, session: &Session) -> Result<(), Failure> {
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
    let mut url = session.client.url(PATH, &[]);
    if public {
        url.query_pairs_mut().append_pair("isPublic", "true");
    }
    let answer = session.client.get(url).await?;
    let list: List = answer.read()?;
    let row = |t: Template| vec![t.id, t.partitioner, t.app, t.assembler];
    session.output.table(&answer.text, || Table {
        header: &["id", "partitioner", "app", "assembler"],
        rows: list.templates.into_iter().map(row).collect(),
        empty: "no templates yet: fanfold app push FOLDER brings the template.json in it",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hint_names_what_is_called_alike() {
        let ids = ["hello-world-template", "code-stats", "sum-template"];

        for (wrong, right) in [
            ("hello-world", Some("hello-world-template")),
            ("code-stat", Some("code-stats")),
            ("codestats", Some("code-stats")),
            ("sum", Some("sum-template")),
            ("transcode", None),
            ("", None),
        ] {
            assert_eq!(alike(wrong, &ids), right, "{wrong}");
        }
    }
}
