//! The containers of one task.

use std::collections::BTreeMap;

use super::{Compiler, Part, refused, template};
use crate::api::tork::document::{Mount, Registry, Retry, Step, Task, Texts, list, text, texts};
use crate::api::tork::figures;
use crate::error::Result;
use common::call::Waits;
use common::compute::container::{
    Command, ContainerPath, ContainerSpec, Content, Isolation, Network, Parts, Profile, Program,
    Side,
};
use common::compute::environment::Environment;
use common::compute::resources::Resources;
use common::order::ordered_plan::OrderedPlan;
use common::plan::{
    Code, Container, ContainerTask, ImageCode, LateText, PROGRESS_FILE, Reads, TextPlace,
    VALUE_FILE,
};
use common::run::scheduling::TaskPriority;

/// What a container has that asks for nothing.
const NEEDS: Resources = Resources::new(1000, 1024).with_disk(2048);
/// What one beside it has.
const NEEDS_BESIDE: Resources = Resources::new(250, 256);
const RESULTS: &str = "/fanfold/results";
const WORKDIR: &str = "/tork/workdir";
const SCRIPTS: &str = "/tork/run";
const SHELL: [&str; 2] = ["sh", "-c"];
const OUTPUT: &str = "TORK_OUTPUT";
const PROGRESS: &str = "TORK_PROGRESS";
/// Where a text goes that nobody reads.
const UNREAD_OUTPUT: &str = "/tmp/tork-stdout";
const UNREAD_PROGRESS: &str = "/tmp/tork-progress";

/// What one container of a task runs.
struct Runs<'a> {
    name: String,
    cmd: &'a [String],
    entrypoint: &'a [String],
    run: &'a str,
    image: &'a str,
    registry: Option<&'a Registry>,
    env: Option<&'a Texts>,
    files: Option<&'a Texts>,
    workdir: &'a str,
}

/// The containers as far as they are put together.
#[derive(Default)]
struct Made {
    programs: Vec<Program>,
    /// Places among the images of the plan, in the order in which programs count them.
    images: Vec<usize>,
    files: BTreeMap<ContainerPath, String>,
    late: Vec<LateText>,
}

impl<'a> Runs<'a> {
    fn of_task(task: &'a Task, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            cmd: list(task.cmd.as_ref()),
            entrypoint: list(task.entrypoint.as_ref()),
            run: text(task.run.as_ref()),
            image: text(task.image.as_ref()),
            registry: task.registry.as_ref(),
            env: task.env.as_ref(),
            files: task.files.as_ref(),
            workdir: text(task.workdir.as_ref()),
        }
    }

    fn of_step(step: &'a Step, name: String, workdir: &'a str) -> Self {
        Self {
            name,
            cmd: list(step.cmd.as_ref()),
            entrypoint: list(step.entrypoint.as_ref()),
            run: text(step.run.as_ref()),
            image: text(step.image.as_ref()),
            registry: step.registry.as_ref(),
            env: step.env.as_ref(),
            files: step.files.as_ref(),
            workdir,
        }
    }
}

