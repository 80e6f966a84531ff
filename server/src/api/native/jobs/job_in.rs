//! What a caller says of a job.

use common::ids::NotAnId;
use common::order::container::ContainerWork;
use common::order::workflow::AUTO_DELETE_SECS_MAX;
use common::package::loose::Loose;
use common::package::tag::{NotATag, Tag};
use common::package::template::Template;

use super::call::{self, CALL};
use super::callbacks::{self, CALLBACKS};
use super::config::{self, CONFIG};
use super::container_in::{self, CONTAINER};
use super::locations::{DESTINATION, SOURCE, read_destination, read_source};
use super::params::{self, PARAMS};
use super::scheduling;
use super::workflow;
use crate::api::http::shape::{Field, Kind, Shape, integer, one, text};
use crate::error::{Error, Result};
use crate::jobs::containers::{NewContainers, PROJECT_CHARS_MAX, Terms};
use crate::jobs::draft::call::NewCall;
use crate::jobs::draft::{
    DESCRIPTION_CHARS_MAX, DraftChange, Given, NAME_CHARS_MAX, NewJob, TemplateChoice,
};
use crate::jobs::workflows::NewWorkflow;

/// What a job can do without a template.
const OTHERS: [&str; 3] = ["call", "container", "workflow"];
const PASSTHROUGH: &str = "passthrough";

/// What a new job takes: what it is made of, and what can be changed of its draft.
pub fn new_fields() -> Vec<Field> {
    let made_of = [TEMPLATE, PACKAGES, CONTAINERS, WORKFLOW, PROJECT, QUEUE];
    [&made_of[..], &change_fields()].concat()
}

/// What a new job is made of.
pub enum NewJobIn {
    Template(Box<NewJob>),
    Call(Box<NewCall>),
    Containers(Box<NewContainers>),
    Workflow(Box<NewWorkflow>),
}

/// What is changed of a job.
pub enum ChangeIn {
    Draft(Box<DraftChange>),
    Containers(Option<Box<ContainerWork>>, Terms),
}

/// What can be changed of a draft, or of a job of containers.
pub fn change_fields() -> Vec<Field> {
    [CHANGE, &scheduling::FIELDS].concat()
}

/// What is changed of a job.
pub fn changed_fields() -> Vec<Field> {
    [&[CONTAINERS, QUEUE][..], &change_fields()].concat()
}

const TEMPLATE: Field = text("template", "The template's id; or packages in its place");
const CONTAINERS: Field =
    one("container", &CONTAINER, "In place of a template: programs of images; as a whole");
const WORKFLOW: Field = Field::new(
    "workflow",
    Kind::Any,
    "In place of a template: a job file, as an object or as the text of a YAML file",
);
const PROJECT: Field =
    text("project", "A name of yours, at most 128 characters; with a container or a workflow");
const QUEUE: Field =
    text("queue", "The id of the queue of its runs; with a container or a workflow");
const PACKAGES: Field = one("packages", &NEW_PACKAGES, "In place of a template");

const NEW_PACKAGES: Shape = Shape {
    name: "NewPackages",
    fields: &[
        text("app", "A tag").required().example("hello-world"),
        text("partitioner", "A tag; passthrough where it is left out"),
        text("assembler", "A tag; passthrough where it is left out"),
    ],
};

const CHANGE: &[Field] = &[
    text("name", "At most 256 characters").example("first job"),
    text("description", "At most 4000 characters"),
    one("source", &SOURCE, "The template's where it is left out"),
    one("destination", &DESTINATION, "The template's where it is left out, and else the bucket"),
    one("params", &PARAMS, "Laid over the template's"),
    one("config", &CONFIG, "Laid over the template's"),
    one("call", &CALL, "What a job of a call does, in place of a template"),
    CALLBACKS,
    integer("auto_delete_secs", "It is deleted so many seconds after the end of its latest run"),
];

pub fn read_new(mut body: Loose) -> Result<NewJobIn> {
    if let Some(kind) = OTHERS.into_iter().find(|key| body.has(key)) {
        let mut others = ["template", "packages"].into_iter().chain(OTHERS);
        if let Some(other) = others.find(|key| *key != kind && body.has(key)) {
            let problem = format!("must be left out, because {kind} says what the job does");
            return Err(Error::field(body.name(other), problem));
        }
    }
    if let Some(call) = body.object("call")? {
        let work = call::read(call)?;
        let new = NewCall { work, scope: None, draft: read_change(body)? };
        return Ok(NewJobIn::Call(Box::new(new)));
    }
    if let Some(container) = body.object("container")? {
        let work = container_in::read(container)?;
        let project = body.line("project", PROJECT_CHARS_MAX)?;
        let terms = read_terms(body)?;
        return Ok(NewJobIn::Containers(Box::new(NewContainers {
            work,
            terms,
            project,
            api: None,
        })));
    }
    if let Some(work) = workflow::read(&mut body)? {
        let project = body.line("project", PROJECT_CHARS_MAX)?;
        let terms = read_terms(body)?;
        return Ok(NewJobIn::Workflow(Box::new(NewWorkflow { work, terms, project })));
    }
    read_new_template(body).map(Box::new).map(NewJobIn::Template)
}

