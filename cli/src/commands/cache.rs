//! `fanfold cache`: files that containers find without fetching them.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use reqwest::Url;
use serde::Deserialize;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;

use crate::client::failure::Failure;
use crate::client::output::{Table, moment};
use crate::client::session::Session;

const PATH: &str = "/v1/dev/cache";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the files that were uploaded
    List {
        /// Those of the cache that everybody reads
        #[arg(long)]
        shared: bool,
    },
    /// Upload a file; containers find it in USER_CACHE_DIR, or in SHARED_CACHE_DIR if it is shared
    Push {
        file: PathBuf,
        /// Its path in the cache; the file's own name where it is left out
        #[arg(long)]
        name: Option<String>,
        /// For everybody; only the server's owner may
        #[arg(long)]
        shared: bool,
    },
    /// Remove a file
    #[command(visible_alias = "remove")]
    Delete {
        name: String,
        /// From the cache that everybody reads
        #[arg(long)]
        shared: bool,
    },
}

pub async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::List { shared } => list(shared, session).await,
        Command::Push { file, name, shared } => push(&file, name, shared, session).await,
        Command::Delete { name, shared } => {
            let answer = session.client.delete(url(session, &[&name], shared)).await?;
            session.output.result(&answer.text, || vec![format!("removed {name}")])
        }
    }
}

async fn list(shared: bool, session: &Session) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct List {
        files: Vec<Cached>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Cached {
        name: String,
        size: u64,
        updated_at: String,
    }
    let answer = session.client.get(url(session, &[], shared)).await?;
    let list: List = answer.read()?;
    let row = |file: Cached| vec![file.name, file.size.to_string(), moment(&file.updated_at)];
    session.output.table(&answer.text, || Table {
        header: &["name", "bytes", "updated"],
        rows: list.files.into_iter().map(row).collect(),
        empty: if shared {
            "no files in the shared cache yet: fanfold cache push FILE --shared"
        } else {
            "no files in the cache yet: fanfold cache push FILE"
        },
    })
}

async fn push(
    path: &Path,
    name: Option<String>,
    shared: bool,
    session: &Session,
) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Upload {
        url: String,
    }
    let failed = |error| Failure::Usage(format!("cannot read {}: {error}", path.display()));
    let own = || path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = name.unwrap_or_else(own);
    let file = File::open(path).await.map_err(failed)?;
    let size = file.metadata().await.map_err(failed)?.len();
    let mut asked = url(session, &["upload-url"], shared);
    asked.query_pairs_mut().append_pair("name", &name);
    let answer = session.client.get(asked).await?;
    let Upload { url } = answer.read()?;
    // No more than was said: the file may be growing.
    let bytes = ReaderStream::with_capacity(file.take(size), 256 << 10);
    session.client.put_at_link(session.client.link(&url)?, size, bytes).await?;
    session.output.result(&answer.text, || vec![format!("uploaded {name} ({size} bytes)")])
}

fn url(session: &Session, names: &[&str], shared: bool) -> Url {
    let mut url = session.client.url(PATH, names);
    if shared {
        url.query_pairs_mut().append_pair("scope", "shared");
    }
    url
}