impl Compiler<'_> {
    /// The work of a task without others in it. `is_valued` says whether its output is read.
    pub(super) fn container(
        &mut self,
        part: Part<'_>,
        task: &Task,
        is_valued: bool,
    ) -> Result<ContainerTask> {
        let place = text(task.name.as_ref()).to_owned();
        let (pre, post) = (list(task.pre.as_ref()), list(task.post.as_ref()));
        let beside = list(task.sidecars.as_ref());
        let workdir = text(task.workdir.as_ref());
        let mut made = Made::default();
        for (n, step) in (1..).zip(pre) {
            self.add(&mut made, part, &Runs::of_step(step, format!("pre-{n}"), workdir))?;
        }
        let is_alone = pre.is_empty() && post.is_empty() && beside.is_empty();
        let main = if is_alone { "" } else { "main" };
        self.add(&mut made, part, &Runs::of_task(task, main))?;
        for (n, step) in (1..).zip(post) {
            self.add(&mut made, part, &Runs::of_step(step, format!("post-{n}"), workdir))?;
        }
        let steps = made.programs.len();
        for (n, step) in (1..).zip(beside) {
            let name = host(text(step.name.as_ref())).unwrap_or_else(|| format!("beside-{n}"));
            self.add(&mut made, part, &Runs::of_step(step, name, ""))?;
        }
        let Made { mut programs, images, files, late } = made;
        let sides = programs.split_off(steps).into_iter().zip(beside).map(|(program, step)| {
            let port = step.probe.as_ref().and_then(|probe| probe.port);
            Side { program, needs: NEEDS_BESIDE, port: port.and_then(|port| port.try_into().ok()) }
        });
        let output = if is_valued { VALUE_FILE } else { UNREAD_OUTPUT };
        let progress = if is_valued { PROGRESS_FILE } else { UNREAD_PROGRESS };
        let variables = [(OUTPUT, output), (PROGRESS, progress)];
        let variables = variables.map(|(name, value)| (name, value.to_owned())).to_vec();
        let results = RESULTS.parse().map_err(|error| refused(&place, error))?;
        let has_network = !list(task.networks.as_ref()).is_empty();
        let spec = ContainerSpec::new(Parts {
            steps: programs,
            sides: sides.collect(),
            environment: Environment::of(variables).map_err(|error| refused(&place, error))?,
            mounts: BTreeMap::from([(Content::Results, results)]),
            shared: shared(&place, task)?,
            value: None,
            files,
            profile: Profile::Plain,
            network: if has_network { Network::Internet } else { Network::None },
            isolation: Isolation::default(),
        });
        let spec = spec.map_err(|error| refused(&place, error))?;
        let images = images.into_iter().map(OrderedPlan::image).collect();
        let queue = self.queue(part, &place, task)?;
        let priority = priority(part, &place, task)?;
        self.is_urgent |= !priority.is_usual();
        let (retries, waits) = waits(task.retry.as_ref().or(part.defaults.retry.as_ref()));
        Ok(ContainerTask {
            container: Container {
                code: Code::Images(ImageCode { images, spec, late }),
                secrets: Vec::new(),
                needs: beside
                    .iter()
                    .fold(needs(part, &place, task)?, |sum, _| sum.plus(NEEDS_BESIDE)),
                gpus: gpus(&place, task)?,
                own_nodes: false,
            },
            reads: Reads::Nothing,
            queue,
            timeout_secs: timeout_secs(part, task),
            retries,
            waits,
            require_results: false,
            deterministic: false,
            priority,
            is_reserved: false,
        })
    }

    /// Adds a container.
    fn add(&mut self, made: &mut Made, part: Part<'_>, runs: &Runs<'_>) -> Result<()> {
        let place = if runs.name.is_empty() { "task" } else { runs.name.as_str() };
        let image = self.image(part, place, runs.image, runs.registry)?;
        let known = made.images.iter().position(|known| *known == image);
        let image_no = known.unwrap_or_else(|| {
            made.images.push(image);
            made.images.len() - 1
        });
        let n = u8::try_from(made.programs.len()).map_err(|_| refused(place, "too many steps"))?;
        let command = command(made, runs, n, place)?;
        let mut environment = BTreeMap::new();
        for (name, value) in texts(runs.env) {
            let text = template(place, value)?;
            if text.is_plain() {
                environment.insert(name.to_owned(), value.to_owned());
                continue;
            }
            environment.insert(name.to_owned(), String::new());
            let place = TextPlace::Variable { program: Some(n), name: name.to_owned() };
            made.late.push(LateText { place, text });
        }
        let has_files = runs.files.is_some_and(|files| !files.is_empty());
        let folder = if runs.workdir.is_empty() { WORKDIR } else { runs.workdir };
        for (name, content) in texts(runs.files) {
            made.files.insert(path(place, &format!("{folder}/{name}"))?, content.to_owned());
        }
        let has_folder = has_files || !runs.workdir.is_empty();
        made.programs.push(Program {
            name: runs.name.clone(),
            image: u8::try_from(image_no).map_err(|_| refused(place, "too many images"))?,
            command,
            working_dir: has_folder.then(|| path(place, folder)).transpose()?,
            environment: environment.try_into().map_err(|error| refused(place, error))?,
        });
        Ok(())
    }
}

/// What a container is started with: its script, which is never evaluated, or its words.
fn command(made: &mut Made, runs: &Runs<'_>, n: u8, place: &str) -> Result<Command> {
    let mut words = runs.entrypoint.to_vec();
    if !runs.run.is_empty() {
        let script = path(place, &format!("{SCRIPTS}/{n}"))?;
        if words.is_empty() {
            words = SHELL.map(str::to_owned).to_vec();
        }
        words.push(script.as_str().to_owned());
        made.files.insert(script, runs.run.to_owned());
        return Ok(Command::Line(words));
    }
    for word in runs.cmd {
        let text = template(place, word)?;
        if text.is_plain() {
            words.push(word.clone());
            continue;
        }
        let at = u16::try_from(words.len()).map_err(|_| refused(place, "too many words"))?;
        words.push("x".to_owned());
        made.late.push(LateText { place: TextPlace::Word { program: n, n: at }, text });
    }
    Ok(if words.is_empty() { Command::Image } else { Command::Line(words) })
}

