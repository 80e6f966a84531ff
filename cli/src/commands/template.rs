//! `fanfold template`: what to run on which kind of data, with which defaults.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use common::input::alike::nearest;
use common::input::exact::Exact;
use common::package::tag::split_owner;
use serde::Deserialize;
use serde_json::json;

use crate::client::failure::Failure;
use crate::client::output::{Page, Table, pretty};
use crate::client::session::Session;
use crate::commands::package::told;
use crate::file;

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
        /// List published ones of all workspaces instead
        #[arg(long)]
        public: bool,
        #[command(flatten)]
        page: Page,
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
    /// Publish a template: everybody can find and use it; publish the packages that it names too
    Publish { id: String },
    /// Unpublish a template
    Unpublish { id: String },
    /// Import a published template: ID or OWNER/ID
    Import { id: String },
    /// Remove an import
    Unimport { id: String },
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
        Command::List { public, page } => list(public, page, session).await,
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
        Command::Unimport { id } => {
            let url = session.client.url(PATH, &[&id, "import"]);
            let answer = session.client.delete(url).await?;
            session.output.result(&answer.text, || vec![format!("{id}: import removed")])
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
    match session.client.post(session.client.url(PATH, &[]), &document).await {
        Err(Failure::Refused { message }) => {
            Err(Failure::Refused { message: format!("{name}: {message}") })
        }
        pushed => pushed.map(|_| id),
    }
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
    match nearest(id, ids.iter().copied()) {
        Some(other) => format!(": did you mean {other:?}?"),
        None if ids.is_empty() => {
            ": there are no templates yet: fanfold template push FILE".to_owned()
        }
        None => ": fanfold template list shows those there are".to_owned(),
    }
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

async fn list(public: bool, page: Page, session: &Session) -> Result<(), Failure> {
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
    page.ask(&mut url);
    if public {
        url.query_pairs_mut().append_pair("isPublic", "true");
    }
    let answer = session.client.get(url).await?;
    let list: List = answer.read()?;
    let row = |t: Template| vec![t.id, t.partitioner, t.app, t.assembler];
    session.output.table(&answer.text, || Table {
        header: &["id", "partitioner", "app", "assembler"],
        rows: list.templates.into_iter().map(row).collect(),
        empty: if public {
            "nothing is published yet"
        } else {
            "no templates yet: fanfold app push FOLDER brings the template.json in it"
        },
    })
}
