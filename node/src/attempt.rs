//! The life of one attempt: fetch, run, store, and the receipt for it.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use common::compute::environment::Environment;
use common::compute::resources::Usage;
use common::protocol::{
    Contents, Failure, InputFile, Inputs, Level, Outcome, Output, Receipt, UnsignedReceipt, Work,
    WorkPackage,
};
use common::run::task::Lease;
use common::secret::Secret;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::disk::{Disk, Share};
use crate::files::data_dir::DataDir;
use crate::logs::LogBook;
use crate::machine::device::Gpu;
use crate::metrics::NodeMetrics;
use crate::runtime::docker::{Docker, Image};
use crate::runtime::launch::{self, Folders, Launches};
use crate::runtime::warm::{AttemptFolder, Pool};
use crate::server_client::ServerClient;
use crate::server_client::transfer;
use crate::storage::caches::{Caches, Mounted};
use crate::storage::packages::{Package, Packages};
use containers::{Containers, Ran};
use progress::Progress;
use stopped::{Stopped, failed, judge, short};
use storing::store_results;
use warmed::Warmed;

mod containers;
mod inputs;
pub mod progress;
pub mod results;
pub mod room;
mod stopped;
mod storing;
mod value;
mod warmed;

/// Inputs and results of one attempt that move at the same time.
const FILES_AT_ONCE: usize = 8;

/// What all attempts of a node share.
#[derive(Debug)]
pub struct Tools<R> {
    pub remote: R,
    pub data_dir: DataDir,
    pub packages: Packages,
    pub caches: Caches,
    pub engine: Docker,
    /// Containers that stay for several tasks.
    pub warm: Pool,
    pub logs: LogBook,
    /// Transfers to attempts at the same time, when they have their images.
    pub downloads: Semaphore,
    /// Attempts that store at the same time.
    pub uploads: Semaphore,
    pub disk: Arc<Disk>,
    pub metrics: Arc<NodeMetrics>,
    pub progress: Progress,
}

/// A task that the node was given.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub lease: Lease,
    pub work: Arc<Work>,
    /// The name of the GPU that it gets.
    pub gpu: Option<String>,
    pub inputs: Inputs,
    /// The task's own variables.
    pub environment: Environment,
}

/// What an attempt reports to the agent.
#[derive(Debug)]
pub enum Event {
    /// Its data is here; it waits for its share of the machine.
    Prepared {
        lease: Lease,
        /// Gives it the GPU that it needs, too.
        admission: oneshot::Sender<Option<Gpu>>,
    },
    Started(Lease),
    /// Its container has ended: its share is free.
    Ended(Lease),
}

/// Lives an attempt to its end. `None` where it was cancelled: nobody waits for its receipt.
pub async fn run<R: ServerClient>(
    attempt: Attempt,
    tools: Arc<Tools<R>>,
    events: mpsc::Sender<Event>,
    stop: CancellationToken,
) -> Option<UnsignedReceipt> {
    tracing::info!("attempt started");
    let lease = attempt.lease;
    let (mut usage, mut share) = (Usage::default(), None);
    let lived = match tools.warm.folder(&tools.engine, &attempt.work) {
        Ok(mut folder) => {
            let held = (&mut usage, &mut share);
            let lived = live(&attempt, &tools, &mut folder, &events, &stop, held).await;
            let pool = tools.warm.clone();
            // Gigabytes take a while to go.
            let gone = tokio::task::spawn_blocking(move || pool.leave_folder(folder)).await;
            lived.and_then(|given| {
                gone.map_err(io::Error::other).map(|()| given).map_err(Stopped::from)
            })
        }
        Err(error) => Err(error.into()),
    };
    // Nothing of it is left.
    drop(share);
    let mut contents = Contents::default();
    let outcome = match lived {
        Ok(Given { outputs, contents: small, value }) => {
            contents = small;
            let exited = format!("container exited with code 0 after {} ms", usage.wall_ms);
            tools.logs.note(lease, Level::Info, exited);
            Outcome::Succeeded { outputs, value }
        }
        Err(Stopped::Failed { failure, message }) => {
            let error = Some(message.as_str()).filter(|message| !message.is_empty());
            tracing::info!(?failure, error, "attempt failed");
            tools.logs.note(lease, Level::Error, short(message.clone()));
            Outcome::Failed { failure, message: short(message) }
        }
        Err(Stopped::NodeFault(message)) => {
            tracing::warn!(error = message, "attempt failed because of this node");
            let text = format!("attempt failed because of its node: {message}");
            tools.logs.note(lease, Level::Error, short(text));
            // Before the receipt goes: without its engine the node takes no more tasks.
            tools.engine.look().await;
            Outcome::NodeFault { message: short(message) }
        }
        Err(Stopped::Outdated) => {
            tracing::info!("the task was reassigned, or its job has ended");
            Outcome::NodeFault { message: "the node no longer holds the lease".to_owned() }
        }
        Err(Stopped::Cancelled) => {
            tools.metrics.ended(None, usage);
            return None;
        }
    };
    tools.metrics.ended(Some(&outcome), usage);
    Some(UnsignedReceipt::new(&Receipt { lease, usage, outcome }, contents))
}

