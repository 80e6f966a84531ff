//! The life of one attempt: fetch, run, store, and the receipt for it.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::protocol::{
    BlobRequest, Failure, InputFile, Inputs, NAME_BYTES_MAX, Outcome, Output, RECEIPTS_BYTES_MAX,
    Receipt, SignedReceipt, Work,
};
use common::resources::Usage;
use common::task::Lease;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::cache::{self, Packages, Scratch};
use crate::home::{Home, dir_with_mode};
use crate::link;
use crate::logs::LogBook;
use crate::remote::Remote;
use crate::results::{self, ResultFile};
use crate::runtime::docker::Docker;
use crate::runtime::{self, Ended, Ending, Folders};
use crate::transfer::{self, Expected};

/// The most inputs of one attempt.
const INPUTS_MAX: usize = 1_000_000;
/// Inputs and results of one attempt that move at the same time.
const FILES_AT_ONCE: usize = 8;
/// The most bytes of a message in a receipt.
const MESSAGE_BYTES_MAX: usize = 2000;
/// What a receipt has beside its outputs, with room to spare.
const RECEIPT_OVERHEAD: usize = 1024;

/// What all attempts of a node share.
#[derive(Debug)]
pub struct Tools<R> {
    pub remote: R,
    pub home: Home,
    pub packages: Packages,
    pub engine: Docker,
    pub logs: LogBook,
    /// Attempts that fetch at the same time; many may wait for one large image.
    pub downloads: Semaphore,
    /// Attempts that store at the same time.
    pub uploads: Semaphore,
    pub results_bytes_max: u64,
}

/// A task that the node was given.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub lease: Lease,
    pub work: Arc<Work>,
    pub inputs: Inputs,
}

/// What an attempt tells the agent on its way.
#[derive(Debug)]
pub enum Event {
    /// Its data is here; it waits for its share of the machine.
    Prepared {
        lease: Lease,
        seat: oneshot::Sender<()>,
    },
    Started(Lease),
    /// Its container has ended: its share is free.
    Ended(Lease),
}

/// Why an attempt has no results.
#[derive(Debug)]
enum Stopped {
    Cancelled,
    Failed { failure: Failure, message: String },
    NodeFault(String),
}

/// Lives an attempt to its end. `None` where it was cancelled: nobody waits for its receipt.
pub async fn run<R: Remote>(
    attempt: Attempt,
    tools: Arc<Tools<R>>,
    events: mpsc::Sender<Event>,
    stop: CancellationToken,
) -> Option<SignedReceipt> {
    let lease = attempt.lease;
    let mut usage = Usage::default();
    let lived = match Scratch::new(&tools.home.work()) {
        Ok(folder) => {
            let lived = live(&attempt, &tools, &folder.0, &events, &stop, &mut usage).await;
            // Gigabytes take a while to go.
            let gone = tokio::task::spawn_blocking(move || drop(folder)).await;
            lived.and_then(|outputs| {
                gone.map_err(io::Error::other).map(|()| outputs).map_err(Stopped::from)
            })
        }
        Err(error) => Err(error.into()),
    };
    let outcome = match lived {
        Ok(outputs) => Outcome::Succeeded { outputs },
        Err(Stopped::Failed { failure, message }) => {
            Outcome::Failed { failure, message: short(message) }
        }
        Err(Stopped::NodeFault(message)) => {
            tracing::warn!(%lease, message, "attempt given up: this node is at fault");
            Outcome::NodeFault { message: short(message) }
        }
        Err(Stopped::Cancelled) => return None,
    };
    Some(sign(&tools.remote, &Receipt { lease, usage, outcome }))
}

/// Signs a receipt with the node's key.
pub fn sign<R: Remote>(remote: &R, receipt: &Receipt) -> SignedReceipt {
    let receipt = postcard::to_stdvec(receipt).expect("a receipt is plain data");
    let signature = remote.sign(&receipt);
    SignedReceipt { receipt, signature }
}

