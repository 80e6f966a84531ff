//! Containers that a caller orders.

use std::collections::BTreeMap;

use common::compute::container::{Command, ContainerPath, Isolation, Network, Profile};
use common::compute::environment::Environment;
use common::compute::image::Reference;
use common::compute::resources::Resources;
use common::order::container::{
    ContainerOrder, ContainerWork, ImageName, OrderedProgram, OrderedSide,
};
use common::package::loose::{Invalid, Loose};
use common::secret::SecretId;
use serde_json::Value;

use crate::api::http::shape::{Field, Kind, Shape, flag, integer, map, text, texts, word};
use crate::error::{Error, Result};

/// What a container has where nothing is said: a vCPU, a GiB of memory, and two of disk.
const CPU_MILLIS: u32 = 1000;
const MEMORY_MIB: u32 = 1024;
const DISK_MIB: u32 = 2048;
const CPU_MILLIS_MAX: u32 = 1_024_000;
const MEMORY_MIB_MAX: u32 = 16 << 20;
const DISK_MIB_MAX: u32 = 64 << 20;
const TIMEOUT_SECS_MAX: u32 = 7 * 24 * 3600;
const RETRIES_MAX: u32 = 100;
/// The most programs of one list, words of a command, secrets, GPUs and shared folders.
const PROGRAMS_MAX: usize = 64;
const WORDS_MAX: usize = 1024;
const NAMES_MAX: usize = 64;

/// What a shell's line is run with.
pub const SHELL: [&str; 2] = ["sh", "-c"];

pub const CONTAINER: Shape = Shape { name: "NewContainer", fields: &FIELDS };

const PROGRAM: [Field; 7] = [
    text("image", "An image that was pushed, or of a registry; localhost/NAME is one of the engine of your own nodes").required().example("alpine:3"),
    text("image_secret", "The secret of type registry that opens the image"),
    texts("command", "The program with its arguments, in place of the image's own"),
    text("shell", "A line for sh, in place of a command"),
    text("workdir", "The image's own where it is left out"),
    map("env", "Variables: texts by their names"),
    text("name", "Lower-case letters, digits and hyphens; of several containers"),
];

const FIELDS: [Field; 23] = [
    PROGRAM[0],
    PROGRAM[1],
    PROGRAM[2],
    PROGRAM[3],
    PROGRAM[4],
    PROGRAM[5],
    map("files", "Texts by the paths at which the containers find them, 256 KiB together"),
    texts("shared", "Folders that all containers of the task share"),
    text("results", "The folder whose files are the results; nothing is kept where it is left out"),
    texts("secrets", "Ids of secrets that the containers get as variables"),
    integer("cpu_millis", "Thousandths of a vCPU; 1000 where it is left out"),
    integer("memory_mib", "1024 where it is left out"),
    integer("disk_mib", "What it may write; 2048 where it is left out"),
    texts("gpus", "Names of GPUs: it gets one of them"),
    integer("timeout_secs", "For one attempt; the server's own where it is left out"),
    integer("retries", "Further attempts after the first failed; none where it is left out"),
    word(
        "profile",
        &PROFILES,
        "sealed where it is left out; plain for the image's own user and a root to write to, on nodes that allow it",
    ),
    word(
        "network",
        &NETWORKS,
        "none where it is left out; internet on nodes whose owners give containers a network",
    ),
    word(
        "isolation",
        &ISOLATIONS,
        "warm where it is left out; fresh for a container in which nothing has run before",
    ),
    flag("own_nodes", "Only nodes of this workspace"),
    Field::new("before", Kind::Many(&STEP), "What runs before it, until one fails"),
    Field::new("after", Kind::Many(&STEP), "What runs after it has succeeded, until one fails"),
    Field::new(
        "beside",
        Kind::Many(&SIDE),
        "What runs beside all of these: they reach it at localhost and at its name",
    ),
];

const STEP: Shape = Shape { name: "NewStep", fields: &PROGRAM };

