//! Containers through the Docker engine's API.
//!
//! Everything a container is not needed to do it is not able to do: no network, a read-only root,
//! no capabilities, no way to gain privileges, few system calls, not root, and a limit on CPU,
//! memory, processes, open files, results and temporary files.

mod blame;
mod cgroup;
mod checks;
mod confinement;
mod finish;
mod fitness;
mod host;
mod images;
mod meter;
mod network;
mod output;
mod presence;
mod root;
mod samples;
mod shelf;
mod supervised;
mod watch;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker as Client;
use bollard::container::AttachContainerResults;
use bollard::errors::Error as EngineError;
use bollard::models::{ContainerCreateBody, HealthConfig, HostConfig, SystemInfo};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, KillContainerOptions,
    ListContainersOptionsBuilder, WaitContainerOptions,
};
use common::compute::container::Profile;
use common::compute::device::Device;
use common::compute::environment::{VARIABLE_BYTES_MAX, VARIABLES_BYTES_MAX};
use common::compute::exit;
use common::error_chain::chain;
use common::ids::WorkspaceId;
use futures::StreamExt as _;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::doctor::{self, Check};
use crate::files::tree::dir_with_mode;
use crate::files::users::Users;
use crate::logs::LogBook;
use crate::runtime::launch::Connection;
use crate::runtime::{Ended, Ending, EngineWords, Entry, Error, Launch};
use blame::Stuck;
use cgroup::{Cgroups, Group};
use confinement::Confinement;
use images::Ready;
pub use images::{Images, Ready as Image};
use meter::{Baseline, Meter, Told};
pub use network::{Allowed, Shared as SharedNetwork};
pub use output::Piece;
use output::{Pace, Said, Signals, pieces, pump};
use presence::{Left, Presence};
pub use root::Root;
pub use samples::{Samples, now_us};
use shelf::Shelf;
pub use supervised::Removal;
use watch::watch;

const LABEL: &str = "fanfold.node";
/// How long a killed container and the rest of its output may take.
const OUTPUT_GRACE: Duration = Duration::from_secs(10);
/// How often a container that is being started is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// The container engine of this machine, as one node uses it.
#[derive(Debug)]
pub struct Docker {
    client: Client,
    /// What the node's containers are labelled with.
    label: String,
    users: Users,
    confinement: Confinement,
    cgroups: Cgroups,
    images: Images,
    shelf: Shelf,
    allowed: Allowed,
    samples: Samples,
    presence: Presence,
    left: Left,
}

/// A container that is there, started or not.
#[derive(Debug)]
pub struct Made {
    id: String,
    group: Option<Arc<Group>>,
}

impl Made {
    /// What the engine calls it.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// A container that has been started.
struct Begun {
    output: AttachContainerResults,
    baseline: Baseline,
}

impl Docker {
    /// Connects to the local engine, which must be able to confine containers.
    pub async fn connect(
        label: String,
        users: Users,
        images: Images,
        allowed: Allowed,
    ) -> Result<Self, NotConnected> {
        let (client, info) = reach().await?;
        let confinement = Confinement::of(&info).map_err(NotConnected::Unconfined)?;
        let users = if confinement.maps_users { Users::Mapped } else { users };
        let cgroups = Cgroups::of(&info, &label);
        Ok(Self {
            client,
            label,
            users,
            confinement,
            cgroups,
            images,
            shelf: Shelf::default(),
            allowed,
            samples: Samples::default(),
            presence: Presence::default(),
            left: Left::default(),
        })
    }

    /// Makes a folder that containers of this workspace can write to, in one that is private.
    pub fn writable_dir(
        &self,
        path: &Path,
        workspace: WorkspaceId,
        profile: Profile,
    ) -> io::Result<()> {
        match profile {
            Profile::Sealed => self.users.writable_dir(path, workspace),
            // Its user is the image's, who may be anybody.
            Profile::Plain => dir_with_mode(path, 0o777),
        }
    }

    /// What running attempts use.
    pub const fn samples(&self) -> &Samples {
        &self.samples
    }

