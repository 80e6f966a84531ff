//! `fanfold app` and `fanfold engine`: packages, which are pushed, switched on and off, shared and
//! tested.

use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::Subcommand;
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::Answer;
use crate::client::failure::Failure;
use crate::client::output::{Page, Table, note, pretty};
use crate::client::session::Session;
use crate::commands::template;

pub(super) mod archive;
mod pull;
mod scaffold;
mod test;

/// The two kinds of package, and where each lives in the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    App,
    Engine,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a folder with a package to start from
    New(scaffold::Args),
    /// Upload a package folder (manifest.json, app/), and its template.json if there is one
    Push { folder: PathBuf },
    /// Activate a package for jobs: NAME, NAME@MAJOR or NAME@MAJOR.MINOR
    Activate { tag: String },
    /// Deactivate a package: new runs cannot use it
    Deactivate { tag: String },
    /// Show whether a package is active
    Status { tag: String },
    /// List what jobs here can use: the workspace's own packages and imported ones
    List {
        /// List published ones of all workspaces instead
        #[arg(long)]
        public: bool,
        #[command(flatten)]
        page: Page,
    },
    /// Show one package, also a published one: an id or OWNER/NAME[@MAJOR.MINOR]
    Get { tag: String },
    /// Download a package into a new folder
    Pull {
        tag: String,
        /// The folder; by default the package's name
        #[arg(long, short)]
        output: Option<PathBuf>,
    },
    /// Delete one version, named in full: NAME@MAJOR.MINOR. Started runs go on
    Delete { tag: String },
    /// Publish one version: everybody can find, read, import and run it
    Publish { tag: String },
    /// Unpublish a version. Started runs go on
    Unpublish { tag: String },
    /// Import a published package under a name: NAME, OWNER/NAME, or an id
    Import { tag: String },
    /// Remove an import
    Unimport { name: String },
    /// Run an app on one chunk and show what it does, whether it is active or not
    Test(test::Args),
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    #[serde(default)]
    status: String,
    #[serde(default, rename = "userName")]
    user_name: String,
    #[serde(default, rename = "isPublic")]
    is_public: bool,
    /// A number, or a number as text.
    #[serde(default)]
    revision: Value,
}

impl Package {
    fn is_active(&self) -> bool {
        self.status.eq_ignore_ascii_case("active")
    }

    fn revision(&self) -> String {
        self.revision.to_string().trim_matches('"').to_owned()
    }

    fn row(&self) -> Vec<String> {
        let owner = if self.is_public { self.user_name.clone() } else { String::new() };
        let tag = format!("{}@{}", self.name, self.version);
        vec![tag, self.revision(), self.status.clone(), owner]
    }

    fn line(&self) -> String {
        let revision = self.revision();
        let public = match self.is_public {
            true => format!("  published by {}", self.user_name),
            false => String::new(),
        };
        format!("{}@{}  revision {revision}  {}{public}", self.name, self.version, self.status)
    }
}

pub async fn run(kind: Kind, command: Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::Push { folder } => push(kind, folder, session).await,
        Command::Activate { tag } => switch(kind, &tag, "activate", session).await,
        Command::Deactivate { tag } => switch(kind, &tag, "deactivate", session).await,
        Command::New(args) => scaffold::run(kind, &args, session),
        Command::Status { tag } => status(kind, &tag, session).await,
        Command::List { public, page } => list(kind, public, page, session).await,
        Command::Pull { tag, output } => pull::run(kind, &tag, output, session).await,
        Command::Delete { tag } => {
            let answer = session.client.delete(kind.url(session, &[&tag])).await?;
            session.output.result(&answer.text, || vec![format!("{tag}: deleted")])
        }
        Command::Publish { tag } => share(kind, &tag, "publish", session).await,
        Command::Unpublish { tag } => share(kind, &tag, "unpublish", session).await,
        Command::Import { tag } => share(kind, &tag, "import", session).await,
        Command::Unimport { name } => {
            let answer = session.client.delete(kind.url(session, &[&name, "import"])).await?;
            session.output.result(&answer.text, || vec![format!("{name}: import removed")])
        }
        Command::Test(args) => test::run(kind, args, session).await,
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
    session.output.result(&answer.text, || vec![package.line()])?;
    let document = folder.join("template.json");
    if document.is_file() {
        let id = template::push(&document, session).await?;
        note(format_args!("pushed template {id}"));
    }
    let tag = format!("{}@{}", package.name, package.version);
    if package.is_active() {
        note(format_args!("{tag} is active: new runs use what was pushed now"));
    } else {
        note(format_args!("jobs may use it after: fanfold {} activate {tag}", kind.word()));
    }
    Ok(())
}

async fn switch(kind: Kind, tag: &str, how: &str, session: &Session) -> Result<(), Failure> {
    let answer = session.client.post(kind.url(session, &[tag, how]), &json!({})).await?;
    session.output.result(&answer.text, || vec![format!("{tag}: {how}d")])
}

async fn status(kind: Kind, tag: &str, session: &Session) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Status {
        #[serde(alias = "engineStatus")]
        message: String,
    }
    let answer = session.client.get(kind.url(session, &[tag, "status"])).await?;
    let status: Status = answer.read()?;
    session.output.result(&answer.text, || vec![format!("{tag}: {}", status.message)])
}

/// Publishes, takes back or imports, and says it in the server's words.
async fn share(kind: Kind, tag: &str, how: &str, session: &Session) -> Result<(), Failure> {
    let answer = session.client.post(kind.url(session, &[tag, how]), &json!({})).await?;
    told(&answer, session)
}

/// Prints the message of an answer.
pub fn told(answer: &Answer, session: &Session) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Told {
        message: String,
    }
    let told: Told = answer.read()?;
    session.output.result(&answer.text, || vec![told.message])
}

async fn list(kind: Kind, public: bool, page: Page, session: &Session) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct List {
        #[serde(alias = "engines")]
        apps: Vec<Package>,
    }
    let mut url = kind.url(session, &[]);
    page.ask(&mut url);
    if public {
        url.query_pairs_mut().append_pair("isPublic", "true");
    }
    let answer = session.client.get(url).await?;
    let list: List = answer.read()?;
    session.output.table(&answer.text, || Table {
        header: &["package", "revision", "status", "published by"],
        rows: list.apps.iter().map(Package::row).collect(),
        empty: if public { "nothing is published yet" } else { kind.none() },
    })
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Engine => "engine",
        }
    }

    const fn none(self) -> &'static str {
        match self {
            Self::App => {
                "no apps yet: fanfold app new NAME makes one, fanfold app push FOLDER brings it"
            }
            Self::Engine => "no engines yet: fanfold engine new NAME --type assembler makes one",
        }
    }

    fn url(self, session: &Session, names: &[&str]) -> Url {
        let path = match self {
            Self::App => "/v1/dev/apps",
            Self::Engine => "/v1/dev/engines",
        };
        session.client.url(path, names)
    }
}
