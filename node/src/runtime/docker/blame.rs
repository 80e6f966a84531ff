//! Whose fault it is that a container of an image was not made or did not start. All that differs
//! between containers is the customer's, so one question decides: does a container of our own run
//! under the same settings? What the engine says stays in the node's log.

use std::path::Path;
use std::time::Duration;

use common::compute::container::Profile;
use common::compute::resources::Resources;
use common::error_chain::chain;
use common::ids::{RunId, WorkspaceId};
use common::run::task::{Lease, StageNo, TaskRef};
use tokio::time::timeout;

use super::cgroup::Group;
use super::{Docker, Made, failed};
use crate::disk::{Disk, Limits};
use crate::files::tree::Scratch;
use crate::files::tree::dir_with_mode;
use crate::guest;
use crate::logs::redact::Redactor;
use crate::runtime::launch::{Connection, CountedCache};
use crate::runtime::{Entry, Error, Launch, Mount};

/// From making the probe to its end.
const PROBE_WAIT: Duration = Duration::from_secs(20);
/// The most that the probe may write.
const BYTES_MAX: u64 = 1 << 20;
const DOING: &str = "run a container of the node's own";

/// How far a container came that does not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Stuck {
    #[error("no container can be made of the image: engines refuse its configuration")]
    NotMade,
    #[error(
        "the entrypoint cannot be started: the image has no program {0:?}, lacks what it needs, or \
         has a file where containers have a folder"
    )]
    NoProgram(String),
    #[error("the entrypoint cannot be started: the image does not let {0:?} be executed")]
    NotExecutable(String),
    #[error(
        "the container cannot be started: {0:?} may be for another platform, params and secrets \
         may be too large, or something in the image is in the way of the task's folders, /tmp, \
         /proc, /sys or /dev"
    )]
    NotStarted(String),
}

impl Stuck {
    /// Reads the code that engines give to a container that did not start.
    pub(super) fn at_start(code: Option<i64>, program: &str) -> Self {
        let program = program.to_owned();
        match code {
            Some(127) => Self::NoProgram(program),
            Some(126) => Self::NotExecutable(program),
            _ => Self::NotStarted(program),
        }
    }
}

impl Docker {
    /// Finds out whether this machine can run containers at all, with nothing of a customer's.
    ///
    /// # Errors
    ///
    /// An engine or a disk that is at fault.
    pub async fn probe(&self, temporary: &Path) -> Result<(), Error> {
        let scratch = Scratch::new(temporary)?;
        let mount =
            |name: &str, inside, is_writable| Mount::own(scratch.0.join(name), inside, is_writable);
        let app = mount("app", "/files/app", false);
        let results = mount("results", "/files/results", true);
        let user_cache = mount("cache", "/files/cache", true);
        dir_with_mode(&app.host, 0o755)?;
        let workspace = WorkspaceId::new(uuid::Uuid::nil());
        self.writable_dir(&results.host, workspace, Profile::Sealed)?;
        self.writable_dir(&user_cache.host, workspace, Profile::Sealed)?;
        // Apart from what tasks get: the probe runs on a full disk, too.
        let limits = Limits { budget: 8 * BYTES_MAX, keep_free: 0 };
        let share = Disk::open(&scratch.0, limits)?.share(0, 0, BYTES_MAX);
        let share = share.ok_or_else(|| failed(DOING, "there is no room"))?;
        let task = TaskRef { run: RunId::new(uuid::Uuid::nil()), stage: StageNo::new(0), index: 0 };
        let launch = Launch {
            lease: Lease { task, attempt: 0 },
            workspace,
            name: String::new(),
            image: 0,
            entry: Entry::Image,
            env: Vec::new(),
            redactor: Redactor::default(),
            working_dir: Some(app.inside.clone()),
            cache: Some(CountedCache { folder: user_cache.host.clone(), bytes_max: BYTES_MAX }),
            mounts: vec![app, user_cache],
            results,
            shared: Vec::new(),
            profile: Profile::Sealed,
            connection: Connection::None,
            hosts: Vec::new(),
            needs: Resources::new(1000, 64),
            gpu: None,
            timeout: Some(PROBE_WAIT),
            share,
            beside: Vec::new(),
            is_watched: false,
        };
        self.probe_like(&launch, self.cgroups.group()).await
    }

    /// The error of a container that did not run: the customer's or the node's.
    pub(super) async fn blamed(&self, launch: &Launch, stuck: Stuck, error: Error) -> Error {
        match self.probe_like(launch, self.cgroups.group()).await {
            Ok(()) => {
                tracing::info!(error = %chain(&error), "an image cannot be used: a probe runs");
                Error::Unusable(stuck.to_string())
            }
            Err(_) if self.cgroups.are_used() && self.probe_like(launch, None).await.is_ok() => {
                self.cgroups.give_up();
                tracing::warn!(
                    "the engine runs no container in a control group that the node has \
                                made for it: what tasks use is sampled from now on"
                );
                error
            }
            Err(probed) => {
                tracing::warn!(error = %chain(&probed), "no container runs, not even a probe");
                error
            }
        }
    }

    /// Runs the probe under a container's settings, in this control group.
    async fn probe_like(&self, launch: &Launch, group: Option<Group>) -> Result<(), Error> {
        let launch = Launch { env: Vec::new(), ..launch.clone() };
        let image = self.probe_image().await?;
        let command = [super::images::PROBE_PROGRAM.to_owned()];
        let made = self.create_in(group, &launch, &image, Some(&command)).await?;
        let ran = timeout(PROBE_WAIT, self.run_probe(&made)).await;
        self.remove(&made).await;
        ran.unwrap_or_else(|_| Err(failed(DOING, "it did not end")))
    }

    async fn run_probe(&self, made: &Made) -> Result<(), Error> {
        let _begun = self.begin(made).await?;
        match self.exit(&made.id).await? {
            guest::PROBE_CODE => Ok(()),
            code => Err(failed(DOING, format!("it ended with code {code}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_code_of_a_container_that_did_not_start_gives_the_reason() {
        let program = || "python3".to_owned();
        for (code, stuck) in [
            (Some(127), Stuck::NoProgram(program())),
            (Some(126), Stuck::NotExecutable(program())),
            (Some(128), Stuck::NotStarted(program())),
            (Some(0), Stuck::NotStarted(program())),
            (None, Stuck::NotStarted(program())),
        ] {
            assert_eq!(Stuck::at_start(code, "python3"), stuck);
        }
    }
}