/// The MiB of disk that the node lends to tasks now.
pub fn disk_mib<R>(tools: &Tools<R>) -> u32 {
    u32::try_from(tools.disk.lends(room::kept(tools)) >> 20).unwrap_or(u32::MAX)
}

async fn live<R: ServerClient>(
    attempt: &Attempt,
    tools: &Tools<R>,
    folder: &mut AttemptFolder,
    events: &mpsc::Sender<Event>,
    stop: &CancellationToken,
    (usage, held): (&mut Usage, &mut Option<Arc<Share>>),
) -> Result<Given, Stopped> {
    let (inputs, outputs) = (folder.inputs(), folder.results());
    let files = until(stop, inputs::list(attempt, tools)).await?;
    let share = until(stop, room::share(tools, &attempt.work, &files)).await?;
    *held = Some(Arc::clone(&share));
    let ready = until(stop, prepare(attempt, tools, files, folder)).await?;
    share.note(0, Instant::now());
    usage.input_bytes = ready.input_bytes;
    let (lease, logs) = (attempt.lease, &tools.logs);
    logs.note(lease, Level::Info, format!("task data downloaded: {} bytes", ready.input_bytes));
    logs.note(lease, Level::Info, "image available");
    let wanted = attempt.gpu.as_deref().unwrap_or("none");
    logs.note(lease, Level::Debug, format!("gpus requested: {wanted}"));
    let app = ready.package.as_ref().map(|package| package.app());
    let (files, shared) = (folder.files(), folder.shared());
    let folders = Folders {
        app: app.as_deref(),
        inputs: &inputs,
        results: &outputs,
        files: &files,
        shared: &shared,
        caches: ready.caches.as_ref(),
    };
    let spec = &attempt.work.container;
    for file in app.iter().flat_map(|app| spec.package_files().map(|file| app.join(file.as_str())))
    {
        make_executable(&file)?;
    }
    let writes_max = share.writes_max();
    let (work, variables) = (&attempt.work, &attempt.environment);
    let mut launches = launch::launches(lease, work, variables, folders, &share)?;

    let value_file = value::file(spec, folders);
    let _followed = tools.progress.follow(lease, value_file.as_deref());
    let mut containers = Containers::new(&ready.images);
    let spare = &folder.spare();
    let own = OwnTexts { folders, share: &share, spare };
    let ended = in_turn(attempt, tools, own, &mut launches, &mut containers, events, stop).await;
    containers.remove(&tools.engine).await;
    folder.is_mounted = containers.has_folder;
    if let Some(caches) = ready.caches {
        tools.caches.left(attempt.work.workspace, caches).await;
    }
    let Some(first) = launches.steps.first() else { return Err(Stopped::Cancelled) };
    let stored = async {
        let Ran { ended, name } = ended?;
        *usage = Usage { input_bytes: ready.input_bytes, ..ended.usage };
        judge(ended).map_err(|stopped| stopped.of_container(&name))?;
        let (outputs, contents) = store_results(first, tools, writes_max, stop).await?;
        usage.output_bytes = outputs.iter().map(|output| output.size).sum();
        let value = value::read(value_file.as_deref())?;
        let value = value.map(|value| first.redactor.text(&value));
        Ok::<_, Stopped>(Given { outputs, contents, value })
    };
    stored.await.map_err(|stopped: Stopped| stopped.redacted(&first.redactor))
}

/// Waits for the attempt's share of the machine, and runs its containers.
async fn in_turn<R: ServerClient>(
    attempt: &Attempt,
    tools: &Tools<R>,
    own: OwnTexts<'_>,
    launches: &mut Launches,
    containers: &mut Containers<'_>,
    events: &mpsc::Sender<Event>,
    stop: &CancellationToken,
) -> Result<Ran, Stopped> {
    // Made before its turn and removed after it: the share of the machine is for running only. The
    // engine keeps a container's variables on its disk, so one with secrets is made at the last
    // moment, when the lease is known to be in force; and which GPU it gets is known with its turn.
    let has_secrets = attempt.work.secrets || attempt.work.late;
    let is_late = has_secrets || attempt.gpu.is_some() || !launches.sides.is_empty();
    let mut warmed = Warmed::of(attempt, tools, launches, containers.images(), own);
    match &mut warmed {
        Some(warmed) => warmed.prepare(attempt, tools).await?,
        None if is_late => {}
        None => {
            launch::write_files(&launches.spec, own.folders.files)?;
            containers.make_first(&tools.engine, launches).await?;
        }
    }
    let ran = async {
        let gpu = until(stop, admitted(attempt.lease, events)).await?;
        let gpu = gpu.map(|gpu| gpu.id);
        let ran = async {
            until(stop, async { Ok(tools.disk.above_floor().await?) }).await?;
            if has_secrets {
                until(stop, give_texts(attempt, tools, own, launches)).await?;
            }
            launches.steps.iter_mut().for_each(|step| step.gpu.clone_from(&gpu));
            if let Some(warmed) = &mut warmed
                && let Some(ran) = warmed.run(attempt, tools, launches, events, stop).await?
            {
                return Ok(ran);
            }
            if !containers.has_folder {
                launch::write_files(&launches.spec, own.folders.files)?;
            }
            containers.run(tools, launches, events, stop).await
        };
        let ended = ran.await;
        tell(events, Event::Ended(attempt.lease)).await.and(ended)
    };
    let ended = ran.await;
    if let Some(warmed) = &mut warmed {
        warmed.leave().await;
    }
    ended
}

