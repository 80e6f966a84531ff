//! What the server has compiled, on this machine: containers that an engine can make.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::compute::container::{
    Command, ContainerPath, ContainerSpec, Content, Network, Profile, Program,
};
use common::compute::environment::Environment;
use common::compute::resources::Resources;
use common::ids::WorkspaceId;
use common::protocol::Work;
use common::run::task::Lease;
use common::secret::{self, Hidden, Secret};

use super::{Error, interpreter};
use crate::disk::Share;
use crate::files::tree::dir_with_mode;
use crate::logs::redact::Redactor;
use crate::storage::caches::Mounted;

/// What a container is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// What its image says.
    Image,
    /// Commands for the same thing; the next is tried where the image lacks the one before.
    Commands(Vec<Vec<String>>),
}

/// What a container is connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// Its own loopback and nothing else.
    None,
    /// The network that the node's owner gives to containers.
    Owners,
    /// What this container is connected to.
    Of(String),
}

/// A container to be run.
#[derive(Debug, Clone)]
pub struct Launch {
    pub lease: Lease,
    pub workspace: WorkspaceId,
    /// What logs call it; empty where its task has no other.
    pub name: String,
    /// Which of the task's images it is made from.
    pub image: usize,
    pub entry: Entry,
    pub env: Vec<String>,
    /// Takes the secrets among the variables out of what the container says.
    pub redactor: Redactor,
    /// `None` is the image's own.
    pub working_dir: Option<ContainerPath>,
    /// All but the one for results.
    pub mounts: Vec<Mount>,
    pub results: Mount,
    /// Folders beside the results that count as written.
    pub shared: Vec<PathBuf>,
    /// The workspace's cache, where it has one.
    pub cache: Option<CountedCache>,
    pub profile: Profile,
    pub connection: Connection,
    /// Names of hosts with their addresses, as `NAME:ADDRESS`.
    pub hosts: Vec<String>,
    pub needs: Resources,
    /// The engine's name of the GPU that it gets.
    pub gpu: Option<String>,
    pub timeout: Option<Duration>,
    /// What its task may write.
    pub share: Arc<Share>,
    /// Containers that run beside it, whose writing counts as its own.
    pub beside: Vec<String>,
    /// It is watched by the container that it runs beside.
    pub is_watched: bool,
}

/// What of a workspace's cache counts, and the most bytes that it may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountedCache {
    pub folder: PathBuf,
    pub bytes_max: u64,
}

/// The containers of a task.
#[derive(Debug, Clone)]
pub struct Launches {
    /// What they were made of.
    pub spec: ContainerSpec,
    /// They run one after the other.
    pub steps: Vec<Launch>,
    /// They run beside the steps.
    pub sides: Vec<LaunchSide>,
}

/// A container beside the steps of a task.
#[derive(Debug, Clone)]
pub struct LaunchSide {
    pub launch: Launch,
    /// The steps wait until something listens there.
    pub port: Option<u16>,
}

impl Launch {
    /// Gives secrets to the container. A user who may ask this machine's engine can read them there
    /// as long as the container lasts: a node's owner is trusted with what his node runs.
    fn give(&mut self, secrets: &[Secret], redactor: &Redactor) {
        self.env.extend(secret::variables(secrets));
        self.redactor = redactor.clone();
    }
}

impl Launches {
    /// All containers of the task.
    pub fn all(&mut self) -> impl Iterator<Item = &mut Launch> {
        self.steps.iter_mut().chain(self.sides.iter_mut().map(|side| &mut side.launch))
    }

    /// Gives secrets to all containers; `hidden` are those that they have in other texts.
    pub fn give(&mut self, secrets: &[Secret], hidden: &[Hidden]) {
        let redactor = Redactor::new(secrets, hidden);
        self.all().for_each(|launch| launch.give(secrets, &redactor));
    }
}

/// A folder or a file of the host, as the container sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    pub host: PathBuf,
    pub inside: ContainerPath,
    pub is_writable: bool,
}

impl Mount {
    /// A mount of a container of the node's own.
    ///
    /// # Panics
    /// The path is not a plain absolute one.
    pub fn own(host: PathBuf, inside: &'static str, is_writable: bool) -> Self {
        let inside = inside.parse().expect("the node's own paths are plain");
        Self { host, inside, is_writable }
    }
}

/// The folders of an attempt on the host.
#[derive(Debug, Clone, Copy)]
pub struct Folders<'a> {
    /// The package's, where there is one.
    pub app: Option<&'a Path>,
    pub inputs: &'a Path,
    pub results: &'a Path,
    /// Where the task's files are written.
    pub files: &'a Path,
    /// In which the folders lie that its containers share.
    pub shared: &'a Path,
    pub caches: Option<&'a Mounted>,
}

impl Folders<'_> {
    fn host(&self, content: Content) -> Result<&Path, Error> {
        let found = match content {
            Content::Package => self.app,
            Content::Inputs => Some(self.inputs),
            Content::Results => Some(self.results),
            Content::WorkspaceCache => self.caches.map(|caches| caches.user.as_path()),
            Content::SharedCache => self.caches.map(|caches| caches.shared.as_path()),
        };
        found.ok_or_else(|| Error::Unusable("a folder is to be mounted that is not there".into()))
    }

    fn mount(&self, content: Content, inside: &ContainerPath) -> Result<Mount, Error> {
        let host = self.host(content)?.to_owned();
        Ok(Mount { host, inside: inside.clone(), is_writable: content.is_writable() })
    }

    /// Where the shared folder of this number lies.
    pub fn shared_dir(&self, n: usize) -> PathBuf {
        self.shared.join(n.to_string())
    }
}

