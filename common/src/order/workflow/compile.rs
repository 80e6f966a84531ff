//! From a job file to the plan of a run.

mod call;
mod container;
mod nested;
mod place;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use place::Place;

use super::document::{AutoDelete, Defaults, JobFile};
use super::step::Step;
use super::{AUTO_DELETE_SECS_MAX, InvalidWorkflow, Retry};
use crate::expression::{Reads, Template};
use crate::order::container::ImageName;
use crate::order::ordered_plan::OrderedPlan;
use crate::plan::{Block, BlockId, Body, Group, Image, Name, Plan, PlanError};
use crate::secret::SecretId;

/// The most blocks of a plan.
const BLOCKS_MAX: usize = 1_000;
const NAME_CHARS_MAX: usize = 128;

/// What all parts of a file have in common.
struct Common<'a> {
    defaults: &'a Defaults,
    secrets: &'a BTreeMap<Name, SecretId>,
    /// The images that were named, each once.
    images: RefCell<Vec<ImageName>>,
}

impl Common<'_> {
    /// What stands in the plan for an image.
    fn image(&self, name: &ImageName) -> Image {
        let mut images = self.images.borrow_mut();
        let place = images.iter().position(|known| known == name).unwrap_or_else(|| {
            images.push(name.clone());
            images.len() - 1
        });
        OrderedPlan::image(place)
    }
}

/// The compilation of one plan: of the file, or of a job in it.
struct Compiler<'a> {
    common: &'a Common<'a>,
    inputs: BTreeSet<&'a str>,
    blocks: Vec<Block>,
    /// Where each block stands in the file.
    places: Vec<Place>,
    /// Jobs around it.
    depth: u8,
    has_results: bool,
}

/// The plan of a file, and the images that it names.
pub(super) fn plan(file: &JobFile) -> Result<(Plan, Vec<ImageName>), InvalidWorkflow> {
    let is_time = |auto: AutoDelete| (1..=AUTO_DELETE_SECS_MAX).contains(&auto.after.0);
    if file.auto_delete.is_some_and(|auto| !is_time(auto)) {
        let place = Place::root().field("auto_delete").field("after");
        return Err(place.refuse("must be from 1s to 366d"));
    }
    let (defaults, secrets, images) = (&file.defaults, &file.secrets, RefCell::default());
    let common = Common { defaults, secrets, images };
    let compiler = Compiler::new(&common, names(&file.inputs), 0);
    let plan = compiler.plan(&file.steps, file.output.as_ref(), &Place::root())?;
    Ok((plan, common.images.into_inner()))
}

fn names<T>(map: &BTreeMap<Name, T>) -> BTreeSet<&str> {
    map.keys().map(Name::as_str).collect()
}

impl<'a> Compiler<'a> {
    fn new(common: &'a Common<'a>, inputs: BTreeSet<&'a str>, depth: u8) -> Self {
        let (blocks, places) = (Vec::new(), Vec::new());
        Self { common, inputs, blocks, places, depth, has_results: false }
    }

    fn plan(
        mut self,
        steps: &'a [Step],
        output: Option<&Template>,
        place: &Place,
    ) -> Result<Plan, InvalidWorkflow> {
        let is_plain =
            |step: &Step| step.condition.is_none() && step.var.is_none() && step.results.is_none();
        match steps {
            [step] if is_plain(step) => {
                check_after(steps, 0, place)?;
                self.step(step, &place.step(0, step))?;
            }
            _ => {
                self.list("run", steps, place)?;
            }
        }
        let places = std::mem::take(&mut self.places);
        let refused = |error: PlanError| place::of_plan_error(error, &places, place);
        let plan = Plan::new(self.blocks).map_err(refused)?;
        let Some(output) = output else { return Ok(plan) };
        let at = place.field("output");
        check(&self.inputs, self.common.secrets, output, &at)?;
        plan.with_output(output.clone()).map_err(|error| place::of_output_error(error, &at))
    }

    /// A block whose body follows, so that parents come before their children.
    fn reserve(&mut self, name: &str, place: &Place) -> Result<BlockId, InvalidWorkflow> {
        if self.blocks.len() >= BLOCKS_MAX {
            return Err(place.refuse(format!("a job has at most {BLOCKS_MAX} steps")));
        }
        let id = u16::try_from(self.blocks.len()).map(BlockId::new);
        self.blocks.push(Block::new(name, Body::Group(Group::parallel(Vec::new()))));
        self.places.push(place.clone());
        Ok(id.expect("blocks are counted"))
    }

    fn set(&mut self, id: BlockId, body: Body) {
        self.block(id).body = body;
    }

    fn block(&mut self, id: BlockId) -> &mut Block {
        &mut self.blocks[usize::from(id.number())]
    }

