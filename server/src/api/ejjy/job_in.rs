//! A job that a caller describes, and what is changed of one.

use std::collections::{BTreeMap, BTreeSet};

use common::compute::container::{Command, Profile};
use common::compute::environment::{Environment, InvalidEnvironment};
use common::compute::image::Reference;
use common::compute::resources::Resources;
use common::order::container::{ContainerOrder, ContainerWork, ImageName, OrderedProgram};
use common::package::loose::{Loose, check_line};
use serde_json::Value;

use super::schedule::{self, ScheduleChange};
use crate::api::http::shape::{Field, Kind, map, text, texts};
use crate::error::{Error, Result};
use crate::jobs::containers::Terms;
use crate::jobs::draft::{LABEL_CHARS_MAX, LABELS_MAX, NAME_CHARS_MAX};

/// What a container has: the API has no words for it.
const NEEDS: Resources = Resources::new(1000, 1024).with_disk(2048);
const WORDS_MAX: usize = 1024;
/// What runs a command that is one text.
const SHELL: [&str; 2] = ["sh", "-c"];

const FIELDS: [Field; 5] = [
    text("image", "The container's image").required().example("example/etl:1"),
    text("name", "The job's name").required().example("nightly"),
    Field::new(
        "command",
        Kind::Any,
        "A text for a shell, or a list: the program with its arguments",
    ),
    texts("tags", "At most 50"),
    map("env", "Variables: texts by their names"),
];

/// What a new job takes.
pub fn new_fields() -> Vec<Field> {
    [&FIELDS[..], &schedule::FIELDS].concat()
}

/// What can be changed of a job.
pub fn change_fields() -> Vec<Field> {
    let optional = FIELDS.map(|field| Field { required: false, ..field });
    [&optional[..], &schedule::FIELDS].concat()
}

/// What a body says. What is `None` stays as it is.
pub struct JobIn {
    pub terms: Terms,
    pub schedule: ScheduleChange,
    image: Option<String>,
    command: Option<Command>,
    environment: Option<Environment>,
}

/// Reads a whole body of `change_fields`, which `bytes` hold, too: a field that is null or empty is
/// one that is to go.
pub fn read(mut body: Loose, bytes: &[u8]) -> Result<JobIn> {
    let gone = emptied(bytes);
    for key in ["name", "image"] {
        if gone.contains(key) {
            return Err(Error::field(key, "must not be empty"));
        }
    }
    let tags = body.has("tags").then(|| read_tags(&mut body)).transpose()?;
    let name = body.line("name", NAME_CHARS_MAX)?;
    let read = JobIn {
        terms: Terms { name, tags, ..Terms::default() },
        schedule: schedule::read(&mut body, gone.contains("schedule"))?,
        image: read_image(&mut body)?,
        command: match read_command(&mut body)? {
            None if gone.contains("command") => Some(Command::Image),
            command => command,
        },
        environment: read_environment(&mut body)?,
    };
    body.finish()?;
    Ok(read)
}

/// The names of the fields that are null, or an empty text.
fn emptied(bytes: &[u8]) -> BTreeSet<String> {
    let fields: BTreeMap<String, Value> = serde_json::from_slice(bytes).unwrap_or_default();
    let is_empty = |value: &Value| value.is_null() || value.as_str() == Some("");
    fields.into_iter().filter(|(_, value)| is_empty(value)).map(|(name, _)| name).collect()
}

impl JobIn {
    /// The work of a new job.
    ///
    /// # Errors
    /// Names what is missing.
    pub fn new_work(&self) -> Result<ContainerWork> {
        let missing = |field: &str| Error::field(field, "is missing");
        let image = self.image.clone().ok_or_else(|| missing("image"))?;
        self.terms.name.as_ref().ok_or_else(|| missing("name"))?;
        let main = OrderedProgram {
            name: None,
            image: ImageName { name: image, secret: None },
            command: self.command.clone().unwrap_or(Command::Image),
            working_dir: None,
            environment: self.environment.clone().unwrap_or_default(),
        };
        let order = ContainerOrder { profile: Profile::Plain, ..ContainerOrder::of(main, NEEDS) };
        made(order)
    }

    /// The work of a job that has this one; `None` where nothing of it changes.
    pub fn changed_work(&self, before: &ContainerOrder) -> Result<Option<ContainerWork>> {
        if self.image.is_none() && self.command.is_none() && self.environment.is_none() {
            return Ok(None);
        }
        let mut order = before.clone();
        if let Some(name) = &self.image {
            order.main.image = ImageName { name: name.clone(), secret: None };
        }
        if let Some(command) = &self.command {
            order.main.command = command.clone();
        }
        if let Some(environment) = &self.environment {
            order.main.environment = environment.clone();
        }
        made(order).map(Some)
    }
}

fn made(order: ContainerOrder) -> Result<ContainerWork> {
    ContainerWork::new(order).map_err(|refused| Error::Invalid(refused.to_string()))
}

fn read_image(body: &mut Loose) -> Result<Option<String>> {
    let name = body.text("image")?;
    if let Some(name) = &name {
        name.parse::<Reference>().map_err(|error| Error::field("image", error.to_string()))?;
    }
    Ok(name)
}

/// A text for a shell, or a list of words; null, or no word at all, is the image's own.
fn read_command(body: &mut Loose) -> Result<Option<Command>> {
    if !body.has("command") {
        return Ok(None);
    }
    let wrong = || {
        let problem = format!("must be a text, or a list of at most {WORDS_MAX} texts");
        Error::field("command", problem)
    };
    let words = match body.value("command") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(line)) if line.trim().is_empty() => return Ok(Some(Command::Image)),
        Some(Value::String(line)) => SHELL.map(str::to_owned).into_iter().chain([line]).collect(),
        Some(Value::Array(words)) if words.len() <= WORDS_MAX => {
            let word = |word: Value| match word {
                Value::String(word) => Some(word),
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::Array(_)
                | Value::Object(_) => None,
            };
            words.into_iter().map(word).collect::<Option<Vec<_>>>().ok_or_else(wrong)?
        }
        Some(_) => return Err(wrong()),
    };
    Ok(Some(if words.is_empty() { Command::Image } else { Command::Line(words) }))
}

fn read_environment(body: &mut Loose) -> Result<Option<Environment>> {
    let Some(mut object) = body.object("env")? else { return Ok(None) };
    let names: Vec<String> = object.keys().map(str::to_owned).collect();
    let mut variables = BTreeMap::new();
    for name in names {
        let field = object.name(&name);
        match object.value(&name) {
            Some(Value::String(text)) => variables.insert(name, text),
            _ => return Err(Error::field(field, "must be a text")),
        };
    }
    let wrong = |refused: InvalidEnvironment| Error::field("env", refused.to_string());
    variables.try_into().map(Some).map_err(wrong)
}

fn read_tags(body: &mut Loose) -> Result<Vec<String>> {
    let tags = body.texts("tags", LABELS_MAX)?;
    for tag in &tags {
        check_line("tags", tag, LABEL_CHARS_MAX)?;
    }
    Ok(tags)
}
