//! From a document to a plan.
//!
//! The blocks of a plan are numbered as the tasks stand in the document, those within a task after
//! it: so what becomes of a block is shown with what its task says (`blocks.rs`).

mod container;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use common::compute::image::Reference;
use common::expression::{Fixed, Scope, Template, evaluate_text};
use common::ids::JobId;
use common::order::container::ImageName;
use common::order::ordered_plan::OrderedPlan;
use common::plan::{Block, BlockId, Body, Child, Each, Group, List, Name, Plan};
use common::run::spec::RunScope;
use common::secret::{Purpose, SecretId};

use super::document::{self, Defaults, Job, Registry, SubJob, Task, list, text, texts};
use super::redact::Redactor;
use crate::error::{Error, Result};
use crate::jobs::plans::Secret;

/// What an element of a list is called where the list says nothing.
const ITEM: &str = "item";
/// The names of values that only the server reads begin so.
pub const HIDDEN_VAR: &str = "_result_";

/// A document as the server keeps and runs it.
#[derive(Debug)]
pub struct Compiled {
    pub work: OrderedPlan,
    /// What is kept sealed, each with its value.
    pub secrets: Vec<(Secret, String)>,
}

/// Compiles a document that has been checked, for the job of this id.
///
/// # Errors
/// It asks for what no plan can do.
pub fn compile(id: JobId, job: &Job) -> Result<Compiled> {
    if !list(job.webhooks.as_ref()).is_empty() {
        return Err(refused("webhooks", "are not delivered by this server: leave them out"));
    }
    if !list(job.permissions.as_ref()).is_empty() {
        let why = "are those of the workspace, whose members see all of its jobs: leave them out";
        return Err(refused("permissions", why));
    }
    let mut compiler =
        Compiler { job: id, images: Vec::new(), secrets: Vec::new(), names: BTreeMap::new() };
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
    let Compiler { images, secrets, names, .. } = compiler;
    let scope = RunScope { inputs: named, secrets: names, ..RunScope::default() };
    Ok(Compiled { work: OrderedPlan { plan, images, scope, document }, secrets })
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

struct Compiler {
    job: JobId,
    images: Vec<ImageName>,
    secrets: Vec<(Secret, String)>,
    /// The secrets that expressions know.
    names: BTreeMap<Name, SecretId>,
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

impl Compiler {
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
            "" => None,
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
            Body::Each(self.each(blocks, part, each, &mut var)?)
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
        if matches!(place, Place::Element { .. }) {
            var = None;
        }
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
        each: &document::Each,
        var: &mut Option<Name>,
    ) -> Result<Each> {
        let inner = each.task.clone().unwrap_or_default();
        let (place, inner_var) = (text(inner.name.as_ref()), text(inner.var.as_ref()));
        if var.is_none() && !inner_var.is_empty() {
            *var = Some(read_name(place, inner_var)?);
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
            let why = "webhooks are not delivered by this server: leave them out";
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
        Ok(Child { plan, inputs, detached: subjob.detached.unwrap_or(false) })
    }

    /// A text that is known when the job is made: its expressions read inputs alone.
    fn fixed(&self, part: Part<'_>, place: &str, source: &str) -> Result<String> {
        let template = template(place, source)?;
        if template.is_plain() {
            return Ok(source.to_owned());
        }
        if template.roots().iter().any(|root| *root != "inputs") {
            let why =
                format!("{source:?} must be known when the job is made: it may name inputs only");
            return Err(refused(place, why));
        }
        let mut scope = Scope::default();
        scope.set("inputs", serde_json::json!(part.inputs));
        evaluate_text(&template, &scope, &Fixed::default()).map_err(|fault| refused(place, fault))
    }

    /// Keeps a secret of the job.
    fn secret(&mut self, name: &str, value: &str) -> Result<()> {
        let known = read_name("secrets", name)?;
        let id = SecretId::of_order(self.job, &format!("value/{name}"));
        self.names.insert(known, id.clone());
        self.keep(id, Purpose::Other, "", value);
        Ok(())
    }

    /// A sub-job knows the secrets of its job, and more under names of its own.
    fn secret_of_child(&mut self, place: &str, name: &str, value: &str) -> Result<()> {
        let known = read_name(place, name)?;
        let plain: String = value.split_whitespace().collect();
        let alias = plain.strip_prefix("{{secrets.").and_then(|rest| rest.strip_suffix("}}"));
        let alias = alias.and_then(|alias| alias.parse::<Name>().ok());
        let id = match alias {
            Some(alias) => self.names.get(&alias).cloned(),
            None if value.contains("{{") => None,
            None => Some(SecretId::of_order(self.job, &format!("value/{name}"))),
        };
        let Some(id) = id else {
            let why = format!("the secret {name} must be a text or one of the job's secrets");
            return Err(refused(place, why));
        };
        match self.names.get(&known) {
            Some(other) if *other != id || !value.contains("{{") => Err(refused(
                place,
                format!("the job has another secret {name}: choose another name"),
            )),
            Some(_) => Ok(()),
            None if value.contains("{{") => {
                self.names.insert(known, id);
                Ok(())
            }
            None => self.secret(name, value),
        }
    }

    fn keep(&mut self, id: SecretId, purpose: Purpose, user: &str, value: &str) {
        let secret = Secret {
            id,
            purpose,
            name: String::new(),
            access_key: user.to_owned(),
            params: BTreeMap::new(),
            expires_at: None,
        };
        self.secrets.push((secret, value.to_owned()));
    }

    /// The place of an image among those of the plan.
    fn image(
        &mut self,
        part: Part<'_>,
        place: &str,
        name: &str,
        registry: Option<&Registry>,
    ) -> Result<usize> {
        // The published example has a comma behind its image, where no image can have one.
        let name = self.fixed(part, place, name)?.trim_end_matches(',').to_owned();
        let secret = match registry {
            None => None,
            Some(registry) => {
                let image: Reference = name.parse().map_err(|error| refused(place, error))?;
                let purpose = Purpose::Registry { host: image.host };
                let id = SecretId::of_order(self.job, &format!("login/{}", self.secrets.len()));
                let [user, password] =
                    [&registry.username, &registry.password].map(|field| text(field.as_ref()));
                self.keep(id.clone(), purpose, user, password);
                Some(id)
            }
        };
        let image = ImageName { name, secret };
        let known = self.images.iter().position(|known| *known == image);
        Ok(known.unwrap_or_else(|| {
            self.images.push(image);
            self.images.len() - 1
        }))
    }
}
