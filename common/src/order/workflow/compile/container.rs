//! The containers of a job file.

use std::collections::BTreeMap;

use super::super::InvalidWorkflow;
use super::super::step::{Needs, Program, Retry, Step};
use super::call::waits;
use super::place::Place;
use super::{Compiler, retry};
use crate::compute::container::{Command, ContainerPath};
use crate::compute::environment::Environment;
use crate::compute::resources::Resources;
use crate::expression::Template;
use crate::order::container::{
    ContainerOrder, ContainerWork, ImageName, OrderedProgram, OrderedSide,
};
use crate::plan::{Code, ContainerTask, LateText, TextPlace};

/// What a container has where nothing is said.
const CPU_MILLIS: u32 = 1_000;
const MEMORY_MIB: u32 = 1_024;
const DISK_MIB: u32 = 2_048;
const CPU_MILLIS_MAX: u32 = 1_024_000;
const MEMORY_MIB_MAX: u32 = 16 << 20;
const DISK_MIB_MAX: u32 = 64 << 20;
const TIMEOUT_SECS_MAX: u32 = 7 * 24 * 3_600;
const RETRIES_MAX: u32 = 100;
const FACTOR_MAX: u32 = 10;
/// The most programs of a step, which are numbered in a byte.
const PROGRAMS_MAX: usize = 64;
/// What stands at the place of a text that is known later.
const TEXT: &str = "x";
/// The timeout of a task that says nothing, which an ordered plan knows as the server's own.
const SERVERS_TIMEOUT: u32 = 0;
const SHELL: [&str; 2] = ["sh", "-c"];

/// A step does one thing, and says nothing of others.
pub(super) fn check_kind(step: &Step, place: &Place) -> Result<(), InvalidWorkflow> {
    let others = [
        ("call", step.call.is_some()),
        ("each", step.each.is_some()),
        ("parallel", step.parallel.is_some()),
        ("steps", step.steps.is_some()),
        ("job", step.job.is_some()),
    ];
    let found: Vec<&str> =
        others.into_iter().filter_map(|(name, is_there)| is_there.then_some(name)).collect();
    let [kind, rest @ ..] = found.as_slice() else { return Ok(()) };
    if let Some(other) = rest.first() {
        return Err(place
            .field(other)
            .refuse(format!("must be left out, because {kind} is there")));
    }
    // What a call shares with containers.
    let (timeout, retry) = (None, None);
    let (timeout, retry) =
        if step.call.is_some() { (step.timeout, step.retry) } else { (timeout, retry) };
    let bare = Step {
        name: step.name.clone(),
        after: step.after.clone(),
        condition: step.condition.clone(),
        var: step.var.clone(),
        timeout,
        retry,
        call: step.call.clone(),
        each: step.each.clone(),
        parallel: step.parallel.clone(),
        steps: step.steps.clone(),
        job: step.job.clone(),
        ..Step::default()
    };
    if bare == *step {
        return Ok(());
    }
    Err(place.refuse(format!("has fields of a container beside {kind}: leave them out")))
}

