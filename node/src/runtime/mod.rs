//! How customers' code runs. This file knows the contract that packages are written for; the
//! engine behind `docker` knows nothing of it.

pub mod docker;
mod interpreter;

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::compute::resources::{Resources, Usage};
use common::ids::WorkspaceId;
use common::plan::{Contract, Image};
use common::protocol::{Inputs, Work};
use common::run::task::Lease;
use common::secret::{self, Secret};

use crate::caches::Mounted;
use crate::disk::Share;
use crate::redact::Redactor;

/// Where everything of the contract is.
const CONTRACT: &str = "/opt/fanfold";
const APP: &str = "/opt/fanfold/app";
const USER_CACHE: &str = "/opt/fanfold/cache/user";
const SHARED_CACHE: &str = "/opt/fanfold/cache/shared";

/// A container to be run.
#[derive(Debug, Clone)]
pub struct Launch {
    pub lease: Lease,
    pub workspace: WorkspaceId,
    /// Commands for the same thing; the next is tried where the image lacks the one before.
    pub commands: Vec<Vec<String>>,
    pub env: Vec<String>,
    /// Takes the secrets among the variables out of what the container says.
    pub redactor: Redactor,
    /// Read-only, then the two folders that can be written to.
    pub mounts: Vec<Mount>,
    pub results: Mount,
    pub user_cache: Mount,
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
}

/// A folder of the host, as the container sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    pub host: PathBuf,
    pub inside: &'static str,
}

/// How a container ended, and what it used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    pub ending: Ending,
    pub usage: Usage,
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
    Fetch(#[from] crate::transfer::Error),
    #[error("the node's disk")]
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
    pub caches: &'a Mounted,
}

/// What the contract says: where things are inside, and the variables for them.
pub fn launch(
    lease: Lease,
    work: &Work,
    reads: &Inputs,
    folders: Folders<'_>,
    share: Arc<Share>,
) -> Result<Launch, Error> {
    let commands = commands(&work.image, &work.entrypoint, folders.app)?;
    let (inputs, results, params) = match work.contract {
        Contract::Partition => (
            ("/opt/fanfold/source", &["SOURCE_DIR"][..]),
            ("/opt/fanfold/chunks", "CHUNKS_DIR"),
            "PARTITIONER_PARAMS",
        ),
        Contract::Process => (
            ("/opt/fanfold/task", &["TASK_DIR"][..]),
            ("/opt/fanfold/results", "TASK_RESULTS_DIR"),
            "APP_PARAMS",
        ),
        Contract::Assemble => (
            ("/opt/fanfold/results", &["TASK_RESULTS_DIR", "RESULTS_DIR"][..]),
            ("/opt/fanfold/output", "OUTPUT_DIR"),
            "ASSEMBLER_PARAMS",
        ),
    };
    // Programs ask for their user's name, and the user has no entry in the image's list.
    let user = ["HOME=/tmp", "USER=fanfold", "LOGNAME=fanfold"].map(str::to_owned);
    let mut env = Vec::from(user);
    env.push(format!("{params}={}", params_text(&work.params)));
    env.extend(inputs.1.iter().map(|name| format!("{name}={}", inputs.0)));
    env.push(format!("{}={}", results.1, results.0));
    env.push(format!("USER_CACHE_DIR={USER_CACHE}"));
    env.push(format!("SHARED_CACHE_DIR={SHARED_CACHE}"));
    if work.contract == Contract::Process {
        env.push(format!("CHUNK_NUMBER={}", lease.task.index));
        if let Inputs::Chunk { name, key, .. } = reads {
            env.push(format!("CHUNK_NAME={name}"));
            env.push(format!("CHUNK_KEY={key}"));
        }
    }
    Ok(Launch {
        lease,
        workspace: work.workspace,
        commands,
        env,
        redactor: Redactor::default(),
        mounts: vec![
            Mount { host: folders.app.to_owned(), inside: APP },
            Mount { host: folders.inputs.to_owned(), inside: inputs.0 },
            Mount { host: folders.caches.shared.clone(), inside: SHARED_CACHE },
        ],
        results: Mount { host: folders.results.to_owned(), inside: results.0 },
        user_cache: Mount { host: folders.caches.user.clone(), inside: USER_CACHE },
        user_cache_counted: folders.caches.counted.clone(),
        user_cache_bytes_max: folders.caches.user_bytes_max,
        needs: work.needs,
        gpu: None,
        timeout: work.task_timeout_secs.map(|secs| Duration::from_secs(secs.into())),
        share,
    })
}

/// Scripts fail on an empty variable, so there is always an object.
fn params_text(params: &str) -> &str {
    if params.trim().is_empty() { "{}" } else { params }
}

/// The entrypoint as a path below the app folder, if it is one.
pub fn entrypoint(name: &str) -> Option<PathBuf> {
    let path = Path::new(name);
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    (plain && !name.is_empty() && !name.contains('\0')).then(|| path.to_owned())
}

