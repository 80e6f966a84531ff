//! The containers of an attempt: its steps one after the other, and beside them those that last
//! from the first step to the last.

use std::time::Duration;

use common::compute::resources::Usage;
use common::protocol::Level;
use futures::future::try_join_all;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::stopped::Stopped;
use super::{Event, Tools};
use crate::runtime::docker::{Docker, Image, Made, SharedNetwork};
use crate::runtime::launch::{LaunchSide, Launches};
use crate::runtime::{Ended, Ending, Error, Launch};
use crate::server_client::ServerClient;

/// How the steps of an attempt ended.
#[derive(Debug)]
pub struct Ran {
    /// How the last of them ended, with what all containers used.
    pub ended: Ended,
    /// What logs call it.
    pub name: String,
}

/// What is there of an attempt's containers.
#[derive(Debug)]
pub struct Containers<'a> {
    images: &'a [Image],
    step: Option<Made>,
    sides: Vec<Made>,
    network: Option<SharedNetwork>,
    /// The engine has mounted the attempt's folder.
    pub has_folder: bool,
}

impl<'a> Containers<'a> {
    pub const fn new(images: &'a [Image]) -> Self {
        Self { images, step: None, sides: Vec::new(), network: None, has_folder: false }
    }

    pub const fn images(&self) -> &'a [Image] {
        self.images
    }

    /// Makes the container of the first step.
    pub async fn make_first(
        &mut self,
        engine: &Docker,
        launches: &Launches,
    ) -> Result<(), Stopped> {
        self.has_folder = true;
        if let Some(first) = launches.steps.first() {
            self.step = Some(engine.make(first, image(self.images, first)?).await?);
        }
        Ok(())
    }

    /// Removes all that is there, whatever it does.
    pub async fn remove(&mut self, engine: &Docker) {
        let holder = self.network.as_ref().map(SharedNetwork::holder);
        for made in self.step.iter().chain(&self.sides).chain(holder) {
            engine.remove(made).await;
        }
        *self = Self { has_folder: self.has_folder, ..Self::new(self.images) };
    }

    /// Runs all containers. Those beside the steps are ended when the steps have.
    pub async fn run<R: ServerClient>(
        &mut self,
        tools: &Tools<R>,
        launches: &mut Launches,
        events: &mpsc::Sender<Event>,
        stop: &CancellationToken,
    ) -> Result<Ran, Stopped> {
        self.has_folder = true;
        if launches.sides.is_empty() {
            return self.run_steps(tools, &launches.steps, events, stop).await;
        }
        self.make_sides(&tools.engine, launches).await?;
        let Launches { steps, sides, .. } = launches;
        let mut made = std::mem::take(&mut self.sides);
        let (steps_stop, sides_stop) = (stop.child_token(), stop.child_token());
        let images = self.images;
        let beside = async {
            let sides = made
                .iter_mut()
                .zip(&*sides)
                .map(|(made, side)| run_side(tools, made, &side.launch, images, &sides_stop));
            let ended = try_join_all(sides).await;
            if ended.is_err() {
                steps_stop.cancel();
            }
            ended
        };
        let steps = async {
            let ready = self.ports_listen(sides, steps.first(), &steps_stop).await;
            let ran = match ready {
                Ok(()) => self.run_steps(tools, steps, events, &steps_stop).await,
                Err(stopped) => Err(stopped),
            };
            sides_stop.cancel();
            ran
        };
        let (ran, beside) = tokio::join!(steps, beside);
        self.sides = made;
        // What could not be started beside the steps has ended them.
        let used = beside?;
        let Ran { ended, name } = ran?;
        let wall_ms = ended.usage.wall_ms;
        let usage = used.into_iter().fold(ended.usage, Usage::plus);
        Ok(Ran { ended: Ended { usage: Usage { wall_ms, ..usage }, ..ended }, name })
    }

    /// Makes the network that all containers of the task share, and those beside its steps.
    async fn make_sides(
        &mut self,
        engine: &Docker,
        launches: &mut Launches,
    ) -> Result<(), Stopped> {
        let Some(first) = launches.steps.first() else { return Ok(()) };
        let names: Vec<_> = launches.sides.iter().map(|side| side.launch.name.clone()).collect();
        let network = engine.share_network(first, &names).await?;
        let connection = network.connection();
        self.network = Some(network);
        launches.all().for_each(|launch| launch.connection = connection.clone());
        for LaunchSide { launch, .. } in &launches.sides {
            self.sides.push(engine.make(launch, image(self.images, launch)?).await?);
        }
        let ids: Vec<_> = self.sides.iter().map(|made| made.id().to_owned()).collect();
        launches.steps.iter_mut().for_each(|step| step.beside.clone_from(&ids));
        Ok(())
    }

    /// Waits until all containers beside the steps listen where they should.
    async fn ports_listen(
        &self,
        sides: &[LaunchSide],
        first: Option<&Launch>,
        stop: &CancellationToken,
    ) -> Result<(), Stopped> {
        let Some(network) = &self.network else { return Ok(()) };
        let listen = async {
            for port in sides.iter().filter_map(|side| side.port) {
                network.listens(port).await;
            }
        };
        let most = first.and_then(|first| first.timeout).unwrap_or(PATIENCE);
        tokio::select! {
            () = listen => Ok(()),
            () = stop.cancelled() => Err(Stopped::Cancelled),
            () = tokio::time::sleep(most.min(PATIENCE)) => Err(Error::Unusable(format!(
                "a container beside the steps does not listen on its port within {} s",
                most.min(PATIENCE).as_secs()
            ))
            .into()),
        }
    }

    /// Runs the steps one after the other, until one fails. All together have the time of the task.
    async fn run_steps<R: ServerClient>(
        &mut self,
        tools: &Tools<R>,
        steps: &[Launch],
        events: &mpsc::Sender<Event>,
        stop: &CancellationToken,
    ) -> Result<Ran, Stopped> {
        let mut used: Option<Usage> = None;
        let mut left = steps.first().and_then(|first| first.timeout);
        let last = steps.len().saturating_sub(1);
        for (n, step) in steps.iter().enumerate() {
            let launch = Launch { timeout: left, ..step.clone() };
            let image = image(self.images, &launch)?;
            let made = match self.step.take() {
                Some(made) => made,
                None => tools.engine.make(&launch, image).await?,
            };
            let made = self.step.insert(made);
            let ended = run_one(tools, made, &launch, image, Some(events), stop).await?;
            let usage = used.map_or(ended.usage, |before| before.plus(ended.usage));
            used = Some(usage);
            if ended.ending != Ending::Exited(0) || n == last {
                return Ok(Ran { ended: Ended { usage, ..ended }, name: launch.name });
            }
            let ran = Duration::from_millis(ended.usage.wall_ms);
            left = left.map(|left| left.saturating_sub(ran));
            tools.engine.remove(made).await;
            self.step = None;
        }
        Err(Stopped::Cancelled)
    }
}