const SIDE: Shape = Shape {
    name: "NewSideContainer",
    fields: &[
        PROGRAM[0],
        PROGRAM[1],
        PROGRAM[2],
        PROGRAM[3],
        PROGRAM[4],
        PROGRAM[5],
        PROGRAM[6],
        integer("cpu_millis", "Of its own"),
        integer("memory_mib", "Of its own"),
        integer("port", "The TCP port on which it listens before the others begin"),
    ],
};

pub const PROFILES: [&str; 2] = ["sealed", "plain"];
pub const NETWORKS: [&str; 2] = ["none", "internet"];
const ISOLATIONS: [&str; 2] = [Isolation::Warm.as_str(), Isolation::Fresh.as_str()];

/// Reads a body of `CONTAINER`.
pub fn read(mut body: Loose) -> Result<ContainerWork> {
    let field = body.name("image");
    let main = read_program(&mut body)?;
    let needs =
        read_needs(&mut body)?.with_disk(body.small("disk_mib", DISK_MIB_MAX)?.unwrap_or(DISK_MIB));
    let order = ContainerOrder {
        before: programs(&mut body, "before")?,
        after: programs(&mut body, "after")?,
        beside: sides(&mut body)?,
        shared: paths(&mut body, "shared")?,
        files: files(&mut body)?,
        results: path(&mut body, "results")?,
        secrets: secrets(&mut body)?,
        gpus: body.texts("gpus", NAMES_MAX)?,
        timeout_secs: read_timeout(&mut body)?,
        retries: body.small("retries", RETRIES_MAX)?.unwrap_or(0),
        profile: choice(&mut body, "profile", &PROFILES, &Profile::ALL)?,
        network: choice(&mut body, "network", &NETWORKS, &[Network::None, Network::Internet])?,
        isolation: choice(&mut body, "isolation", &ISOLATIONS, &Isolation::ALL)?,
        own_nodes: body.flag("own_nodes")?.unwrap_or(false),
        ..ContainerOrder::of(main, needs)
    };
    body.finish()?;
    ContainerWork::new(order).map_err(|refused| Error::field(field, refused.to_string()))
}

/// Seconds of one attempt; none at all would end each before it begins.
fn read_timeout(body: &mut Loose) -> Result<Option<u32>> {
    let secs = body.number("timeout_secs", 1..=TIMEOUT_SECS_MAX.into())?;
    Ok(secs.map(|secs| u32::try_from(secs).expect("the bound fits")))
}

fn read_program(body: &mut Loose) -> Result<OrderedProgram> {
    let image_field = body.name("image");
    let name = body.required_text("image")?;
    name.parse::<Reference>().map_err(|error| Error::field(image_field, error.to_string()))?;
    let secret = secret(body, "image_secret")?;
    let (command_field, has_command) = (body.name("command"), body.has("command"));
    let command = body.texts("command", WORDS_MAX)?;
    let command = match body.text("shell")? {
        Some(_) if has_command => {
            return Err(Error::field(command_field, "and shell are one too many: leave out one"));
        }
        Some(line) => Command::Line(SHELL.map(str::to_owned).into_iter().chain([line]).collect()),
        None if has_command => Command::Line(command),
        None => Command::Image,
    };
    Ok(OrderedProgram {
        name: body.text("name")?,
        image: ImageName { name, secret },
        command,
        working_dir: path(body, "workdir")?,
        environment: environment(body)?,
    })
}

fn read_needs(body: &mut Loose) -> Result<Resources> {
    Ok(Resources::new(
        body.small("cpu_millis", CPU_MILLIS_MAX)?.unwrap_or(CPU_MILLIS),
        body.small("memory_mib", MEMORY_MIB_MAX)?.unwrap_or(MEMORY_MIB),
    ))
}

fn programs(body: &mut Loose, key: &str) -> Result<Vec<OrderedProgram>> {
    objects(body, key, PROGRAMS_MAX)?
        .into_iter()
        .map(|mut step| {
            let program = read_program(&mut step)?;
            step.finish()?;
            Ok(program)
        })
        .collect()
}