/// What the server has compiled, on this machine. `environment` is the task's own.
pub fn launches(
    lease: Lease,
    work: &Work,
    environment: &Environment,
    folders: Folders<'_>,
    share: &Arc<Share>,
) -> Result<Launches, Error> {
    let spec = &work.container;
    let results = spec.mounts.get(&Content::Results);
    let results = results.ok_or_else(|| Error::Unusable("has no folder for results".into()))?;
    let others = spec.mounts.iter().filter(|(content, _)| **content != Content::Results);
    let mounts = others.map(|(content, inside)| folders.mount(*content, inside));
    let mut mounts = mounts.collect::<Result<Vec<_>, _>>()?;
    mounts.extend(spec.files.keys().enumerate().map(|(n, inside)| Mount {
        host: file(folders.files, n),
        inside: inside.clone(),
        is_writable: false,
    }));
    let shared: Vec<_> = (0..spec.shared.len()).map(|n| folders.shared_dir(n)).collect();
    mounts.extend(spec.shared.iter().zip(&shared).map(|(inside, host)| Mount {
        host: host.clone(),
        inside: inside.clone(),
        is_writable: true,
    }));
    let counted = |caches: &Mounted| CountedCache {
        folder: caches.counted.clone(),
        bytes_max: caches.user_bytes_max,
    };
    let results = folders.mount(Content::Results, results)?;
    let timeout = work.task_timeout_secs.map(|secs| Duration::from_secs(secs.into()));
    let launch = |program: &Program, needs: Resources, is_watched: bool| {
        Ok(Launch {
            lease,
            workspace: work.workspace,
            name: program.name.clone(),
            image: usize::from(program.image),
            entry: entry(&program.command, spec, folders.app)?,
            env: variables([&spec.environment, environment, &program.environment]),
            redactor: Redactor::default(),
            working_dir: program.working_dir.clone(),
            mounts: mounts.clone(),
            results: results.clone(),
            shared: shared.clone(),
            cache: folders.caches.map(counted),
            profile: spec.profile,
            connection: match spec.network {
                Network::None => Connection::None,
                Network::Internet => Connection::Owners,
            },
            hosts: Vec::new(),
            needs,
            gpu: None,
            timeout: timeout.filter(|_| !is_watched),
            share: Arc::clone(share),
            beside: Vec::new(),
            is_watched,
        })
    };
    let needs = spec.needs_of_steps(work.needs);
    let steps = spec.steps.iter().map(|step| launch(step, needs, false));
    let sides = spec.sides.iter().map(|side| {
        Ok(LaunchSide { launch: launch(&side.program, side.needs, true)?, port: side.port })
    });
    Ok(Launches {
        spec: spec.clone(),
        steps: steps.collect::<Result<_, Error>>()?,
        sides: sides.collect::<Result<_, Error>>()?,
    })
}

/// Variables of several sources, of which the later ones count.
fn variables(sources: [&Environment; 3]) -> Vec<String> {
    let all = sources.into_iter().flat_map(Environment::pairs).collect::<BTreeMap<_, _>>();
    all.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// Writes the task's files, each to be mounted at its own path. Scripts among them can be run by
/// their paths.
pub fn write_files(spec: &ContainerSpec, folder: &Path) -> io::Result<()> {
    if spec.files.is_empty() {
        return Ok(());
    }
    dir_with_mode(folder, 0o755)?;
    for (n, text) in spec.files.values().enumerate() {
        let host = file(folder, n);
        std::fs::write(&host, text)?;
        std::fs::set_permissions(&host, Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// Where the task's file of this number is written.
pub fn file(folder: &Path, n: usize) -> PathBuf {
    folder.join(n.to_string())
}

/// What a program is started with. A file of the package must be one of its own, which are plain
/// ones, as the archive's reader made sure, and have something to run: no bytes are what a lost
/// disk leaves.
fn entry(command: &Command, spec: &ContainerSpec, app: Option<&Path>) -> Result<Entry, Error> {
    let (path, interpreters) = match command {
        Command::Image => return Ok(Entry::Image),
        Command::Line(words) => return Ok(Entry::Commands(vec![words.clone()])),
        Command::PackageFile { path, interpreters } => (path, interpreters),
    };
    let unusable = |problem: &str| {
        Error::Unusable(format!(
            "the package has {problem} {:?} in its app folder, its entrypoint",
            path.as_str()
        ))
    };
    let file = app.map(|app| app.join(path.as_str())).filter(|file| file.is_file());
    let (Some(file), Some(at)) = (file, spec.mounts.get(&Content::Package)) else {
        return Err(unusable("no file"));
    };
    if file.metadata()?.len() == 0 {
        return Err(unusable("an empty file"));
    }
    Ok(Entry::Commands(interpreter::commands(
        &interpreter::first_line(&file)?,
        at.join(path).as_str(),
        interpreters,
    )))
}

#[cfg(test)]
mod tests;