/// What runs an entrypoint. It must be one of the package's own files, which are plain ones, as the
/// archive's reader made sure, and have something to run: no bytes are what a lost disk leaves.
fn commands(image: &Image, name: &str, app: &Path) -> Result<Vec<Vec<String>>, Error> {
    let unusable = |problem: &str| {
        Error::Unusable(format!(
            "the package has {problem} {name:?} in its app folder, its entrypoint"
        ))
    };
    let path = entrypoint(name).filter(|path| app.join(path).is_file());
    let path = path.ok_or_else(|| unusable("no file"))?;
    let file = app.join(&path);
    if file.metadata()?.len() == 0 {
        return Err(unusable("an empty file"));
    }
    let inside = Path::new(APP).join(path).to_string_lossy().into_owned();
    let by_suffix = !matches!(image, Image::Binary);
    Ok(interpreter::commands(&interpreter::first_line(&file)?, &inside, by_suffix))
}

#[cfg(test)]
mod tests {
    use common::digest::Digest;
    use common::ids::RunId;
    use common::run::task::{StageNo, TaskRef};

    use super::*;

    fn image() -> Image {
        let image = format!("python@sha256:{}", Digest::of(b"")).parse().unwrap();
        Image::Registry { image, secret: None }
    }

    fn work(contract: Contract, entrypoint: &str) -> Work {
        Work {
            run: RunId::new(uuid::Uuid::from_u128(1)),
            workspace: crate::testing::WORKSPACE,
            package_owner: crate::testing::WORKSPACE,
            stage: StageNo::new(2),
            contract,
            package: Digest::of(b""),
            image: image(),
            entrypoint: entrypoint.into(),
            secrets: false,
            needs: Resources::new(1000, 256),
            params: r#"{"a":1}"#.into(),
            task_timeout_secs: None,
        }
    }

    fn launched(work: &Work) -> Result<Launch, Error> {
        let app = tempfile::tempdir().unwrap();
        std::fs::write(app.path().join("main.py"), "print()").unwrap();
        std::fs::write(app.path().join("empty.py"), "").unwrap();
        std::fs::write(app.path().join("run.sh"), "#!/bin/bash\r\nset -o pipefail\r\n").unwrap();
        let task = TaskRef { run: work.run, stage: work.stage, index: 7 };
        let caches = Mounted::of_tests(Path::new("/u"), Path::new("/s"), 1);
        let (inputs, results) = (Path::new("/i"), Path::new("/r"));
        let folders = Folders { app: app.path(), inputs, results, caches: &caches };
        let reads = match work.contract {
            Contract::Process => {
                Inputs::Chunk { bytes: 1, name: "café.csv".into(), key: "in/café.csv".into() }
            }
            Contract::Partition | Contract::Assemble => Inputs::Files,
        };
        let share = crate::testing::share(1);
        launch(Lease { task, attempt: 1 }, work, &reads, folders, share)
    }

    #[test]
    fn each_contract_has_its_variables() {
        let cases = [
            (
                Contract::Partition,
                "SOURCE_DIR=/opt/fanfold/source CHUNKS_DIR=/opt/fanfold/chunks \
                 PARTITIONER_PARAMS={\"a\":1}",
            ),
            (
                Contract::Process,
                "TASK_DIR=/opt/fanfold/task TASK_RESULTS_DIR=/opt/fanfold/results \
                 APP_PARAMS={\"a\":1} CHUNK_NUMBER=7 CHUNK_NAME=café.csv \
                 CHUNK_KEY=in/café.csv",
            ),
            (
                Contract::Assemble,
                "TASK_RESULTS_DIR=/opt/fanfold/results RESULTS_DIR=/opt/fanfold/results \
                 OUTPUT_DIR=/opt/fanfold/output ASSEMBLER_PARAMS={\"a\":1}",
            ),
        ];
        for (contract, expected) in cases {
            let mut env = launched(&work(contract, "main.py")).unwrap().env;
            let mut expected: Vec<_> = expected.split(' ').map(str::to_owned).collect();
            expected.extend(["HOME=/tmp", "USER=fanfold", "LOGNAME=fanfold"].map(str::to_owned));
            expected.push("USER_CACHE_DIR=/opt/fanfold/cache/user".into());
            expected.push("SHARED_CACHE_DIR=/opt/fanfold/cache/shared".into());
            env.sort();
            expected.sort();

            assert_eq!(env, expected);
        }
    }

    #[test]
    fn params_are_never_empty() {
        let env = launched(&Work { params: " ".into(), ..work(Contract::Process, "main.py") })
            .unwrap()
            .env;

        assert!(env.contains(&"APP_PARAMS={}".to_owned()));
    }

    #[test]
    fn an_entrypoint_is_a_file_of_the_app_folder() {
        for name in ["", "other.py", "empty.py", "../main.py", "/etc/passwd", ".", "a/../../b"] {
            let result = launched(&work(Contract::Process, name));

            assert!(matches!(result, Err(Error::Unusable(_))), "{name}");
        }
    }

    #[test]
    fn an_entrypoint_is_run_by_what_its_first_line_names() {
        let command =
            |name: &str| launched(&work(Contract::Process, name)).unwrap().commands[0].join(" ");

        assert_eq!(command("run.sh"), "/bin/bash /opt/fanfold/app/run.sh");
        assert_eq!(command("main.py"), "python3 /opt/fanfold/app/main.py");
    }
}
