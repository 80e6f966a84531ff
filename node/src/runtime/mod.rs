//! How customers' code runs: what the server has compiled, put together with this machine's
//! folders. The engine behind `docker` knows nothing of packages and tasks.

pub mod docker;
mod interpreter;

use std::collections::VecDeque;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::compute::container::{Command, ContainerPath, ContainerSpec, Content};
use common::compute::environment::Environment;
use common::compute::resources::{Resources, Usage};
use common::ids::WorkspaceId;
use common::protocol::Work;
use common::run::task::Lease;
use common::secret::{self, Secret};

use crate::disk::Share;
use crate::files::tree::dir_with_mode;
use crate::logs::redact::Redactor;
use crate::storage::caches::Mounted;

/// Commands for the same thing; the next is tried where the image lacks the one before.
pub type Commands = Vec<Vec<String>>;

/// A container to be run.
#[derive(Debug, Clone)]
pub struct Launch {
    pub lease: Lease,
    pub workspace: WorkspaceId,
    pub commands: Commands,
    /// What runs after it, each in a container of its own.
    pub later: VecDeque<Commands>,
    pub env: Vec<String>,
    /// Takes the secrets among the variables out of what the container says.
    pub redactor: Redactor,
    pub working_dir: ContainerPath,
    /// All but the one for results.
    pub mounts: Vec<Mount>,
    pub results: Mount,
    /// What counts against `user_cache_bytes_max`.
    pub user_cache_counted: PathBuf,
    /// The most bytes that the workspace's cache may have.
    pub user_cache_bytes_max: u64,
    pub needs: Resources,
    /// The engine's name of the GPU that it gets.
    pub gpu: Option<String>,
    pub timeout: Option<Duration>,
    /// What it may write.
    pub share: Arc<Share>,
}

impl Launch {
    /// Gives secrets to the container. Whoever may ask this machine's engine can read them there
    /// as long as the container lasts: a node's owner is trusted with what his node runs.
    pub fn give(&mut self, secrets: &[Secret]) {
        self.env.extend(secret::variables(secrets));
        self.redactor = Redactor::new(secrets);
    }

    /// Goes on to the next container, if there is one. All together have the time of the task.
    pub fn next_step(&mut self, ran: Duration) -> bool {
        let Some(commands) = self.later.pop_front() else { return false };
        self.commands = commands;
        self.timeout = self.timeout.map(|timeout| timeout.saturating_sub(ran));
        true
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

/// How a container ended, and what it used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    pub ending: Ending,
    pub usage: Usage,
}

impl Ended {
    /// Writes to the log how the container ended, and what it used.
    pub fn log(&self) {
        let Usage { wall_ms, cpu_ms, memory_peak_bytes, .. } = self.usage;
        let (ending, code) = (self.ending.as_str(), self.ending.code());
        tracing::info!(ending, code, wall_ms, cpu_ms, memory_peak_bytes, "container ended");
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Exited(i64),
    /// It was ended from outside, or by itself as if it were: its code tells no more.
    Killed(i64),
    /// Something on this machine has taken it away.
    Lost(&'static str),
    Timeout,
    OutOfMemory,
    /// It wrote to its output faster than any log can take, for too long.
    TooMuchOutput,
    /// It wrote more than its package asks for.
    TooMuchWritten,
    /// The node's disk had too little free space left, and it had written most.
    DiskLow,
    /// Its workspace's cache has grown beyond what it may have.
    CacheFull,
    /// It was told to.
    Stopped,
}

impl Ending {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exited(_) => "exited",
            Self::Killed(_) => "killed",
            Self::Lost(_) => "lost",
            Self::Timeout => "timeout",
            Self::OutOfMemory => "out of memory",
            Self::TooMuchOutput => "too much output",
            Self::TooMuchWritten => "too much written",
            Self::DiskLow => "disk low",
            Self::CacheFull => "cache full",
            Self::Stopped => "stopped",
        }
    }

    /// The exit code of a container that was not ended by the node.
    pub const fn code(self) -> Option<i64> {
        match self {
            Self::Exited(code) | Self::Killed(code) => Some(code),
            Self::Lost(_)
            | Self::Timeout
            | Self::OutOfMemory
            | Self::TooMuchOutput
            | Self::TooMuchWritten
            | Self::DiskLow
            | Self::CacheFull
            | Self::Stopped => None,
        }
    }