async fn live<R: Remote>(
    attempt: &Attempt,
    tools: &Tools<R>,
    folder: &Path,
    events: &mpsc::Sender<Event>,
    stop: &CancellationToken,
    usage: &mut Usage,
) -> Result<Vec<Output>, Stopped> {
    let (inputs, outputs) = (folder.join("inputs"), folder.join("results"));
    let (package, image) = until(stop, prepare(attempt, tools, &inputs, &outputs)).await?;
    let app = package.app();
    let folders = Folders { app: &app, inputs: &inputs, results: &outputs };
    let max = tools.results_bytes_max;
    let launch = runtime::launch(attempt.lease, &attempt.work, &attempt.inputs, folders, max)?;
    make_executable(&app.join(&attempt.work.entrypoint))?;

    // Made before its turn and removed after it: the share of the machine is for running only.
    let mut container = tools.engine.make(&launch, &image).await?;
    let ended = match until(stop, seated(attempt.lease, events)).await {
        Ok(()) => {
            let started = || {
                // A full channel loses only the running time that is shown.
                let _ = events.try_send(Event::Started(attempt.lease));
            };
            let ran = tools.engine.run(&mut container, &launch, &image, &tools.logs, started, stop);
            let ended = ran.await;
            tell(events, Event::Ended(attempt.lease)).await.and(ended.map_err(Stopped::from))
        }
        Err(stopped) => Err(stopped),
    };
    tools.engine.remove(&container).await;
    let ended = ended?;
    *usage = ended.usage;
    judge(ended)?;
    store_results(attempt.lease, tools, &outputs, stop).await
}

/// Stores what the container wrote.
async fn store_results<R: Remote>(
    lease: Lease,
    tools: &Tools<R>,
    folder: &Path,
    stop: &CancellationToken,
) -> Result<Vec<Output>, Stopped> {
    let (found, bytes_max) = (folder.to_owned(), tools.results_bytes_max);
    let collected = tokio::task::spawn_blocking(move || results::collect(&found, bytes_max)).await;
    let files =
        collected.map_err(io::Error::other)?.map_err(|error| failed(Failure::Results, &error))?;
    fits_a_receipt(&files)?;
    until(stop, store(lease, tools, &files)).await?;
    Ok(files.into_iter().map(output).collect())
}

/// Gets everything here that the container needs.
async fn prepare<R: Remote>(
    attempt: &Attempt,
    tools: &Tools<R>,
    inputs: &Path,
    results: &Path,
) -> Result<(Arc<cache::Package>, runtime::docker::Image), Stopped> {
    let _turn = turn(&tools.downloads).await?;
    dir_with_mode(inputs, 0o755)?;
    // The container's user is another one; nobody else gets as far as this folder.
    dir_with_mode(results, 0o777)?;
    let (lease, work) = (attempt.lease, &attempt.work);
    let package = tools.packages.get(&tools.remote, lease, work.package).await?;
    let temporary = tools.home.temporary();
    let image = tools.engine.image(&work.image, &tools.remote, lease, &temporary).await?;
    let files = match attempt.inputs {
        Inputs::Chunk { bytes, .. } => {
            vec![InputFile { name: "data.bin".into(), size: bytes, digest: None }]
        }
        Inputs::Files => checked(transfer::inputs(&tools.remote, lease).await?)?,
    };
    stream::iter((0u32..).zip(files))
        .map(|(n, file)| fetch_input(&tools.remote, lease, n, file, inputs))
        .buffer_unordered(FILES_AT_ONCE)
        .try_collect::<()>()
        .await?;
    Ok((package, image))
}

async fn fetch_input<R: Remote>(
    remote: &R,
    lease: Lease,
    n: u32,
    file: InputFile,
    folder: &Path,
) -> Result<(), Stopped> {
    let path = folder.join(&file.name);
    if file.size == 0 {
        tokio::fs::File::create_new(&path).await?;
    } else {
        let expected =
            Expected { bytes: Some(file.size), digest: file.digest, bytes_max: file.size };
        let request = |from| BlobRequest::Input { lease, n, from };
        transfer::fetch(remote, request, &path, expected).await.map_err(not_read)?;
    }
    tokio::fs::set_permissions(&path, Permissions::from_mode(0o644)).await?;
    Ok(())
}

/// An input that is refused for good is the customer's: a source that has changed or gone.
fn not_read(error: transfer::Error) -> Stopped {
    match &error {
        transfer::Error::Link(link::Error::Refused { again: false, .. }) => {
            failed(Failure::Input, &error)
        }
        transfer::Error::Link(_)
        | transfer::Error::Spoiled
        | transfer::Error::TooLarge(_)
        | transfer::Error::Disk(_) => error.into(),
    }
}

/// Refuses names that lead out of the inputs' folder, and more than one file of a name.
fn checked(files: Vec<InputFile>) -> Result<Vec<InputFile>, Stopped> {
    let flat = |name: &str| {
        !name.is_empty()
            && name != "."
            && name != ".."
            && name.len() <= NAME_BYTES_MAX
            && !name.contains(['/', '\\', '\0'])
    };
    let mut names = std::collections::HashSet::new();
    let fine = files.len() <= INPUTS_MAX
        && files.iter().all(|file| flat(&file.name) && names.insert(file.name.as_str()));
    if fine {
        Ok(files)
    } else {
        Err(Stopped::NodeFault("the list of inputs has names that no file can have".into()))
    }
}

