//! A task of the node's own, run exactly as one of a stranger's: a static program in an image with
//! nothing in it. No server has given it.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::compute::container::{
    Command, ContainerSpec, Content, Isolation, Parts, Profile, Program, Sharing,
};
use common::compute::resources::Resources;
use common::ids::{RunId, WorkspaceId};
use common::plan::Image as Source;
use common::protocol::Work;
use common::run::task::{Lease, StageNo, TaskRef};
use tokio_util::sync::CancellationToken;

use crate::disk::{self, Disk};
use crate::files::data_dir::{self, DataDir};
use crate::files::tree::{dir_with_mode, remove_tree};
use crate::files::users::{self, IdRange, Jobs, Users};
use crate::logs::LogBook;
use crate::logs::redact::Redactor;
use crate::net::ssrf_guard::SsrfGuard;
use crate::runtime::docker::{Allowed, Docker, Image, Images, NotConnected};
use crate::runtime::launch::{Connection, CountedCache};
use crate::runtime::warm::{Common, Home, Places, Pool, Shape};
use crate::runtime::{self, Ended, Entry, Launch, Mount};

/// More than any such program needs.
const NEEDS: Resources = Resources::new(1000, 512);
const PATIENCE: Duration = Duration::from_secs(120);
const RESULTS_BYTES_MAX: u64 = 1 << 30;
/// Bounds of the disk that no such program reaches.
const DISK: disk::Limits = disk::Limits { budget: 8 << 30, keep_free: 0 };
const PROGRAM: &str = "/kit/app/program";

