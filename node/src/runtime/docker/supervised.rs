//! Containers whose first process is the node's supervisor, and the tasks that it runs in them.

use std::time::Duration;

use bollard::Docker as Client;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::blame::Stuck;
use super::meter::{Baseline, Meter, Told};
use super::output::{Pace, Said, Signals, pump};
use super::presence::Left;
use super::watch::watch;
use super::{
    Docker, Made, OUTPUT_GRACE, Ready, check_variables, confinement, elapsed, engine, failed,
    finish,
};
use crate::logs::LogBook;
use crate::runtime::warm::link::{Link, Report, told};
use crate::runtime::warm::protocol::{End, Task};
use crate::runtime::{Ended, Ending, Entry, Error, Launch};

/// A signal's number as an exit code.
const SIGNALLED: i64 = 128;
/// The errors of programs that are not there, and of ones that may not be run.
const ENOENT: i32 = 2;
const EACCES: i32 = 13;
const NO_PROGRAM: i64 = 127;
const NOT_EXECUTABLE: i64 = 126;
/// What the supervisor ends with when its node has gone or says what it does not know.
const SUPERVISOR_CODES: [i64; 2] = [80, 81];
/// How long emptying a container may take that somebody waits for.
const CLEAN_PATIENCE: Duration = Duration::from_secs(5);

/// How a task ended in a container that stays.
#[derive(Debug)]
pub struct Attended {
    pub ended: Ended,
    /// The way to the container's supervisor, where nothing is left of the task. Without it, the
    /// container is of no more use.
    pub link: Option<Link>,
}

/// Removes a container of any owner of the engine.
#[derive(Debug, Clone)]
pub struct Removal {
    client: Client,
    left: Left,
}

impl Removal {
    pub async fn remove(&self, made: &Made) {
        self.left.remove(&self.client, &made.id).await;
    }
}

impl Docker {
    pub fn removal(&self) -> Removal {
        Removal { client: self.client.clone(), left: self.left.clone() }
    }

    /// Makes a container that runs the supervisor; `None` where what tasks use there could not be
    /// told apart. `command` is the supervisor's.
    pub async fn make_supervised(
        &self,
        launch: &Launch,
        image: &Ready,
        command: &[String],
    ) -> Result<Option<Made>, Error> {
        self.check_allowed(launch)?;
        // Variables are each task's own: the engine does not get them.
        let launch = Launch { env: Vec::new(), ..launch.clone() };
        let made = match self.create(&launch, image, Some(command)).await {
            Ok(made) => made,
            Err(error) => return Err(self.not_made(&launch, image, error).await),
        };
        if made.group.is_none() {
            self.remove(&made).await;
            return Ok(None);
        }
        Ok(Some(made))
    }

    /// Starts a container with a supervisor.
    pub async fn start_supervised(&self, made: &Made, launch: &Launch) -> Result<(), Error> {
        let Err(error) = self.client.start_container(&made.id, None).await else { return Ok(()) };
        let error = engine("start a container")(error);
        let Some(state) = self.state(&made.id).await? else {
            return Err(Error::Removed("the container"));
        };
        let program = match &launch.entry {
            Entry::Commands(commands) => commands.first().and_then(|command| command.first()),
            Entry::Image => None,
        };
        let stuck = Stuck::at_start(state.exit_code, program.map_or("", String::as_str));
        Err(self.blamed(launch, stuck, error).await)
    }

