//! `fanfold image`: takes a container image from the local engine to the server, so that nodes
//! need no registry, lists what is there, and removes it.

use bollard::Docker;
use clap::Subcommand;
use common::digest::{Digest, Digester};
use futures::TryStreamExt;
use serde::Deserialize;
use tokio::fs::File;
use tokio::io::{AsyncSeekExt, AsyncWriteExt, BufWriter};
use tokio_util::io::ReaderStream;

use crate::client::Answer;
use crate::client::failure::Failure;
use crate::client::output::{Page, Table, note};
use crate::client::session::Session;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Upload an image of the local container engine under its reference
    Push { reference: String },
    /// List the images that were pushed
    List {
        #[command(flatten)]
        page: Page,
    },
    /// Remove an image from the server
    #[command(alias = "rm", visible_alias = "remove")]
    Delete { reference: String },
}

/// An image's archive on disk, and what it is called by.
struct Spooled {
    file: File,
    size: u64,
    digest: Digest,
}

pub async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::Push { reference } => push(reference, session).await,
        Command::List { page } => list(page, session).await,
        Command::Delete { reference } => remove(&reference, session).await,
    }
}

async fn list(page: Page, session: &Session) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct List {
        images: Vec<Image>,
    }
    #[derive(Deserialize)]
    struct Image {
        reference: String,
        digest: String,
        size: u64,
    }
    let mut url = session.client.url("/v1/dev/images/list", &[]);
    page.ask(&mut url);
    let answer = session.client.get(url).await?;
    let list: List = answer.read()?;
    let row = |image: Image| vec![image.reference, image.size.to_string(), image.digest];
    session.output.table(&answer.text, || Table {
        header: &["image", "bytes", "sha256"],
        rows: list.images.into_iter().map(row).collect(),
        empty: "no images yet: fanfold image push NAME takes one of the local container engine",
    })
}

async fn remove(reference: &str, session: &Session) -> Result<(), Failure> {
    let mut url = session.client.url("/v1/dev/images", &[]);
    url.query_pairs_mut().append_pair("reference", reference);
    let answer = session.client.delete(url).await?;
    session.output.result(&answer.text, || vec![format!("{reference} is removed")])
}

async fn push(reference: String, session: &Session) -> Result<(), Failure> {
    let (answer, digest) = upload(&reference, session).await?;
    session.output.result(&answer.text, || vec![format!("{reference}  sha256:{digest}")])
}

/// Takes an image to the server, and gives its answer and the digest of the archive.
pub async fn upload(reference: &str, session: &Session) -> Result<(Answer, Digest), Failure> {
    let spooled = spool(reference).await?;
    let digest = spooled.digest.to_string();
    note(format_args!("pushing {reference} ({} bytes)", spooled.size));

    let mut url = session.client.url("/v1/dev/images", &[]);
    url.query_pairs_mut().append_pair("reference", reference).append_pair("digest", &digest);
    let bytes = ReaderStream::with_capacity(spooled.file, 256 << 10);
    let answer = session.client.post_stream(url, spooled.size, bytes).await?;
    Ok((answer, spooled.digest))
}

/// Writes the engine's archive of an image to a file that has no name and goes with the process.
/// The digest has to be known before the first byte is sent.
async fn spool(reference: &str) -> Result<Spooled, Failure> {
    let engine_failed = |error| Failure::local("the container engine", error);
    let engine = Docker::connect_with_defaults()
        .map_err(engine_failed)?
        .negotiate_version()
        .await
        .map_err(|error| Failure::local("the container engine does not answer", error))?;
    engine.inspect_image(reference).await.map_err(|error| {
        Failure::local(format_args!("the container engine has no image {reference:?}"), error)
    })?;
    let file_failed = |error| Failure::local("cannot spool the image to a temporary file", error);
    let file = tempfile::tempfile().map_err(file_failed)?;

    let mut file = BufWriter::new(File::from_std(file));
    let (mut digester, mut size) = (Digester::default(), 0);
    let mut archive = std::pin::pin!(engine.export_image(reference));
    while let Some(bytes) = archive.try_next().await.map_err(engine_failed)? {
        digester.update(&bytes);
        size += bytes.len() as u64;
        file.write_all(&bytes).await.map_err(file_failed)?;
    }
    file.flush().await.map_err(file_failed)?;
    let mut file = file.into_inner();
    file.rewind().await.map_err(file_failed)?;
    Ok(Spooled { file, size, digest: digester.finish() })
}