fn sides(body: &mut Loose) -> Result<Vec<OrderedSide>> {
    let read = |mut side: Loose| {
        let (program, needs) = (read_program(&mut side)?, read_needs(&mut side)?);
        let field = side.name("port");
        let port = side.small("port", u16::MAX.into())?.map(u16::try_from).transpose();
        let port = port.ok().filter(|port| *port != Some(0));
        let port = port.ok_or_else(|| Error::field(field, "must be a port, 1 to 65535"))?;
        side.finish()?;
        Ok(OrderedSide { program, needs, port })
    };
    objects(body, "beside", PROGRAMS_MAX)?.into_iter().map(read).collect()
}

/// A list of at most so many objects.
pub fn objects(body: &mut Loose, key: &str, count_max: usize) -> Result<Vec<Loose>> {
    let field = body.name(key);
    let Some(value) = body.value(key) else { return Ok(Vec::new()) };
    let items = match value {
        Value::Array(items) if items.len() <= count_max => items,
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => {
            return Err(Error::field(field, format!("must be a list of at most {count_max}")));
        }
    };
    let item = |(n, item): (usize, Value)| Loose::new(format!("{field}[{n}]"), item);
    Ok(items.into_iter().enumerate().map(item).collect::<std::result::Result<_, Invalid>>()?)
}

/// An object of texts.
pub fn text_map(body: &mut Loose, key: &str) -> Result<BTreeMap<String, String>> {
    let Some(mut object) = body.object(key)? else { return Ok(BTreeMap::new()) };
    let keys: Vec<String> = object.keys().map(str::to_owned).collect();
    let mut texts = BTreeMap::new();
    for key in keys {
        let field = object.name(&key);
        match object.value(&key) {
            Some(Value::String(text)) => texts.insert(key, text),
            _ => return Err(Error::field(field, "must be a text")),
        };
    }
    Ok(texts)
}

fn environment(body: &mut Loose) -> Result<Environment> {
    let field = body.name("env");
    let variables = text_map(body, "env")?;
    variables.try_into().map_err(|refused: common::compute::environment::InvalidEnvironment| {
        Error::field(field, refused.to_string())
    })
}

fn files(body: &mut Loose) -> Result<BTreeMap<ContainerPath, String>> {
    let field = body.name("files");
    let files = text_map(body, "files")?;
    let file = |(path, text): (String, String)| {
        let bad = || Error::field(format!("{field}.{path}"), "must be an absolute plain path");
        Ok((path.parse().map_err(|_| bad())?, text))
    };
    files.into_iter().map(file).collect()
}

fn path(body: &mut Loose, key: &str) -> Result<Option<ContainerPath>> {
    let field = body.name(key);
    let path = body.text(key)?.map(|text| text.parse()).transpose();
    path.map_err(|_| Error::field(field, "must be an absolute plain path, such as /out"))
}

fn paths(body: &mut Loose, key: &str) -> Result<Vec<ContainerPath>> {
    let field = body.name(key);
    let paths = body.texts(key, NAMES_MAX)?.into_iter().map(|text| text.parse());
    let paths = paths.collect::<std::result::Result<_, _>>();
    paths.map_err(|_| Error::field(field, "must be absolute plain paths, such as /shared"))
}

fn secret(body: &mut Loose, key: &str) -> Result<Option<SecretId>> {
    let field = body.name(key);
    let id = body.text(key)?.map(|text| SecretId::named(&text)).transpose();
    id.map_err(|bad| Error::field(field, bad.to_string()))
}

fn secrets(body: &mut Loose) -> Result<Vec<SecretId>> {
    let field = body.name("secrets");
    let ids = body.texts("secrets", NAMES_MAX)?;
    let ids = ids.iter().map(|id| SecretId::named(id)).collect::<std::result::Result<_, _>>();
    ids.map_err(|bad| Error::field(field, bad.to_string()))
}

fn choice<T: Copy + Default>(
    body: &mut Loose,
    key: &str,
    words: &[&str],
    values: &[T],
) -> Result<T> {
    let field = body.name(key);
    let Some(text) = body.text(key)? else { return Ok(T::default()) };
    let found = words.iter().zip(values).find(|(word, _)| **word == text);
    found
        .map(|(_, value)| *value)
        .ok_or_else(|| Error::field(field, format!("must be one of {}", words.join(", "))))
}