    /// Steps that begin when those have ended that they come after.
    fn list(
        &mut self,
        name: &str,
        steps: &'a [Step],
        place: &Place,
    ) -> Result<BlockId, InvalidWorkflow> {
        let id = self.reserve(name, place)?;
        let mut group = Group::parallel(Vec::new());
        for (n, step) in steps.iter().enumerate() {
            group.after.push(check_after(steps, n, place)?);
            group.of.push(self.step(step, &place.step(n, step))?);
        }
        if group.of.is_empty() {
            return Err(place.refuse("has no steps"));
        }
        self.set(id, Body::Group(group));
        Ok(id)
    }

    fn parallel(
        &mut self,
        name: &str,
        steps: &'a [Step],
        place: &Place,
    ) -> Result<BlockId, InvalidWorkflow> {
        let id = self.reserve(name, place)?;
        let mut of = Vec::new();
        for (n, step) in steps.iter().enumerate() {
            if step.after.is_some() {
                let place = place.step(n, step).field("after");
                return Err(place.refuse("the steps of parallel have no order: use steps"));
            }
            of.push(self.step(step, &place.step(n, step))?);
        }
        if of.is_empty() {
            return Err(place.refuse("has no steps"));
        }
        self.set(id, Body::Group(Group::parallel(of)));
        Ok(id)
    }

    fn step(&mut self, step: &'a Step, place: &Place) -> Result<BlockId, InvalidWorkflow> {
        let name = step.name.as_deref().unwrap_or_else(|| kind(step));
        if name.is_empty() || name.chars().count() > NAME_CHARS_MAX {
            let problem = format!("must have 1 to {NAME_CHARS_MAX} characters");
            return Err(place.field("name").refuse(problem));
        }
        container::check_kind(step, place)?;
        let id = if let Some(call) = &step.call {
            let task = self.call(step, call, &place.field("call"))?;
            let id = self.reserve(name, place)?;
            self.set(id, Body::Call(Box::new(task)));
            id
        } else if let Some(each) = &step.each {
            self.each(name, each, place)?
        } else if let Some(steps) = &step.parallel {
            self.parallel(name, steps, &place.field("parallel"))?
        } else if let Some(steps) = &step.steps {
            self.list(name, steps, &place.field("steps"))?
        } else if let Some(job) = &step.job {
            self.child(name, job, &place.field("job"))?
        } else {
            return self.container_step(name, step, place);
        };
        self.finish(id, step, place)?;
        Ok(id)
    }

    /// The condition and the value of a step.
    fn finish(&mut self, id: BlockId, step: &Step, place: &Place) -> Result<(), InvalidWorkflow> {
        if let Some(condition) = &step.condition {
            self.check_text(condition, &place.field("if"))?;
        }
        let block = self.block(id);
        block.when.clone_from(&step.condition);
        block.var.clone_from(&step.var);
        Ok(())
    }

    /// Whether the inputs and secrets that a text reads are there.
    fn check_text(&self, text: &Template, place: &Place) -> Result<(), InvalidWorkflow> {
        check(&self.inputs, self.common.secrets, text, place)
    }
}

/// Whether the inputs and secrets that a text reads are there.
fn check(
    inputs: &BTreeSet<&str>,
    secrets: &BTreeMap<Name, SecretId>,
    text: &Template,
    place: &Place,
) -> Result<(), InvalidWorkflow> {
    let missing = |root: &str, known: &BTreeSet<&str>| {
        let Reads::Members(read) = text.reads(root) else { return None };
        let name = read.into_iter().find(|name| !known.contains(name.as_str()))?;
        Some(format!("{root}.{name} is not in {root}"))
    };
    let problem = missing("inputs", inputs).or_else(|| missing("secrets", &names(secrets)));
    problem.map_or(Ok(()), |problem| Err(place.refuse(problem)))
}

/// What a step without a name is called.
fn kind(step: &Step) -> &'static str {
    let kinds = [
        (step.call.is_some(), "call"),
        (step.each.is_some(), "each"),
        (step.parallel.is_some(), "parallel"),
        (step.steps.is_some(), "steps"),
        (step.job.is_some(), "job"),
    ];
    kinds.into_iter().find_map(|(is_it, kind)| is_it.then_some(kind)).unwrap_or("main")
}

/// The places of the steps that a step comes after.
fn check_after(steps: &[Step], n: usize, place: &Place) -> Result<Vec<u16>, InvalidWorkflow> {
    let step = &steps[n];
    let here = place.step(n, step);
    let named = |name: &str| steps.iter().position(|step| step.name.as_deref() == Some(name));
    if let Some(name) = &step.name
        && named(name) != Some(n)
    {
        return Err(here.field("name").refuse("another step of the list has the same name"));
    }
    let narrow = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
    let Some(after) = &step.after else {
        return Ok(n.checked_sub(1).map(narrow).into_iter().collect());
    };
    let each = |name: &String| {
        named(name).map(narrow).ok_or_else(|| {
            here.field("after").refuse(format!("there is no step {name:?} in the same list"))
        })
    };
    after.iter().map(each).collect()
}

/// Further attempts, where a step or the defaults say so.
fn retry(step: &Step, defaults: &Defaults) -> Option<Retry> {
    step.retry.or(defaults.retry)
}
