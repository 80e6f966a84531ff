//! What a caller says of a job definition: an image with a command, or a script.

use std::collections::BTreeMap;

use common::compute::container::{Command, Network, Profile};
use common::compute::environment::Environment;
use common::compute::resources::Resources;
use common::order::container::{ContainerOrder, ImageName, OrderedProgram};
use common::package::loose::Loose;
use common::secret::{SecretId, is_variable};

use super::names::{self, PROJECT_CODE};
use super::submit_in::text_values;
use crate::api::http::shape::{Field, flag, integer, map, text, texts, word};
use crate::error::{Error, Result};
use crate::jobs::queues::DESCRIPTION_CHARS_MAX;
use crate::jobs::queues::definitions::{DefinitionKind, NewDefinition};

/// The most words of a command.
const WORDS_MAX: usize = 1024;
const SCRIPT_BYTES_MAX: usize = 64 * 1024;
/// What stands for no limit: the longest time that a task may have.
const TIMEOUT_SECS_MAX: u32 = 7 * 24 * 3600;
const CPU_MILLIS: u32 = 1000;
const MEMORY_MIB: u32 = 1024;
const DISK_MIB: u32 = 2048;
const CPU_MILLIS_MAX: u32 = 1_024_000;
const MEMORY_MIB_MAX: u32 = 16 << 20;
const KINDS: [&str; 2] = ["docker", "bash"];
/// Runs the script by bash, where the image has it.
const RUN_SCRIPT: &str =
    "if command -v bash >/dev/null 2>&1; then exec bash -c \"$0\"; fi; exec sh -c \"$0\"";

pub const FIELDS: [Field; 14] = [
    PROJECT_CODE,
    text("name", "The same; a name that is there already gets a new version").required(),
    text("description", "At most 1024 characters"),
    word("kind", &KINDS, "docker where it is left out"),
    text("docker_image", "Of kind docker"),
    text("container_registry_auth", "The id of a saved login that opens the image"),
    text("script", "Of kind bash"),
    integer("execution_timeout", "Seconds that a job may run; 0, or left out, is no limit"),
    texts("command", "Of kind docker; words may be Param::name"),
    map("command_parameters", "Texts in place of Param::name where a job gives none"),
    map("environment_variables", "Texts by their names; kept encrypted and never shown"),
    flag("privileged", "Refused: containers have no permissions on hosts"),
    integer("cpu_millis", "Thousandths of a vCPU; 1000 where it is left out"),
    integer("memory_mib", "1024 where it is left out"),
];

/// Reads a whole body of `FIELDS`. `script_image` is what scripts run in.
pub fn read(mut body: Loose, script_image: &str) -> Result<NewDefinition> {
    let (project, name) = (names::project(&mut body)?, names::label(&mut body, "name")?);
    let description = body.line("description", DESCRIPTION_CHARS_MAX)?.unwrap_or_default();
    let kind = kind(&mut body)?;
    let (image, command) = match kind {
        DefinitionKind::Image => image(&mut body)?,
        DefinitionKind::Script => script(&mut body, script_image)?,
    };
    if body.flag("privileged")? == Some(true) {
        let problem = "is not given: nodes let no container act on their host";
        return Err(Error::field("privileged", problem));
    }
    let needs = Resources::new(
        body.small("cpu_millis", CPU_MILLIS_MAX)?.unwrap_or(CPU_MILLIS),
        body.small("memory_mib", MEMORY_MIB_MAX)?.unwrap_or(MEMORY_MIB),
    );
    let timeout = body.small("execution_timeout", TIMEOUT_SECS_MAX)?.filter(|secs| *secs > 0);
    let main = OrderedProgram {
        name: None,
        image,
        command,
        working_dir: None,
        environment: Environment::default(),
    };
    let order = ContainerOrder {
        timeout_secs: Some(timeout.unwrap_or(TIMEOUT_SECS_MAX)),
        profile: Profile::Plain,
        network: Network::None,
        ..ContainerOrder::of(main, needs.with_disk(DISK_MIB))
    };
    let parameters = text_values(&mut body, "command_parameters")?;
    let hidden = environment(&mut body)?;
    body.finish()?;
    Ok(NewDefinition { project, name, description, kind, order, parameters, hidden })
}

fn kind(body: &mut Loose) -> Result<DefinitionKind> {
    match body.text("kind")?.as_deref() {
        None | Some("docker") => Ok(DefinitionKind::Image),
        Some("bash") => Ok(DefinitionKind::Script),
        Some(_) => Err(Error::field("kind", "must be docker or bash")),
    }
}

/// The word for a kind.
pub const fn kind_word(kind: DefinitionKind) -> &'static str {
    match kind {
        DefinitionKind::Image => KINDS[0],
        DefinitionKind::Script => KINDS[1],
    }
}

fn image(body: &mut Loose) -> Result<(ImageName, Command)> {
    if body.has("script") {
        return Err(Error::field("script", "is for the kind bash: leave it out"));
    }
    let name = body.required_text("docker_image")?;
    let secret = body.text("container_registry_auth")?.map(|id| SecretId::named(&id)).transpose();
    let secret = secret.map_err(|bad| Error::field("container_registry_auth", bad.to_string()))?;
    let words = body.texts("command", WORDS_MAX)?;
    let command = if words.is_empty() { Command::Image } else { Command::Line(words) };
    Ok((ImageName { name, secret }, command))
}

fn script(body: &mut Loose, image: &str) -> Result<(ImageName, Command)> {
    for key in ["docker_image", "container_registry_auth", "command"] {
        if body.has(key) {
            return Err(Error::field(key, "is for the kind docker: leave it out"));
        }
    }
    let script = body.required_text("script")?;
    if script.len() > SCRIPT_BYTES_MAX {
        let problem = format!("must have at most {SCRIPT_BYTES_MAX} bytes");
        return Err(Error::field("script", problem));
    }
    let words = ["sh", "-c", RUN_SCRIPT].map(str::to_owned).into_iter().chain([script]);
    let image = ImageName { name: image.to_owned(), secret: None };
    Ok((image, Command::Line(words.collect())))
}

fn environment(body: &mut Loose) -> Result<BTreeMap<String, String>> {
    let variables = text_values(body, "environment_variables")?;
    match variables.keys().find(|name| !is_variable(name)) {
        Some(name) => {
            let field = format!("environment_variables.{name}");
            Err(Error::field(field, "cannot be the name of a variable"))
        }
        None => Ok(variables),
    }
}
