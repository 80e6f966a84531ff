//! `fanfold app` and `fanfold engine`: packages, which are pushed, switched on and off.

use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::Subcommand;
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::archive;
use crate::failure::Failure;
use crate::output::{note, pretty};
use crate::session::Session;
use crate::template;

/// The two kinds of package, and where each lives in the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    App,
    Engine,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Upload a package folder (manifest.json, app/), and its template.json if there is one
    Push { folder: PathBuf },
    /// Let jobs use a package: NAME, NAME@MAJOR or NAME@MAJOR.MINOR
    Activate { tag: String },
    /// Stop new runs from using a package
    Deactivate { tag: String },
    /// List the workspace's packages
    List,
    /// Show one package
    Get { tag: String },
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    #[serde(default)]
    status: String,
    /// A number, or a number as text.
    #[serde(default)]
    revision: Value,
}

impl Package {
    fn line(&self) -> String {
        let revision = self.revision.to_string();
        let revision = revision.trim_matches('"');
        format!("{}@{}  revision {revision}  {}", self.name, self.version, self.status)
    }
}

pub async fn run(kind: Kind, command: Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::Push { folder } => push(kind, folder, session).await,
        Command::Activate { tag } => switch(kind, &tag, "activate", session).await,
        Command::Deactivate { tag } => switch(kind, &tag, "deactivate", session).await,
        Command::List => list(kind, session).await,
        Command::Get { tag } => {
            let answer = session.client.get(kind.url(session, &[&tag])).await?;
            session.output.result(&answer.text, || pretty(&answer.text))
        }
    }
}

async fn push(kind: Kind, folder: PathBuf, session: &Session) -> Result<(), Failure> {
    let packing = folder.clone();
    let packed = tokio::task::spawn_blocking(move || archive::pack(&packing))
        .await
        .map_err(|error| Failure::local("packing stopped", error))??;
    note(format_args!("pushing {} ({} bytes)", folder.display(), packed.len()));
    let body = json!({ "data": BASE64_STANDARD.encode(packed) });
    let answer = session.client.post(kind.url(session, &[]), &body).await?;
    let package: Package = answer.read()?;
    let document = folder.join("template.json");
    if document.is_file() {
        let id = template::push(&document, session).await?;
        note(format_args!("pushed template {id}"));
    }
    session.output.result(&answer.text, || vec![package.line()])
}

async fn switch(kind: Kind, tag: &str, how: &str, session: &Session) -> Result<(), Failure> {
    let answer = session.client.post(kind.url(session, &[tag, how]), &json!({})).await?;
    session.output.result(&answer.text, || vec![format!("{tag}: {how}d")])
}

async fn list(kind: Kind, session: &Session) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct List {
        #[serde(alias = "engines")]
        apps: Vec<Package>,
    }
    let answer = session.client.get(kind.url(session, &[])).await?;
    let list: List = answer.read()?;
    session.output.result(&answer.text, || list.apps.iter().map(Package::line).collect())
}

impl Kind {
    fn url(self, session: &Session, names: &[&str]) -> Url {
        let path = match self {
            Self::App => "/v1/dev/apps",
            Self::Engine => "/v1/dev/engines",
        };
        session.client.url(path, names)
    }
}
