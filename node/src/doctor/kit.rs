//! Runs the escape kit in a container exactly as a task of a stranger's.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use common::compute::container::Profile;
use common::compute::resources::Resources;
use common::ids::{RunId, WorkspaceId};
use common::run::task::{Lease, StageNo, TaskRef};
use tokio_util::sync::CancellationToken;

use crate::disk::{self, Disk};
use crate::files::data_dir::{self, DataDir};
use crate::files::tree::dir_with_mode;
use crate::files::users::{self, IdRange, Jobs, Users};
use crate::guest::ESCAPE_KIT;
use crate::logs::LogBook;
use crate::logs::redact::Redactor;
use crate::net::ssrf_guard::SsrfGuard;
use crate::runtime::docker::{Allowed, Docker, Images, NotConnected};
use crate::runtime::launch::{Connection, CountedCache};
use crate::runtime::{self, Ending, Entry, Launch, Mount};

/// More than the kit needs.
const NEEDS: Resources = Resources::new(1000, 512);
const PATIENCE: Duration = Duration::from_secs(120);
const RESULTS_BYTES_MAX: u64 = 1 << 30;
/// Bounds of the disk that the kit never reaches.
const DISK: disk::Limits = disk::Limits { budget: 8 << 30, keep_free: 0 };

/// What came of one try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub name: String,
    /// What the try got, where it was not held.
    pub out: Option<String>,
}

/// The kit did not run to its end.
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
    #[error("the kit cannot be run")]
    Container(#[from] runtime::Error),
    #[error("the kit did not come to its end: {0}")]
    Ended(String),
}

/// Runs the escape kit in a container of this profile, and gives what came of each try.
///
/// # Errors
///
/// Where the container cannot be made, or ends before all was tried.
pub async fn escape_kit(profile: Profile) -> Result<Vec<Outcome>, Error> {
    let folder = tempfile::tempdir()?;
    let data_dir = DataDir::open(folder.path())?;
    let users = Users::new(&data_dir, IdRange::default(), Jobs::OfOne)?;
    let allowed = Allowed { plain: true, network: None };
    let images = Images::new(SsrfGuard::new(false), false, u64::MAX);
    let engine = Docker::connect(data_dir.label(), users, images, allowed).await?;
    let launch = launch(&engine, &data_dir.work(), profile)?;
    let image = engine.scratch().await?;
    let (logs, stop) = (LogBook::default(), CancellationToken::new());

    let mut made = engine.make(&launch, &image).await?;
    let ended = engine.run(&mut made, &launch, &image, &logs, || {}, &stop).await;
    engine.remove(&made).await;

    let text = said(&logs);
    let tried: Vec<_> = text.iter().map(|line| outcome(line)).collect();
    let any_out = tried.iter().any(|outcome| outcome.out.is_some());
    let ending = ended?.ending;
    // One of the tries wants too much memory, and only a failure is judged by that.
    let is_whole =
        matches!(ending, Ending::Exited(0 | 1)) || (ending == Ending::OutOfMemory && any_out);
    if is_whole {
        return Ok(tried);
    }
    Err(Error::Ended(format!("{ending:?} after {:?}", text.last())))
}

fn launch(engine: &Docker, folder: &Path, profile: Profile) -> io::Result<Launch> {
    let share = Disk::open(folder, DISK)?.share(0, 0, RESULTS_BYTES_MAX);
    let share = share.ok_or(io::ErrorKind::StorageFull)?;
    let workspace = WorkspaceId::new(uuid::Uuid::new_v4());
    let task = TaskRef { run: RunId::new(uuid::Uuid::new_v4()), stage: StageNo::new(0), index: 0 };
    let mount =
        |name: &str, inside, is_writable| Mount::own(folder.join(name), inside, is_writable);
    let (app, shared) = (mount("app", "/kit/app", false), mount("shared", "/kit/shared", false));
    for mount in [&app, &shared] {
        dir_with_mode(&mount.host, 0o755)?;
    }
    let program = app.host.join("escape");
    fs::write(&program, ESCAPE_KIT)?;
    fs::set_permissions(&program, Permissions::from_mode(0o755))?;
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
        entry: Entry::Commands(vec![vec!["/kit/app/escape".into()]]),
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

/// Everything that the kit printed.
fn said(logs: &LogBook) -> Vec<String> {
    let mut lines = Vec::new();
    while logs.any_unsent() {
        let batches = logs.batches();
        lines.extend(batches.into_iter().flat_map(|batch| batch.lines).map(|line| line.text));
    }
    lines
}

/// A line of the kit's: `held NAME`, or `out NAME WHY`.
fn outcome(line: &str) -> Outcome {
    if let Some(name) = line.strip_prefix("held ") {
        return Outcome { name: name.to_owned(), out: None };
    }
    let rest = line.strip_prefix("out ").unwrap_or(line);
    let (name, why) = rest.split_once(' ').unwrap_or((rest, "it does not say why"));
    Outcome { name: name.to_owned(), out: Some(why.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_outcome_is_held_only_if_its_line_says_so() {
        assert_eq!(outcome("held mount"), Outcome { name: "mount".into(), out: None });
        for (line, why) in [("out bpf it is made", "it is made"), ("panic", "it does not say why")]
        {
            assert_eq!(outcome(line).out.as_deref(), Some(why), "{line}");
        }
    }
}