/// No container can be run at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("a temporary folder cannot be used")]
    Folder(#[from] io::Error),
    #[error(transparent)]
    DataDir(#[from] data_dir::Error),
    #[error(transparent)]
    Users(#[from] users::Error),
    #[error(transparent)]
    Engine(#[from] NotConnected),
    #[error("the program cannot be run")]
    Container(#[from] runtime::Error),
}

/// A program, and all that its containers need.
#[derive(Debug)]
pub struct OwnTask {
    folder: tempfile::TempDir,
    engine: Docker,
    pool: Pool,
    image: Image,
    launch: Launch,
    logs: LogBook,
    tasks: AtomicU32,
}

impl OwnTask {
    /// Prepares containers of this profile for a program.
    ///
    /// # Errors
    ///
    /// Where no engine can be used, or a folder.
    pub async fn new(program: &[u8], profile: Profile) -> Result<Self, Error> {
        let folder = tempfile::tempdir()?;
        let data_dir = DataDir::open(folder.path())?;
        let users = Users::new(&data_dir, IdRange::default(), Jobs::OfOne)?;
        let allowed = Allowed { plain: true, network: None };
        let images = Images::new(SsrfGuard::new(false), false, u64::MAX);
        let engine = Docker::connect(data_dir.label(), users, images, allowed).await?;
        let pool = Pool::open(&data_dir.work(), &data_dir.temporary())?;
        let image = engine.scratch().await?;
        let launch = launch(&engine, &data_dir, program, profile)?;
        let (logs, tasks) = (LogBook::default(), AtomicU32::new(0));
        Ok(Self { folder, engine, pool, image, launch, logs, tasks })
    }

    /// Runs the program in a container that the engine makes for it.
    ///
    /// # Errors
    ///
    /// Where the container cannot be run.
    pub async fn run_apart(&self) -> Result<Ended, Error> {
        let (logs, stop) = (&self.logs, CancellationToken::new());
        let (engine, launch, image) = (&self.engine, &self.launch, &self.image);
        let mut made = engine.make(launch, image).await?;
        let ended = engine.run(&mut made, launch, image, logs, || {}, &stop).await;
        engine.remove(&made).await;
        Ok(ended?)
    }

    /// Runs the program under a supervisor, in a container that stays or in a fresh one; `None`
    /// where this machine has no such containers.
    ///
    /// # Errors
    ///
    /// Where the container cannot be run.
    pub async fn run_supervised(&self, isolation: Isolation) -> Result<Option<Ended>, Error> {
        let work = self.work(isolation);
        let shape = Shape::of(&work, &self.image, Common::default());
        let warm = match self.pool.take(&shape) {
            Some(warm) => warm,
            None => {
                let own = |home: &Home| {
                    let mut launch = self.launch.clone();
                    launch.results.host = home.results();
                    Ok(launch)
                };
                let made = self.pool.make(&self.engine, &shape, &work, &self.image, own).await?;
                let Some(made) = made else { return Ok(None) };
                made
            }
        };
        let (logs, stop) = (&self.logs, CancellationToken::new());
        let (places, folder) = self.places(&work)?;
        let ended = warm.run(&self.engine, &self.launch, places, logs, || {}, &stop).await;
        remove_tree(&folder)?;
        Ok(Some(ended?))
    }

    /// What it has printed since it was asked last.
    pub fn said(&self) -> Vec<String> {
        let mut lines = Vec::new();
        while self.logs.any_unsent() {
            let batches = self.logs.batches();
            lines.extend(batches.into_iter().flat_map(|batch| batch.lines).map(|line| line.text));
        }
        lines
    }

    /// Removes the containers that stay.
    pub async fn end(self) {
        self.pool.close().await;
    }

    /// The folders of one task.
    fn places(&self, work: &Work) -> io::Result<(Places, std::path::PathBuf)> {
        let n = self.tasks.fetch_add(1, Ordering::Relaxed);
        let folder = self.folder.path().join(format!("task-{n}"));
        let (inputs, results) = (folder.join("inputs"), folder.join("results"));
        for path in [&folder, &inputs] {
            dir_with_mode(path, 0o755)?;
        }
        self.engine.writable_dir(&results, self.launch.workspace, self.launch.profile)?;
        let (spare, spec) = (folder.join("spare"), work.container.clone());
        Ok((Places { inputs, results, shared: Vec::new(), spare, spec }, folder))
    }

    fn work(&self, isolation: Isolation) -> Work {
        let program = Program::new(Command::Line(vec![PROGRAM.to_owned()]));
        let mounts = BTreeMap::from([(Content::Results, self.launch.results.inside.clone())]);
        let parts = Parts { mounts, isolation, profile: self.launch.profile, ..Parts::of(program) };
        Work {
            run: self.launch.lease.task.run,
            workspace: self.launch.workspace,
            stage: self.launch.lease.task.stage,
            package: None,
            images: vec![Source::Binary],
            container: ContainerSpec::new(parts).expect("the task's container is a plain one"),
            sharing: Sharing::default(),
            secrets: false,
            late: false,
            needs: NEEDS,
            task_timeout_secs: None,
        }
    }
}

fn launch(
    engine: &Docker,
    data_dir: &DataDir,
    program: &[u8],
    profile: Profile,
) -> io::Result<Launch> {
    let folder = data_dir.work().join("own");
    dir_with_mode(&folder, 0o755)?;
    let share = Disk::open(&folder, DISK)?.share(0, 0, RESULTS_BYTES_MAX);
    let share = share.ok_or(io::ErrorKind::StorageFull)?;
    let workspace = WorkspaceId::new(uuid::Uuid::new_v4());
    let task = TaskRef { run: RunId::new(uuid::Uuid::new_v4()), stage: StageNo::new(0), index: 0 };
    let mount =
        |name: &str, inside, is_writable| Mount::own(folder.join(name), inside, is_writable);
    let (app, shared) = (mount("app", "/kit/app", false), mount("shared", "/kit/shared", false));
    for mount in [&app, &shared] {
        dir_with_mode(&mount.host, 0o755)?;
    }
    let path = app.host.join("program");
    fs::write(&path, program)?;
    fs::set_permissions(&path, Permissions::from_mode(0o755))?;
    let (results, user_cache) =
        (mount("results", "/kit/results", true), mount("user", "/kit/user", true));
    for mount in [&results, &user_cache] {
        engine.writable_dir(&mount.host, workspace, profile)?;
    }
    Ok(Launch {
        lease: Lease { task, attempt: 1 },
        workspace,
        name: String::new(),
        image: 0,
        entry: Entry::Commands(vec![vec![PROGRAM.into()]]),
        env: vec![
            "HOME=/tmp".into(),
            "RESULTS=/kit/results".into(),
            "SHARED=/kit/shared".into(),
            format!("PROFILE={}", profile.as_str()),
        ],
        redactor: Redactor::default(),
        working_dir: Some(app.inside.clone()),
        cache: Some(CountedCache { folder: user_cache.host.clone(), bytes_max: RESULTS_BYTES_MAX }),
        mounts: vec![app, shared, user_cache],
        results,
        shared: Vec::new(),
        profile,
        connection: Connection::None,
        hosts: Vec::new(),
        needs: NEEDS,
        gpu: None,
        timeout: Some(PATIENCE),
        share,
        beside: Vec::new(),
        is_watched: false,
    })
}