impl Compiler<'_> {
    pub(super) fn container(
        &self,
        step: &Step,
        place: &Place,
    ) -> Result<ContainerTask, InvalidWorkflow> {
        if step.before.len() + step.then.len() + step.beside.len() >= PROGRAMS_MAX {
            return Err(place.refuse(format!("has more than {PROGRAMS_MAX} containers")));
        }
        let mut late = Vec::new();
        let order = self.order(step, place, &mut late)?;
        let work = ContainerWork::new(order).map_err(|why| place.refuse(why.to_string()))?;
        let images = work.images().into_iter().map(|name| self.common.image(name)).collect();
        let mut task = work.task(images, SERVERS_TIMEOUT);
        // Whether an image is one of a node's own engine is known when a run starts.
        task.container.own_nodes = work.own_nodes;
        if let Code::Images(code) = &mut task.container.code {
            code.late = late;
        }
        task.priority = step.priority.unwrap_or_default();
        if let Some(retry) = retry(step, self.common.defaults) {
            check_retry(retry, &place.field("retry"))?;
            let has_pauses = retry.delay.is_some() || retry.factor.is_some();
            task.waits = has_pauses.then(|| waits(retry));
        }
        Ok(task)
    }

    /// What the step orders, without the texts that are known later.
    fn order(
        &self,
        step: &Step,
        place: &Place,
        late: &mut Vec<LateText>,
    ) -> Result<ContainerOrder, InvalidWorkflow> {
        let defaults = self.common.defaults;
        let main = Program {
            name: None,
            image: step.image.clone(),
            image_secret: step.image_secret.clone(),
            command: step.command.clone(),
            run: step.run.clone(),
            env: step.env.clone(),
            workdir: step.workdir.clone(),
        };
        let main_image = self.image(&main, None, place)?;
        let sides: Vec<Program> = step.beside.iter().map(|side| side.program.clone()).collect();
        let mut n = 0;
        let mut ordered = |list: &str, programs: &[Program]| {
            let each = programs.iter().enumerate().map(|(of_list, program)| {
                let place = match list {
                    "" => place.clone(),
                    list => place.field(&format!("{list}[{of_list}]")),
                };
                let image = self.image(program, Some(&main_image), &place)?;
                let program = self.program(program, image, n, &place, late)?;
                n += 1;
                Ok(program)
            });
            each.collect::<Result<Vec<OrderedProgram>, InvalidWorkflow>>()
        };
        let before = ordered("before", &step.before)?;
        let main = ordered("", &[main])?.remove(0);
        let after = ordered("then", &step.then)?;
        let sides = ordered("beside", &sides)?;
        let beside = step.beside.iter().zip(sides).map(|(side, program)| {
            let needs = resources(Some(side.needs), place)?;
            Ok(OrderedSide { program, needs: Resources { disk_mib: 0, ..needs }, port: side.port })
        });
        let timeout = step.timeout.or(defaults.timeout).map(|time| time.0);
        if timeout.is_some_and(|secs| !(1..=TIMEOUT_SECS_MAX).contains(&secs)) {
            return Err(place.field("timeout").refuse("must be from 1 second to 7 days"));
        }
        Ok(ContainerOrder {
            before,
            after,
            beside: beside.collect::<Result<_, InvalidWorkflow>>()?,
            shared: step.shared.clone(),
            files: self.files(step, place, late)?,
            results: step.results.clone(),
            gpus: step.gpus.clone(),
            timeout_secs: timeout,
            retries: retry(step, defaults).map_or(0, |retry| retry.limit),
            profile: step.profile.or(defaults.profile).unwrap_or_default(),
            network: step.network.or(defaults.network).unwrap_or_default(),
            isolation: step.isolation.or(defaults.isolation).unwrap_or_default(),
            own_nodes: step.own_nodes.or(defaults.own_nodes).unwrap_or(false),
            ..ContainerOrder::of(
                main,
                resources(step.needs.or(defaults.needs), &place.field("needs"))?,
            )
        })
    }

    /// The image of a program: its own, the step's, or the file's.
    fn image(
        &self,
        program: &Program,
        of_step: Option<&ImageName>,
        place: &Place,
    ) -> Result<ImageName, InvalidWorkflow> {
        let secret = program.image_secret.clone();
        if let Some(name) = &program.image {
            return Ok(ImageName { name: name.clone(), secret });
        }
        if let Some(of_step) = of_step {
            return Ok(of_step.clone());
        }
        let name = self.common.defaults.image.clone();
        let name = name.ok_or_else(|| {
            place.refuse("needs an image, or one of call, each, parallel, steps and job")
        })?;
        Ok(ImageName { name, secret })
    }

    fn program(
        &self,
        program: &Program,
        image: ImageName,
        n: u8,
        place: &Place,
        late: &mut Vec<LateText>,
    ) -> Result<OrderedProgram, InvalidWorkflow> {
        let command = match (&program.command, &program.run) {
            (Some(_), Some(_)) => {
                let problem = "must be left out, because command is there";
                return Err(place.field("run").refuse(problem));
            }
            (None, None) => Command::Image,
            (None, Some(script)) => Command::Line(
                SHELL.map(str::to_owned).into_iter().chain([script.clone()]).collect(),
            ),
            (Some(words), None) => {
                let place = place.field("command");
                let words = (0..).zip(words).map(|(word, text)| {
                    let at = TextPlace::Word { program: n, n: word };
                    self.text(at, text, &place, late)
                });
                Command::Line(words.collect::<Result<_, _>>()?)
            }
        };
        let mut variables = BTreeMap::new();
        for (name, text) in self.common.defaults.env.iter().chain(&program.env) {
            variables.insert(name.clone(), text);
        }
        let mut environment = BTreeMap::new();
        for (name, text) in variables {
            let at = TextPlace::Variable { program: Some(n), name: name.clone() };
            let text = self.text(at, text, &place.field("env").field(&name), late)?;
            environment.insert(name, text);
        }
        let environment = Environment::try_from(environment)
            .map_err(|why| place.field("env").refuse(why.to_string()))?;
        let (name, working_dir) = (program.name.clone(), program.workdir.clone());
        Ok(OrderedProgram { name, image, command, working_dir, environment })
    }

    fn files(
        &self,
        step: &Step,
        place: &Place,
        late: &mut Vec<LateText>,
    ) -> Result<BTreeMap<ContainerPath, String>, InvalidWorkflow> {
        let files = step.files.iter().map(|(path, text)| {
            let field = place.field("files").field(path.as_str());
            let text = self.text(TextPlace::File(path.clone()), text, &field, late)?;
            Ok((path.clone(), text))
        });
        files.collect()
    }

    /// A text as it is, or what stands at its place until it is known.
    fn text(
        &self,
        at: TextPlace,
        text: &Template,
        place: &Place,
        late: &mut Vec<LateText>,
    ) -> Result<String, InvalidWorkflow> {
        self.check_text(text, place)?;
        if text.is_plain() {
            return Ok(text.source().to_owned());
        }
        late.push(LateText { place: at, text: text.clone() });
        Ok(TEXT.to_owned())
    }
}