/// Gives the containers what is theirs alone and is kept in memory only: the texts that are known
/// only now, and secrets.
async fn give_texts<R: ServerClient>(
    attempt: &Attempt,
    tools: &Tools<R>,
    OwnTexts { folders, share, .. }: OwnTexts<'_>,
    launches: &mut Launches,
) -> Result<(), Stopped> {
    let Attempt { lease, work, environment, .. } = attempt;
    let mut hidden = Vec::new();
    if work.late {
        let own = transfer::own_container(&tools.remote, *lease).await.map_err(|error| {
            if error.refusal().is_some() { failed(Failure::Package, &error) } else { error.into() }
        })?;
        let whole = Work { container: own.container, ..Work::clone(work) };
        *launches = launch::launches(*lease, &whole, environment, folders, share)?;
        hidden = own.hidden;
    }
    let secrets = if work.secrets { secrets(*lease, tools).await? } else { Vec::new() };
    launches.give(&secrets, &hidden);
    Ok(())
}

async fn secrets<R: ServerClient>(lease: Lease, tools: &Tools<R>) -> Result<Vec<Secret>, Stopped> {
    transfer::secrets(&tools.remote, lease).await.map_err(|error| {
        if error.refusal().is_some() { failed(Failure::Package, &error) } else { error.into() }
    })
}

/// What an attempt gives that has done its work.
struct Given {
    outputs: Vec<Output>,
    /// The bytes of small ones.
    contents: Contents,
    /// The text for what comes after it.
    value: Option<String>,
}

/// Where containers are made from, once more when all their texts are known.
#[derive(Debug, Clone, Copy)]
struct OwnTexts<'a> {
    folders: Folders<'a>,
    share: &'a Arc<Share>,
    /// Where a file is kept for the inputs of a later attempt.
    spare: &'a Path,
}

/// What a container needs, and the node has now.
struct Prepared {
    package: Option<Arc<Package>>,
    images: Vec<Image>,
    caches: Option<Mounted>,
    input_bytes: u64,
}

/// Gets everything here that the container needs.
async fn prepare<R: ServerClient>(
    attempt: &Attempt,
    tools: &Tools<R>,
    files: Vec<InputFile>,
    folder: &AttemptFolder,
) -> Result<Prepared, Stopped> {
    let (lease, work) = (attempt.lease, &attempt.work);
    // Before its turn: a registry may be slow, and images have places for each workspace.
    let temporary = tools.data_dir.temporary();
    let images = match tools.warm.image(work) {
        Some(image) => {
            tools.engine.check_fits(&image, work)?;
            vec![image]
        }
        None => tools.engine.images(work, &tools.remote, lease, &temporary).await?,
    };
    let (package, caches) = match work.package {
        None => (None, None),
        Some(WorkPackage { owner, digest }) => {
            let _turn = turn(&tools.downloads).await?;
            let package = tools.packages.get(&tools.remote, lease, digest).await?;
            let caches = tools.caches.ready(&tools.remote, lease, work.workspace, owner).await?;
            (Some(package), Some(caches))
        }
    };
    room::trim(tools).await;
    let input_bytes = files.iter().map(|file| file.size).sum();
    let (to, spare) = (&folder.inputs(), &folder.spare());
    stream::iter((0u32..).zip(files))
        .map(|(n, file)| inputs::place(attempt, tools, n, file, (to, spare)))
        .buffer_unordered(FILES_AT_ONCE)
        .try_collect::<()>()
        .await?;
    Ok(Prepared { package, images, caches, input_bytes })
}

/// Waits for the attempt's share of the machine.
async fn admitted(lease: Lease, events: &mpsc::Sender<Event>) -> Result<Option<Gpu>, Stopped> {
    let (admission, turn) = oneshot::channel();
    tell(events, Event::Prepared { lease, admission }).await?;
    turn.await.map_err(|_| Stopped::Cancelled)
}

async fn tell(events: &mpsc::Sender<Event>, event: Event) -> Result<(), Stopped> {
    events.send(event).await.map_err(|_| Stopped::Cancelled)
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

fn make_executable(file: &Path) -> io::Result<()> {
    const MODE: u32 = 0o755;
    // Tasks may be many and short, and what is set once need not be written again.
    if std::fs::metadata(file)?.mode() & 0o7777 == MODE {
        return Ok(());
    }
    std::fs::set_permissions(file, Permissions::from_mode(MODE))
}

#[cfg(test)]
mod container_tests;
#[cfg(test)]
mod disk_tests;
#[cfg(test)]
mod tests;