/// Reads a whole body of `changed_fields`.
pub fn read_changed(mut body: Loose, is_of_containers: bool) -> Result<ChangeIn> {
    if !is_of_containers {
        return read_change(body).map(Box::new).map(ChangeIn::Draft);
    }
    let work = body.object("container")?.map(container_in::read).transpose()?;
    Ok(ChangeIn::Containers(work.map(Box::new), read_terms(body)?))
}

/// What is said of a job of containers beside them.
fn read_terms(mut body: Loose) -> Result<Terms> {
    for key in ["source", "destination", "params", "config"] {
        if body.has(key) {
            return Err(Error::field(body.name(key), "is for jobs of templates: leave it out"));
        }
    }
    let field = body.name("queue");
    let queue = body.text("queue")?.map(|id| id.parse()).transpose();
    let queue = queue.map_err(|bad: NotAnId| Error::field(field, bad.to_string()))?;
    let change = read_change(body)?;
    let DraftChange { name, description, priority, regions, tags, start_at, .. } = change;
    let (callbacks, auto_delete_secs) = (change.callbacks, change.auto_delete_secs);
    let terms = Terms { name, description, priority, regions, tags, start_at, ..Terms::default() };
    Ok(Terms { queue, callbacks, auto_delete_secs, ..terms })
}

fn read_new_template(mut body: Loose) -> Result<NewJob> {
    let template = read_template(&mut body)?;
    Ok(NewJob { id: None, template, draft: read_change(body)? })
}

fn read_template(body: &mut Loose) -> Result<TemplateChoice> {
    let field = body.name("template");
    match (body.text("template")?, body.object("packages")?) {
        (Some(id), None) => Ok(TemplateChoice::Stored(id)),
        (None, Some(packages)) => Ok(TemplateChoice::Named(Box::new(read_packages(packages)?))),
        (Some(_), Some(_)) => {
            Err(Error::field(field, "names the packages already: leave out packages"))
        }
        (None, None) => {
            Err(Error::field(field, "is missing, and so are packages, call and container"))
        }
    }
}

fn read_packages(mut packages: Loose) -> Result<Template> {
    let field = packages.name("app");
    let app = read_tag(&mut packages, "app")?.ok_or_else(|| Error::field(field, "is missing"))?;
    let partitioner = read_tag(&mut packages, "partitioner")?;
    let assembler = read_tag(&mut packages, "assembler")?;
    packages.finish()?;
    let or_passthrough = |tag: Option<String>| tag.unwrap_or_else(|| PASSTHROUGH.to_owned());
    Ok(Template::of(app, or_passthrough(partitioner), or_passthrough(assembler)))
}

/// The tag of a package.
pub fn read_tag(fields: &mut Loose, key: &str) -> Result<Option<String>> {
    let field = fields.name(key);
    let Some(text) = fields.text(key)? else { return Ok(None) };
    text.parse::<Tag>().map_err(|bad: NotATag| Error::field(field, bad.to_string()))?;
    Ok(Some(text))
}

/// Reads a whole body of `change_fields`.
pub fn read_change(mut body: Loose) -> Result<DraftChange> {
    let source = body.object("source")?.map(read_source).transpose()?;
    let destination = body.object("destination")?.map(read_destination).transpose()?;
    let mut change = DraftChange {
        name: read_name(&mut body)?,
        description: read_description(&mut body, DESCRIPTION_CHARS_MAX)?,
        source: source.map(|location| Given { location, keys: None }),
        destination: destination.map(|location| Given { location, keys: None }),
        params: params::read(&mut body)?,
        config: config::read(&mut body)?,
        call: body.object("call")?.map(call::read).transpose()?.map(Box::new),
        callbacks: callbacks::read(&mut body)?,
        auto_delete_secs: read_auto_delete(&mut body)?,
        ..DraftChange::default()
    };
    scheduling::read(&mut body, &mut change)?;
    body.finish()?;
    Ok(change)
}

fn read_auto_delete(body: &mut Loose) -> Result<Option<u32>> {
    let secs = body.number("auto_delete_secs", 1..=AUTO_DELETE_SECS_MAX.into())?;
    Ok(secs.and_then(|secs| u32::try_from(secs).ok()))
}

/// The name that a body gives a job.
pub fn read_name(body: &mut Loose) -> Result<Option<String>> {
    Ok(body.line("name", NAME_CHARS_MAX)?)
}

/// A text of several lines.
pub fn read_description(body: &mut Loose, chars_max: usize) -> Result<Option<String>> {
    let field = body.name("description");
    let description = body.text("description")?;
    if description.as_ref().is_some_and(|text| text.chars().count() > chars_max) {
        return Err(Error::field(field, format!("must have at most {chars_max} characters")));
    }
    Ok(description)
}