/// How long containers beside the steps may take until they listen.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a container beside the steps until it ends, and gives what it used. That it has ended is
/// noted and no more: the steps know whether they need it.
async fn run_side<R: ServerClient>(
    tools: &Tools<R>,
    made: &mut Made,
    launch: &Launch,
    images: &[Image],
    stop: &CancellationToken,
) -> Result<Usage, Stopped> {
    let ended = run_one(tools, made, launch, image(images, launch)?, None, stop).await?;
    if ended.ending != Ending::Stopped {
        let how = match ended.ending.code() {
            Some(code) => common::compute::exit::told(code),
            None => format!("was ended: {}", ended.ending.as_str()),
        };
        let text = format!("container {} {how}", launch.name);
        tools.logs.note(launch.lease, Level::Info, text);
    }
    Ok(ended.usage)
}

/// Runs one container to its end. `events` is told of the start of a step.
async fn run_one<R: ServerClient>(
    tools: &Tools<R>,
    made: &mut Made,
    launch: &Launch,
    image: &Image,
    events: Option<&mpsc::Sender<Event>>,
    stop: &CancellationToken,
) -> Result<Ended, Stopped> {
    let lease = launch.lease;
    let which = match launch.name.as_str() {
        "" => "container".to_owned(),
        name => format!("container {name}"),
    };
    tools.logs.note(lease, Level::Info, format!("{which} is starting"));
    let started = || {
        tracing::debug!(name = launch.name, "container started");
        tools.logs.note(lease, Level::Info, format!("{which} started"));
        // A full channel loses only the running time that is shown.
        let _ = events.map(|events| events.try_send(Event::Started(lease)));
    };
    let ended = tools.engine.run(made, launch, image, &tools.logs, started, stop).await?;
    ended.log();
    Ok(ended)
}

fn image<'a>(images: &'a [Image], launch: &Launch) -> Result<&'a Image, Stopped> {
    let missing = || Error::Unusable("names an image that is not there".into());
    Ok(images.get(launch.image).ok_or_else(missing)?)
}