fn path(place: &str, text: &str) -> Result<ContainerPath> {
    text.parse().map_err(|error| refused(place, format!("{text:?} {error}")))
}

/// A name that other containers reach one by; `None` where nothing of it can be in one.
fn host(name: &str) -> Option<String> {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = name.chars().map(plain).take(48).collect();
    let name = name.trim_matches('-');
    let is_taken = name == "main" || name == "localhost" || name.starts_with("pre-");
    (!name.is_empty() && !is_taken && !name.starts_with("post-")).then(|| name.to_owned())
}

/// The folders that all containers of a task share.
fn shared(place: &str, task: &Task) -> Result<Vec<ContainerPath>> {
    let volumes = list(task.volumes.as_ref()).iter().map(String::as_str);
    let mut folders = Vec::new();
    for target in volumes {
        folders.push(path(place, target)?);
    }
    for Mount { kind, target, .. } in list(task.mounts.as_ref()) {
        match text(kind.as_ref()) {
            "volume" | "tmpfs" => folders.push(path(place, text(target.as_ref()))?),
            "bind" => return Err(refused(place, "bind mounts are not allowed")),
            other => return Err(refused(place, format!("unknown mount type: {other}"))),
        }
    }
    Ok(folders)
}

fn needs(part: Part<'_>, place: &str, task: &Task) -> Result<Resources> {
    let of_task = task.limits.clone().unwrap_or_default();
    let of_job = part.defaults.limits.clone().unwrap_or_default();
    let (cpus, memory) = (of_task.cpus.or(of_job.cpus), of_task.memory.or(of_job.memory));
    let mut needs = NEEDS;
    if let Some(cpus) = cpus.filter(|text| !text.is_empty()) {
        let millis = figures::cpu_millis(&cpus);
        needs.cpu_millis = millis.ok_or_else(|| refused(place, "invalid CPUs value"))?;
    }
    if let Some(memory) = memory.filter(|text| !text.is_empty()) {
        let mib = figures::memory_mib(&memory);
        needs.memory_mib = mib.ok_or_else(|| refused(place, "invalid memory value"))?;
    }
    Ok(needs)
}

fn priority(part: Part<'_>, place: &str, task: &Task) -> Result<TaskPriority> {
    let number = task.priority.or(part.defaults.priority).unwrap_or(0);
    let number = u8::try_from(number).unwrap_or(u8::MAX);
    TaskPriority::try_from(number).map_err(|error| refused(place, format!("priority {error}")))
}

/// Names of GPUs, of which a task gets one: how many there are, and which of a machine, nobody can
/// say here.
fn gpus(place: &str, task: &Task) -> Result<Vec<String>> {
    let name = text(task.gpus.as_ref());
    let is_choice = name == "all" || name.contains('=') || name.parse::<u32>().is_ok();
    if is_choice {
        return Err(refused(place, "gpus must be the name of a model, of which the task gets one"));
    }
    Ok(Some(name).filter(|name| !name.is_empty()).map(str::to_owned).into_iter().collect())
}

/// Whole seconds; 0 is what the server gives.
fn timeout_secs(part: Part<'_>, task: &Task) -> u32 {
    let own = Some(text(task.timeout.as_ref())).filter(|text| !text.is_empty());
    let timeout = figures::duration(own.unwrap_or(text(part.defaults.timeout.as_ref())));
    timeout.map_or(0, |time| {
        let secs = time.as_secs() + u64::from(time.subsec_nanos() > 0);
        u32::try_from(secs).unwrap_or(u32::MAX).max(1)
    })
}

/// Further attempts, and the pauses before them: none, unless there is a first one.
fn waits(retry: Option<&Retry>) -> (u32, Option<Waits>) {
    const MOST_SECS: u32 = 3_600;

    let Some(retry) = retry else { return (0, None) };
    let retries = retry.limit.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(0);
    let first = figures::duration(text(retry.initial_delay.as_ref())).unwrap_or_default();
    let first_secs = u32::try_from(first.as_secs()).unwrap_or(MOST_SECS);
    let factor = retry.scaling_factor.and_then(|factor| u32::try_from(factor).ok());
    let waits = match (first_secs, factor) {
        (0, None) => Waits::Table(vec![0; usize::try_from(retries).unwrap_or(0)]),
        (first_secs, factor) => Waits::Backoff {
            retries,
            first_secs: first_secs.max(1),
            factor: factor.unwrap_or(2),
            most_secs: MOST_SECS,
            jitter_percent: 0,
        },
    };
    (retries, Some(waits))
}
