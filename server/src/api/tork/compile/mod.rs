//! From a document to a plan.
//!
//! The blocks of a plan are numbered as the tasks stand in the document, those within a task after
//! it: so what becomes of a block is shown with what its task says (`blocks.rs`).

mod container;
mod names;
#[cfg(test)]
mod tests;
mod webhooks;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use common::expression::Template;
use common::ids::{JobId, QueueId};
use common::order::callback::Callbacks;
use common::order::container::ImageName;
use common::order::ordered_plan::OrderedPlan;
use common::plan::{Block, BlockId, Body, Child, Each, Group, List, Name, Plan};
use common::run::queue::Label;
use common::run::scheduling::Priority;
use common::run::spec::RunScope;
use common::secret::SecretId;

use super::document::{self, Defaults, Job, Permission, SubJob, Task, list, text, texts};
use super::shown::redact::Redactor;
use crate::error::{Error, Result};
use crate::jobs::plans::Secret;

/// The queue of tasks that name none.
pub const QUEUE: &str = "default";
/// What an element of a list is called where the list says nothing.
const ITEM: &str = "item";
/// The role that every user has.
const PUBLIC: &str = "public";
/// The names of values that only the server reads begin so.
pub const HIDDEN_VAR: &str = "_result_";

/// A document as the server keeps and runs it.
#[derive(Debug)]
pub struct Compiled {
    pub work: OrderedPlan,
    /// What is kept sealed, each with its value.
    pub secrets: Vec<(Secret, String)>,
    /// The queues that tasks name and that are not known yet.
    pub unknown_queues: BTreeSet<Label>,
    /// The highest of its tasks.
    pub priority: Priority,
    /// Whom its webhooks tell.
    pub callbacks: Callbacks,
}

/// The queues that tasks may name.
pub type Queues = BTreeMap<Label, QueueId>;

/// Compiles a document that has been checked, for the job of this id.
///
/// # Errors
/// It asks for what no plan can do.
pub fn compile(id: JobId, job: &Job, queues: &Queues) -> Result<Compiled> {
    check_permissions(list(job.permissions.as_ref()))?;
    let mut compiler = Compiler {
        job: id,
        images: Vec::new(),
        secrets: Vec::new(),
        names: BTreeMap::new(),
        queues,
        unknown_queues: BTreeSet::new(),
        is_urgent: false,
    };
    for (name, value) in texts(job.secrets.as_ref()) {
        compiler.secret(name, value)?;
    }
    let inputs: BTreeMap<String, String> = texts(job.inputs.as_ref())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let defaults = job.defaults.clone().unwrap_or_default();
    let part = Part { defaults: &defaults, inputs: &inputs };
    let tasks = list(job.tasks.as_ref());
    let plan = compiler.plan(part, tasks, text(job.output.as_ref()))?;
    let mut named = BTreeMap::new();
    for (name, value) in inputs {
        named.insert(read_name("inputs", &name)?, value);
    }
    let values = compiler.secrets.iter().map(|(_, value)| value.clone()).collect();
    let document = Job { wait: None, ..job.clone() };
    let mut document = serde_json::to_value(document).map_err(|e| Error::Internal(Box::new(e)))?;
    Redactor::new(values).document(&mut document);
    let Compiler { images, secrets, names, unknown_queues, is_urgent, .. } = compiler;
    let priority = if is_urgent { Priority::Fast } else { Priority::default() };
    let scope = RunScope { inputs: named, secrets: names, ..RunScope::default() };
    let is_scheduled = job.schedule.is_some();
    let told = webhooks::Job { id, is_scheduled, document: &document };
    let callbacks = webhooks::callbacks(&told, list(job.webhooks.as_ref()))?;
    let work = OrderedPlan { plan, images, scope, document };
    Ok(Compiled { work, secrets, unknown_queues, priority, callbacks })
}