fn check_retry(retry: Retry, place: &Place) -> Result<(), InvalidWorkflow> {
    if retry.limit > RETRIES_MAX {
        return Err(place.field("limit").refuse(format!("must be at most {RETRIES_MAX}")));
    }
    if retry.factor.is_some_and(|factor| !(1..=FACTOR_MAX).contains(&factor)) {
        return Err(place.field("factor").refuse(format!("must be from 1 to {FACTOR_MAX}")));
    }
    if retry.delay.is_some_and(|delay| delay.0 > TIMEOUT_SECS_MAX) {
        return Err(place.field("delay").refuse("must be at most 7 days"));
    }
    Ok(())
}

fn resources(needs: Option<Needs>, place: &Place) -> Result<Resources, InvalidWorkflow> {
    let needs = needs.unwrap_or_default();
    let cpu = needs.cpu.map_or(CPU_MILLIS, |cpu| cpu.0);
    let memory = needs.memory.map_or(MEMORY_MIB, |memory| memory.0);
    let disk = needs.disk.map_or(DISK_MIB, |disk| disk.0);
    for (name, amount, most) in [
        ("cpu", cpu, CPU_MILLIS_MAX),
        ("memory", memory, MEMORY_MIB_MAX),
        ("disk", disk, DISK_MIB_MAX),
    ] {
        if amount > most {
            return Err(place.field(name).refuse("is more than any node has"));
        }
    }
    Ok(Resources::new(cpu, memory).with_disk(disk))
}