/// Waits for the attempt's share of the machine.
async fn seated(lease: Lease, events: &mpsc::Sender<Event>) -> Result<(), Stopped> {
    let (seat, turn) = oneshot::channel();
    tell(events, Event::Prepared { lease, seat }).await?;
    turn.await.map_err(|_| Stopped::Cancelled)
}

async fn tell(events: &mpsc::Sender<Event>, event: Event) -> Result<(), Stopped> {
    events.send(event).await.map_err(|_| Stopped::Cancelled)
}

/// Stores all results; those with the same bytes once.
async fn store<R: Remote>(
    lease: Lease,
    tools: &Tools<R>,
    files: &[ResultFile],
) -> Result<(), Stopped> {
    let _turn = turn(&tools.uploads).await?;
    let mut stored = std::collections::HashSet::new();
    let mut different = files.to_vec();
    different.retain(|file| stored.insert(file.digest));
    stream::iter(different)
        .map(async |file| {
            transfer::put(&tools.remote, lease, file.size, file.digest, &file.path).await
        })
        .buffer_unordered(FILES_AT_ONCE)
        .try_collect::<()>()
        .await?;
    Ok(())
}

async fn turn(turns: &Semaphore) -> Result<SemaphorePermit<'_>, Stopped> {
    turns.acquire().await.map_err(|_| Stopped::Cancelled)
}

/// Ends early when the attempt is cancelled.
async fn until<T>(
    stop: &CancellationToken,
    work: impl Future<Output = Result<T, Stopped>>,
) -> Result<T, Stopped> {
    stop.run_until_cancelled(work).await.unwrap_or(Err(Stopped::Cancelled))
}

/// What a container's end means for its task.
fn judge(ended: Ended) -> Result<(), Stopped> {
    let (failure, message) = match ended.ending {
        Ending::Exited(0) => return Ok(()),
        Ending::Stopped => return Err(Stopped::Cancelled),
        Ending::Exited(code) => {
            (Failure::ExitCode(code), format!("the container ended with code {code}"))
        }
        Ending::Timeout => (
            Failure::Timeout,
            format!("the task ran into its timeout after {} ms", ended.usage.wall_ms),
        ),
        Ending::OutOfMemory => (
            Failure::OutOfMemory,
            "the container used more memory than its package asks for".to_owned(),
        ),
        Ending::TooMuchWritten => {
            (Failure::Results, "the container wrote more results than one task may".to_owned())
        }
    };
    Err(Stopped::Failed { failure, message })
}

/// A receipt that no message can carry would be kept for ever.
fn fits_a_receipt(files: &[ResultFile]) -> Result<(), Stopped> {
    let bytes: usize = files.iter().map(|file| file.name.len() + 32 + 16).sum();
    if bytes + RECEIPT_OVERHEAD <= RECEIPTS_BYTES_MAX {
        return Ok(());
    }
    let message = "the names of the results are too long for so many files".to_owned();
    Err(Stopped::Failed { failure: Failure::Results, message })
}

fn output(file: ResultFile) -> Output {
    Output { name: file.name, size: file.size, digest: file.digest }
}

fn make_executable(file: &PathBuf) -> io::Result<()> {
    std::fs::set_permissions(file, Permissions::from_mode(0o755))
}

fn failed(failure: Failure, error: &dyn std::error::Error) -> Stopped {
    Stopped::Failed { failure, message: chain(error) }
}

fn fault(error: &dyn std::error::Error) -> Stopped {
    Stopped::NodeFault(chain(error))
}

/// An error and all that caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

fn short(mut message: String) -> String {
    message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
    message
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::NodeFault(format!("the node's disk: {error}"))
    }
}

impl From<transfer::Error> for Stopped {
    fn from(error: transfer::Error) -> Self {
        fault(&error)
    }
}

impl From<cache::Error> for Stopped {
    fn from(error: cache::Error) -> Self {
        match error {
            cache::Error::Archive(_) => failed(Failure::Package, &error),
            cache::Error::Fetch(_) | cache::Error::Io(_) => fault(&error),
        }
    }
}

impl From<runtime::Error> for Stopped {
    fn from(error: runtime::Error) -> Self {
        match error {
            runtime::Error::Unusable(_) => failed(Failure::Package, &error),
            runtime::Error::Engine { .. } | runtime::Error::Fetch(_) | runtime::Error::Io(_) => {
                fault(&error)
            }
        }
    }
}

#[cfg(test)]
#[path = "attempt/tests.rs"]
mod tests;