/// One permission is enough to see a job, and every user has the role `public`. What would keep
/// members of the workspace from a job is refused: all of them see it.
fn check_permissions(permissions: &[Permission]) -> Result<()> {
    let is_public = |permission: &Permission| text(permission.role.as_ref()) == PUBLIC;
    if permissions.is_empty() || permissions.iter().any(is_public) {
        return Ok(());
    }
    let why = "would hide the job from members of the workspace, who see all of its jobs: leave \
               them out, or use another workspace";
    Err(refused("permissions", why))
}

fn refused(place: &str, why: impl std::fmt::Display) -> Error {
    Error::Invalid(format!("{place}: {why}"))
}

fn read_name(place: &str, name: &str) -> Result<Name> {
    name.parse().map_err(|error| refused(place, error))
}

fn template(place: &str, source: &str) -> Result<Template> {
    Template::new(source).map_err(|error| refused(place, error))
}

/// The name under which the server reads the value of a block that has none of its own.
pub fn hidden_var(block: BlockId) -> String {
    format!("{HIDDEN_VAR}{}", block.number())
}

struct Compiler<'a> {
    job: JobId,
    images: Vec<ImageName>,
    secrets: Vec<(Secret, String)>,
    /// The secrets that expressions know.
    names: BTreeMap<Name, SecretId>,
    queues: &'a Queues,
    unknown_queues: BTreeSet<Label>,
    /// Some task comes before others.
    is_urgent: bool,
}

/// The job or the sub-job that tasks are of.
#[derive(Clone, Copy)]
struct Part<'a> {
    defaults: &'a Defaults,
    inputs: &'a BTreeMap<String, String>,
}

/// Where a task stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It is opened once.
    Once,
    /// It is what a list does with each element; whether the list has a value.
    Element { is_valued: bool },
    /// It lies deeper in a list.
    InList,
}

impl Place {
    const fn inner(self) -> Self {
        match self {
            Self::Once => Self::Once,
            Self::Element { .. } | Self::InList => Self::InList,
        }
    }

    /// A name for the value of a block that has none of its own.
    fn hidden_var(self, block: BlockId) -> Option<Name> {
        match self {
            Self::Once => hidden_var(block).parse().ok(),
            Self::Element { .. } | Self::InList => None,
        }
    }
}

/// The blocks of one plan.
struct Blocks(Vec<Option<Block>>);

impl Blocks {
    fn reserve(&mut self) -> Result<BlockId> {
        let id = u16::try_from(self.0.len()).map_err(|_| refused("tasks", "are too many"))?;
        self.0.push(None);
        Ok(BlockId::new(id))
    }

    fn set(&mut self, id: BlockId, block: Block) {
        self.0[usize::from(id.number())] = Some(block);
    }
}