    /// Runs a task in a container with a supervisor to its end.
    pub async fn attend(
        &self,
        made: &Made,
        mut link: Link,
        launch: &Launch,
        logs: &LogBook,
        started: impl FnOnce() + Send,
        stop: &CancellationToken,
    ) -> Result<Attended, Error> {
        check_variables(launch)?;
        let Made { id, group } = made;
        let group = group.as_ref().ok_or_else(|| failed("meter a container", "it has no group"))?;
        group.begin_peak();
        let baseline = Baseline::of(group);
        let meter = Meter::start(self.client.clone(), id.clone(), Some(group.clone()), baseline);
        let start = Instant::now();
        let sent = link.ask(&task(launch)).await;
        started();
        let _sampling = meter.report(launch.lease, self.samples.clone());
        let signals = Signals::default();
        let said = Said { logs: logs.clone(), lease: launch.lease, name: launch.name.clone() };
        let (report, mut reported) = oneshot::channel();
        let output = told(link, report);
        let pump = pump(output, said, launch.redactor.clone(), Pace::default(), signals.clone());
        let pump = AbortOnDropHandle::new(tokio::spawn(pump));
        let cut_short = tokio::select! {
            report = &mut reported, if sent.is_ok() => Err(report.ok()),
            () = stop.cancelled() => Ok(Ending::Stopped),
            () = elapsed(launch.timeout) => Ok(Ending::Timeout),
            () = signals.flooded.cancelled() => Ok(Ending::TooMuchOutput),
            ending = watch(&self.client, id, launch) => Ok(ending),
            () = std::future::ready(()), if sent.is_err() => Err(None),
        };
        let attended = start.elapsed();
        signals.ended.cancel();
        if let Err(Some(report)) = cut_short {
            // It ends with the report.
            let _ = timeout(OUTPUT_GRACE, pump).await;
            return self.reported(report, launch, &meter).await;
        }
        let ending = match cut_short {
            Ok(ending) => {
                let was_paused = ending == Ending::Timeout && self.is_paused(id).await;
                self.kill(id).await;
                if was_paused { finish::PAUSED } else { ending }
            }
            Err(_) => self.died(made, launch).await?,
        };
        if timeout(OUTPUT_GRACE, pump).await.is_err() {
            tracing::warn!("the container's output did not end");
        }
        let usage = meter.usage(launch.needs, attended, Told::default());
        Ok(Attended { ended: Ended { ending, usage }, link: None })
    }

    /// What the supervisor's report means, and whether its container can be used again.
    async fn reported(
        &self,
        Report { done, clean }: Report,
        launch: &Launch,
        meter: &Meter,
    ) -> Result<Attended, Error> {
        let code = match done.end {
            End::Exited(code) => i64::from(code),
            End::Signalled(signal) => SIGNALLED + i64::from(signal),
            End::NotStarted(error) => return Err(not_started(launch, error)),
        };
        let ending = finish::of_program(code, done.oom_kills > 0, launch.share.was_full());
        // What runs takes some time.
        let wall = Duration::from_nanos(done.wall_ns).max(Duration::from_millis(1));
        let told = Told { own_cpu_ns: done.own_cpu_ns, peak_bytes: done.peak_bytes };
        let usage = meter.usage(launch.needs, wall, told);
        let link = match timeout(CLEAN_PATIENCE, clean).await {
            Ok(Ok(Ok(link))) => Some(link),
            Ok(Ok(Err(left))) => {
                tracing::info!(left, "a task left something: its container is not used again");
                None
            }
            Ok(Err(_)) | Err(_) => None,
        };
        Ok(Attended { ended: Ended { ending, usage }, link })
    }

    /// How a container ended whose supervisor says nothing more.
    async fn died(&self, made: &Made, launch: &Launch) -> Result<Ending, Error> {
        let code = match timeout(OUTPUT_GRACE, self.exit(&made.id)).await {
            Ok(code) => code?,
            Err(_) => return Ok(Ending::Lost("its container does not answer")),
        };
        if SUPERVISOR_CODES.contains(&code) {
            return Ok(Ending::Lost("its container lost the node"));
        }
        let (ending, _) = self.judge(&made.id, code, launch, made.group.as_deref()).await?;
        Ok(ending)
    }
}

/// What the supervisor is asked to run.
fn task(launch: &Launch) -> Task {
    let commands = match &launch.entry {
        Entry::Image => &[][..],
        Entry::Commands(commands) => commands,
    };
    let bytes = |texts: &[String]| texts.iter().map(|text| text.clone().into_bytes()).collect();
    Task {
        commands: commands.iter().map(|words| bytes(words)).collect(),
        variables: bytes(&confinement::environment(launch)),
    }
}

/// The error of a task whose program the image lacks. That its container runs shows that the
/// machine is not at fault.
fn not_started(launch: &Launch, error: i32) -> Error {
    let code = match error {
        ENOENT => Some(NO_PROGRAM),
        EACCES => Some(NOT_EXECUTABLE),
        _ => None,
    };
    let last = match &launch.entry {
        Entry::Commands(commands) => commands.last().and_then(|command| command.first()),
        Entry::Image => None,
    };
    Error::Unusable(Stuck::at_start(code, last.map_or("", String::as_str)).to_string())
}