    /// What the engine's machine has.
    pub async fn machine(&self) -> Result<Device, Error> {
        let info = self.client.info().await.map_err(engine("describe its machine"))?;
        let mib = info.mem_total.map_or(1024, |bytes| bytes >> 20);
        let version = info.server_version.unwrap_or_default();
        Ok(Device {
            os: info.operating_system.unwrap_or_default(),
            cores: info.ncpu.and_then(|n| u32::try_from(n).ok()).unwrap_or(1),
            memory_mib: u32::try_from(mib).unwrap_or(u32::MAX),
            engine: format!("Docker {version}").trim_end().to_owned(),
            ..Device::default()
        })
    }

    /// Removes every container that this node made and that is still there: an earlier process
    /// of it was killed.
    pub async fn remove_leftovers(&self) -> Result<usize, Error> {
        let filters = HashMap::from([("label", vec![format!("{LABEL}={}", self.label)])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let left = self
            .client
            .list_containers(Some(options))
            .await
            .map_err(engine("list its containers"))?;
        for container in &left {
            let id = container.id.clone().unwrap_or_default();
            self.remove(&Made { id, group: None }).await;
        }
        self.cgroups.sweep();
        Ok(left.len())
    }

    /// Makes a container, which costs next to nothing until it is started. Whoever asked for it
    /// removes it.
    pub async fn make(&self, launch: &Launch, image: &Ready) -> Result<Made, Error> {
        let command = match &launch.entry {
            Entry::Image => None,
            Entry::Commands(commands) => Some(
                commands
                    .first()
                    .ok_or_else(|| Error::Unusable("the package gives nothing to run".into()))?,
            ),
        };
        self.check_allowed(launch)?;
        check_variables(launch)?;
        match self.create(launch, image, command.map(Vec::as_slice)).await {
            Ok(made) => Ok(made),
            Err(error) => Err(self.not_made(launch, image, error).await),
        }
    }

    /// The error of a container that cannot be made of an image. One that has been removed from
    /// the engine is nobody's but the node's affair.
    async fn not_made(&self, launch: &Launch, image: &Ready, error: Error) -> Error {
        match self.client.inspect_image(&image.id).await {
            Err(EngineError::DockerResponseServerError { status_code: 404, .. }) => {
                Error::Removed("the image")
            }
            Ok(_) | Err(_) => self.blamed(launch, Stuck::NotMade, error).await,
        }
    }

    /// Runs a container to its end, and again with the next command where the image lacks the
    /// one before.
    pub async fn run(
        &self,
        made: &mut Made,
        launch: &Launch,
        image: &Ready,
        logs: &LogBook,
        started: impl FnOnce() + Send,
        stop: &CancellationToken,
    ) -> Result<Ended, Error> {
        let mut commands = match &launch.entry {
            Entry::Image => [].iter(),
            Entry::Commands(commands) => commands.iter(),
        };
        let mut command = commands.next();
        loop {
            let error = match self.begin(made).await {
                Ok(begun) => {
                    started();
                    return self.wait(made, launch, begun, logs, stop).await;
                }
                Err(error) => error,
            };
            let Some(state) = self.state(&made.id).await? else {
                return Err(Error::Removed("the container"));
            };
            let Some(next) = commands.next() else {
                let program =
                    command.and_then(|command| command.first()).map_or("", String::as_str);
                let stuck = Stuck::at_start(state.exit_code, program);
                return Err(self.blamed(launch, stuck, error).await);
            };
            command = Some(next);
            self.remove(made).await;
            *made = match self.create(launch, image, Some(next)).await {
                Ok(made) => made,
                Err(error) => return Err(self.not_made(launch, image, error).await),
            };
        }
    }

    async fn create(
        &self,
        launch: &Launch,
        image: &Ready,
        command: Option<&[String]>,
    ) -> Result<Made, Error> {
        self.create_in(self.cgroups.group(), launch, image, command).await
    }

    async fn create_in(
        &self,
        group: Option<Group>,
        launch: &Launch,
        image: &Ready,
        command: Option<&[String]>,
    ) -> Result<Made, Error> {
        let group = group.map(Arc::new);
        let host = HostConfig {
            cgroup_parent: group.as_ref().map(|group| group.parent()),
            network_mode: Some(self.network_mode(&launch.connection)),
            ..host::config(launch, image)
        };
        let body = ContainerCreateBody {
            image: Some(image.id.clone()),
            entrypoint: command.map(<[String]>::to_vec),
            cmd: command.map(|_| Vec::new()),
            env: Some(confinement::environment(launch)),
            user: match launch.profile {
                Profile::Sealed => Some(self.users.of(launch.workspace).to_string()),
                Profile::Plain => None,
            },
            working_dir: launch.working_dir.as_ref().map(ToString::to_string),
            labels: Some(HashMap::from([
                (LABEL.to_owned(), self.label.clone()),
                ("fanfold.lease".to_owned(), launch.lease.to_string()),
            ])),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            // Without any network, an engine would write no names of hosts.
            network_disabled: Some(
                launch.connection == Connection::None && launch.hosts.is_empty(),
            ),
            // An image's own may be no signal at all.
            stop_signal: Some("SIGKILL".into()),
            // An image's own check would be a second program in the container.
            healthcheck: Some(HealthConfig {
                test: Some(vec!["NONE".into()]),
                ..HealthConfig::default()
            }),
            host_config: Some(self.confinement.applied(host, launch.profile)),
            ..ContainerCreateBody::default()
        };
        let name = format!("fanfold-{}", uuid::Uuid::new_v4().simple());
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        let created = self.client.create_container(Some(options), body).await;
        let created = created.inspect_err(|error| {
            // An engine that broke off may have made it.
            if !matches!(error, EngineError::DockerResponseServerError { .. }) {
                self.left.add(&name);
            }
        });
        Ok(Made { id: created.map_err(engine("create a container"))?.id, group })
    }

    /// Starts a container with its output attached, so that not a line is missed.
    async fn begin(&self, made: &Made) -> Result<Begun, Error> {
        let id = &made.id;
        let options =
            AttachContainerOptionsBuilder::new().stdout(true).stderr(true).stream(true).build();
        let output = self
            .client
            .attach_container(id, Some(options))
            .await
            .map_err(engine("attach to a container"))?;
        let mut baseline = Baseline::default();
        let starting = self.client.start_container(id, None);
        tokio::pin!(starting);
        loop {
            tokio::select! {
                biased;
                started = &mut starting => {
                    started.map_err(engine("start a container"))?;
                    return Ok(Begun { output, baseline });
                }
                () = sleep(LOOK), if made.group.is_some() && baseline.began.is_none() => {
                    made.group.iter().for_each(|group| baseline.look(group));
                }
            }
        }
    }

    /// Waits until a running container has ended, or ends it.
    async fn wait(
        &self,
        Made { id, group }: &Made,
        launch: &Launch,
        Begun { output, baseline }: Begun,
        logs: &LogBook,
        stop: &CancellationToken,
    ) -> Result<Ended, Error> {
        let start = Instant::now();
        let signals = Signals::default();
        let said = Said { logs: logs.clone(), lease: launch.lease, name: launch.name.clone() };
        let pump =
            pump(pieces(output), said, launch.redactor.clone(), Pace::default(), signals.clone());
        let pump = tokio::spawn(pump);
        let meter = Meter::start(self.client.clone(), id.clone(), group.clone(), baseline);
        let _sampling = meter.report(launch.lease, self.samples.clone());
        let exit = self.exit(id);
        tokio::pin!(exit);
        let cut_short = tokio::select! {
            code = &mut exit => Err(code),
            () = stop.cancelled() => Ok(Ending::Stopped),
            () = elapsed(launch.timeout) => Ok(Ending::Timeout),
            () = signals.flooded.cancelled() => Ok(Ending::TooMuchOutput),
            ending = watch(&self.client, id, launch), if !launch.is_watched => Ok(ending),
        };
        let attended = start.elapsed();
        signals.ended.cancel();
        let (ending, state) = match cut_short {
            Err(code) => self.judge(id, code?, launch, group.as_deref()).await?,
            Ok(ending) => {
                // What fills the disk is stopped first: a sample takes a while.
                if !ending.is_by_disk() {
                    meter.sample().await;
                }
                let was_paused = ending == Ending::Timeout && self.is_paused(id).await;
                let ending = if was_paused { finish::PAUSED } else { ending };
                self.kill(id).await;
                // It has ended by itself, or ends now; if not even that, removing it is next.
                let code = timeout(OUTPUT_GRACE, exit).await.ok().and_then(Result::ok);
                let own = code.filter(|code| {
                    launch.is_watched && ending == Ending::Stopped && !exit::KILLED.contains(code)
                });
                let ending = own.map_or(ending, Ending::Exited);
                (ending, self.state(id).await.ok().flatten())
            }
        };
        let wall = finish::wall(state.as_ref(), &baseline, attended);
        if timeout(OUTPUT_GRACE, pump).await.is_err() {
            tracing::warn!("the container's output did not end");
        }
        Ok(Ended { ending, usage: meter.usage(launch.needs, wall, Told::default()) })
    }

    /// Waits for the container's end and gives its exit code.
    async fn exit(&self, id: &str) -> Result<i64, Error> {
        let mut wait = self.client.wait_container(id, None::<WaitContainerOptions>);
        match wait.next().await {
            Some(Ok(response)) => Ok(response.status_code),
            Some(Err(EngineError::DockerContainerWaitError { code, .. })) => Ok(code),
            Some(Err(error)) => Err(engine("wait for a container")(error)),
            None => Err(failed("wait for a container", "the engine closed the connection")),
        }
    }

    async fn kill(&self, id: &str) {
        if let Err(error) = self.client.kill_container(id, None::<KillContainerOptions>).await {
            // As a rule it ended by itself at the same instant.
            tracing::debug!(error = %chain(&error), id, "a container cannot be killed");
        }
    }

    /// Removes a container, whatever it does.
    pub async fn remove(&self, made: &Made) {
        self.left.remove(&self.client, &made.id).await;
    }
}

/// What the local engine lacks to confine containers, and what it has.
pub async fn examine() -> Result<Vec<Check>, Error> {
    Ok(checks::engine(&reach().await?.1))
}

/// The local engine, and what it says of itself.
async fn reach() -> Result<(Client, SystemInfo), Error> {
    let client = Client::connect_with_local_defaults().map_err(engine("be reached"))?;
    let client = client.negotiate_version().await.map_err(engine("be reached"))?;
    let info = client.info().await.map_err(engine("describe its machine"))?;
    Ok((client, info))
}

/// The local engine cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NotConnected {
    #[error("no container engine can be used")]
    Engine(#[from] Error),
    #[error("the container engine cannot confine containers: {}", doctor::listed(.0))]
    Unconfined(Vec<Check>),
}

/// Names what failed, for `map_err`.
fn engine(doing: &'static str) -> impl FnOnce(EngineError) -> Error {
    move |error| failed(doing, error.to_string())
}

fn failed(doing: &'static str, said: impl Into<String>) -> Error {
    Error::Engine { doing, source: EngineWords(said.into()) }
}

/// The kernel takes no longer variables, and not more of them, into a process.
fn check_variables(launch: &Launch) -> Result<(), Error> {
    let bytes: usize = launch.env.iter().map(|text| text.len() + 1).sum();
    let longest = launch.env.iter().map(String::len).max().unwrap_or(0);
    if longest > VARIABLE_BYTES_MAX || bytes > VARIABLES_BYTES_MAX {
        return Err(Error::Unusable("the params and secrets are too large for a container".into()));
    }
    Ok(())
}

async fn elapsed(limit: Option<Duration>) {
    match limit {
        Some(limit) => sleep(limit).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