impl Compiler<'_> {
    fn plan(&mut self, part: Part<'_>, tasks: &[Task], output: &str) -> Result<Plan> {
        let mut blocks = Blocks(Vec::new());
        let root = blocks.reserve()?;
        let mut of = Vec::new();
        for task in tasks {
            of.push(self.task(&mut blocks, part, task, Place::Once)?);
        }
        blocks.set(root, Block::new("run", Body::Group(Group::sequence(of))));
        let plan = Plan::new(blocks.0.into_iter().flatten().collect());
        let plan = plan.map_err(|error| Error::Invalid(error.to_string()))?;
        if output.is_empty() {
            return Ok(plan);
        }
        let output = template("output", output)?;
        plan.with_output(output).map_err(|error| refused("output", error))
    }

    /// Adds a task with all that it consists of.
    fn task(
        &mut self,
        blocks: &mut Blocks,
        part: Part<'_>,
        task: &Task,
        place: Place,
    ) -> Result<BlockId> {
        let id = blocks.reserve()?;
        let name = text(task.name.as_ref()).to_owned();
        let mut var = match text(task.var.as_ref()) {
            // What an element gives has no name of its own: the list has what all of them give.
            "" => None,
            _ if matches!(place, Place::Element { .. }) => None,
            var => Some(read_name(&name, &self.fixed(part, &name, var)?)?),
        };
        let body = if let Some(parallel) = &task.parallel {
            if var.is_some() {
                return Err(refused(&name, "a parallel task gives no value: name those in it"));
            }
            let mut of = Vec::new();
            for task in list(parallel.tasks.as_ref()) {
                of.push(self.task(blocks, part, task, place.inner())?);
            }
            Body::Group(Group::parallel(of))
        } else if let Some(each) = &task.each {
            Body::Each(self.each(blocks, part, id, each, &mut var)?)
        } else if let Some(subjob) = &task.subjob {
            let child = self.child(part, subjob)?;
            if !child.detached {
                var = var.or_else(|| place.hidden_var(id));
            }
            Body::Child(Box::new(child))
        } else {
            var = var.or_else(|| place.hidden_var(id));
            let is_valued = match place {
                Place::Element { is_valued } => is_valued,
                Place::Once | Place::InList => var.is_some(),
            };
            Body::Container(Box::new(self.container(part, task, is_valued)?))
        };
        let when = match text(task.condition.as_ref()) {
            "" => None,
            when => Some(template(&name, when)?),
        };
        blocks.set(id, Block { when, var, ..Block::new(name, body) });
        Ok(id)
    }

    /// A list. Its value has the name that its task has, where it has none itself: the list has
    /// what its elements give.
    fn each(
        &mut self,
        blocks: &mut Blocks,
        part: Part<'_>,
        id: BlockId,
        each: &document::Each,
        var: &mut Option<Name>,
    ) -> Result<Each> {
        let inner = each.task.clone().unwrap_or_default();
        let (place, inner_var) = (text(inner.name.as_ref()), text(inner.var.as_ref()));
        if var.is_none() && !inner_var.is_empty() {
            let item = Some(text(each.var.as_ref())).filter(|item| !item.is_empty());
            let named = template(place, inner_var)?;
            // A task after the list cannot know a name that each element has of its own.
            let of_elements = named.roots().contains(item.unwrap_or(ITEM));
            *var = if of_elements {
                hidden_var(id).parse().ok()
            } else {
                Some(read_name(place, &self.fixed(part, place, inner_var)?)?)
            };
        }
        let is_valued = var.is_some();
        let body = self.task(blocks, part, &inner, Place::Element { is_valued })?;
        let item = match text(each.var.as_ref()) {
            "" => ITEM,
            var => var,
        };
        let at_once = each.concurrency.and_then(|n| u32::try_from(n).ok());
        Ok(Each {
            list: List::Items(template(place, text(each.list.as_ref()))?),
            item: item.to_owned(),
            body,
            at_once: at_once.and_then(NonZeroU32::new),
            first: None,
        })
    }

    fn child(&mut self, part: Part<'_>, subjob: &SubJob) -> Result<Child> {
        let place = text(subjob.name.as_ref()).to_owned();
        if !list(subjob.webhooks.as_ref()).is_empty() {
            let why = "only the webhooks of the job itself are told: leave them out";
            return Err(refused(&place, why));
        }
        for (name, value) in texts(subjob.secrets.as_ref()) {
            self.secret_of_child(&place, name, value)?;
        }
        let (mut inputs, mut known) = (BTreeMap::new(), BTreeMap::new());
        for (name, value) in texts(subjob.inputs.as_ref()) {
            let template = template(&place, value)?;
            if let Ok(fixed) = self.fixed(part, &place, value) {
                known.insert(name.to_owned(), fixed);
            }
            inputs.insert(read_name(&place, name)?, template);
        }
        let defaults = Defaults::default();
        let part = Part { defaults: &defaults, inputs: &known };
        let tasks = list(subjob.tasks.as_ref());
        let plan = self.plan(part, tasks, text(subjob.output.as_ref()))?;
        let (name, detached) = (subjob.name.clone(), subjob.detached.unwrap_or(false));
        Ok(Child { name, plan, inputs, detached })
    }
}