    /// Whether it was ended for what it wrote.
    pub const fn is_by_disk(self) -> bool {
        matches!(self, Self::TooMuchWritten | Self::DiskLow | Self::CacheFull)
    }
}

/// A container did not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The customer's package or image is at fault.
    #[error("{0}")]
    Unusable(String),
    /// The image cannot be pulled with what its server gave for it.
    #[error("{0}")]
    Unpullable(String),
    /// The image cannot be pulled.
    #[error(transparent)]
    Registry(#[from] crate::registry::Error),
    /// The node is at fault. What the engine says may be a stranger's words: it is for the node's
    /// owner alone.
    #[error("the container engine cannot {doing}")]
    Engine { doing: &'static str, source: Said },
    #[error("{0} was removed from the container engine before it could run")]
    Removed(&'static str),
    #[error("the image cannot be fetched")]
    Fetch(#[from] crate::server_client::transfer::Error),
    #[error("node disk error")]
    Io(#[from] std::io::Error),
}

/// What a container engine says.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Said(pub String);

/// The folders of an attempt on the host.
#[derive(Debug, Clone, Copy)]
pub struct Folders<'a> {
    pub app: &'a Path,
    pub inputs: &'a Path,
    pub results: &'a Path,
    /// Where the task's files are written.
    pub files: &'a Path,
    pub caches: &'a Mounted,
}

impl Folders<'_> {
    fn host(&self, content: Content) -> &Path {
        match content {
            Content::Package => self.app,
            Content::Inputs => self.inputs,
            Content::Results => self.results,
            Content::WorkspaceCache => &self.caches.user,
            Content::SharedCache => &self.caches.shared,
        }
    }

    fn mount(&self, content: Content, inside: &ContainerPath) -> Mount {
        let host = self.host(content).to_owned();
        Mount { host, inside: inside.clone(), is_writable: content.is_writable() }
    }
}

/// What the server has compiled, on this machine. `environment` is the task's own.
pub fn launch(
    lease: Lease,
    work: &Work,
    environment: &Environment,
    folders: Folders<'_>,
    share: Arc<Share>,
) -> Result<Launch, Error> {
    let spec = &work.container;
    let steps = spec.steps.iter().map(|step| commands(step, spec, folders.app));
    let mut steps = steps.collect::<Result<VecDeque<_>, _>>()?;
    let commands = steps.pop_front().ok_or_else(|| Error::Unusable("has no steps".into()))?;
    let results = spec.mounts.get(&Content::Results);
    let results = results.ok_or_else(|| Error::Unusable("has no folder for results".into()))?;
    let others = spec.mounts.iter().filter(|(content, _)| **content != Content::Results);
    let mut mounts: Vec<_> =
        others.map(|(content, inside)| folders.mount(*content, inside)).collect();
    mounts.extend(written(spec, folders.files)?);
    Ok(Launch {
        lease,
        workspace: work.workspace,
        commands,
        later: steps,
        env: spec.environment.variables().chain(environment.variables()).collect(),
        redactor: Redactor::default(),
        working_dir: spec.working_dir.clone(),
        mounts,
        results: folders.mount(Content::Results, results),
        user_cache_counted: folders.caches.counted.clone(),
        user_cache_bytes_max: folders.caches.user_bytes_max,
        needs: work.needs,
        gpu: None,
        timeout: work.task_timeout_secs.map(|secs| Duration::from_secs(secs.into())),
        share,
    })
}

/// Writes the task's files, each to be mounted at its own path.
fn written(spec: &ContainerSpec, folder: &Path) -> Result<Vec<Mount>, Error> {
    if spec.files.is_empty() {
        return Ok(Vec::new());
    }
    dir_with_mode(folder, 0o755)?;
    let files = (0..).zip(&spec.files).map(|(n, (inside, text)): (usize, _)| {
        let host = folder.join(n.to_string());
        std::fs::write(&host, text)?;
        std::fs::set_permissions(&host, Permissions::from_mode(0o644))?;
        Ok(Mount { host, inside: inside.clone(), is_writable: false })
    });
    files.collect()
}

/// The commands of a step. A file of the package must be one of its own, which are plain ones, as
/// the archive's reader made sure, and have something to run: no bytes are what a lost disk leaves.
fn commands(step: &Command, spec: &ContainerSpec, app: &Path) -> Result<Commands, Error> {
    let (path, interpreters) = match step {
        Command::Line(words) => return Ok(vec![words.clone()]),
        Command::PackageFile { path, interpreters } => (path, interpreters),
    };
    let unusable = |problem: &str| {
        Error::Unusable(format!(
            "the package has {problem} {:?} in its app folder, its entrypoint",
            path.as_str()
        ))
    };
    let file = app.join(path.as_str());
    let Some(at) = spec.mounts.get(&Content::Package).filter(|_| file.is_file()) else {
        return Err(unusable("no file"));
    };
    if file.metadata()?.len() == 0 {
        return Err(unusable("an empty file"));
    }
    Ok(interpreter::commands(
        &interpreter::first_line(&file)?,
        at.join(path).as_str(),
        interpreters,
    ))
}

#[cfg(test)]
mod tests {
    use common::compute::container::Parts;

    use super::*;
    use crate::testing::{lease, number, parts, work};

    fn file(path: &str) -> Command {
        Command::PackageFile {
            path: path.parse().unwrap(),
            interpreters: vec!["python3".to_owned()],
        }
    }

    fn launched(parts: Parts) -> Result<Launch, Error> {
        let dir = tempfile::tempdir().unwrap();
        let app = dir.path().join("app");
        std::fs::create_dir(&app).unwrap();
        std::fs::write(app.join("main.py"), "print()").unwrap();
        std::fs::write(app.join("empty.py"), "").unwrap();
        std::fs::write(app.join("run.sh"), "#!/bin/bash\r\nset -o pipefail\r\n").unwrap();
        let caches = Mounted::of_tests(Path::new("/u"), Path::new("/s"), 1);
        let (inputs, results, files) = (Path::new("/i"), Path::new("/r"), dir.path().join("files"));
        let folders = Folders { app: &app, inputs, results, files: &files, caches: &caches };
        let work = Work { container: ContainerSpec::new(parts).unwrap(), ..work() };
        let environment = number(7);
        let launch = launch(lease(7), &work, &environment, folders, crate::testing::share(1))?;
        for mount in launch.mounts.iter().filter(|mount| mount.host.starts_with(&files)) {
            assert_eq!(std::fs::read_to_string(&mount.host).unwrap(), mount.inside.as_str());
        }
        Ok(launch)
    }

    #[test]
    fn launch_mounts_the_paths_of_the_server() {
        let at = |path: &str| path.parse::<ContainerPath>().unwrap();
        let mounts = [
            (Content::Package, at("/x/package")),
            (Content::Inputs, at("/x/in")),
            (Content::Results, at("/x/out")),
            (Content::WorkspaceCache, at("/y")),
        ];
        let files = ["/x/a", "/x/b"].map(|path| (at(path), path.to_owned()));

        let launch = launched(Parts {
            steps: vec![file("main.py")],
            working_dir: at("/z"),
            mounts: mounts.into(),
            files: files.into(),
            ..parts()
        })
        .unwrap();

        let mounted: Vec<_> =
            launch.mounts.iter().map(|m| (m.inside.as_str(), m.is_writable)).collect();
        let expected = [
            ("/x/package", false),
            ("/x/in", false),
            ("/y", true),
            ("/x/a", false),
            ("/x/b", false),
        ];
        assert_eq!(mounted, expected);
        assert_eq!(launch.results, Mount::own("/r".into(), "/x/out", true));
        assert_eq!(launch.working_dir, at("/z"));
        assert_eq!(launch.commands[0], ["python3", "/x/package/main.py"]);
        assert!(launch.env.contains(&"NUMBER=7".to_owned()));
    }

    #[test]
    fn launch_refuses_a_file_that_the_package_does_not_have() {
        for name in ["other.py", "empty.py", "main.py/x"] {
            let result = launched(Parts { steps: vec![file("main.py"), file(name)], ..parts() });

            assert!(matches!(result, Err(Error::Unusable(_))), "{name}");
        }
    }

    #[test]
    fn launch_completes_its_steps_within_the_time_of_the_task() {
        let line = Command::Line(vec!["echo".to_owned()]);
        let steps = vec![file("run.sh"), line];
        let mut launch = launched(Parts { steps, ..parts() }).unwrap();
        launch.timeout = Some(Duration::from_secs(5));
        assert_eq!(launch.commands[0][0], "/bin/bash");

        assert!(launch.next_step(Duration::from_secs(3)));
        assert_eq!(
            (&launch.commands[0], launch.timeout),
            (&vec!["echo".to_owned()], Some(Duration::from_secs(2)))
        );
        assert!(!launch.next_step(Duration::from_secs(3)));
    }
}
