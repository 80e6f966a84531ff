//! A template as a caller writes it.

use common::package::loose::Loose;
use common::package::template::{self, DESCRIPTION_CHARS_MAX, PhaseParams, Template};

use crate::api::http::shape::{Field, one, text};
use crate::api::native::jobs::config::{self, CONFIG};
use crate::api::native::jobs::job_in::{read_description, read_tag};
use crate::api::native::jobs::locations::{DESTINATION, SOURCE, read_destination, read_source};
use crate::api::native::jobs::params::{self, PARAMS};
use crate::error::{Error, Result};

pub const TEMPLATE: &[Field] = &[
    text("id", "Letters, digits, - _ . and @").required().example("code-stats"),
    text("description", "At most 4000 characters"),
    text("app", "A tag").required().example("code-stats"),
    text("partitioner", "A tag, or the name of a built-in one").required().example("lines"),
    text("assembler", "A tag, or the name of a built-in one").required().example("concat"),
    one("source", &SOURCE, "Of jobs that name none"),
    one("destination", &DESTINATION, "Of jobs that name none"),
    one("params", &PARAMS, "Jobs lay theirs over it"),
    one("config", &CONFIG, "Jobs lay theirs over it"),
];

pub fn read(mut body: Loose) -> Result<Template> {
    let field = body.name("id");
    let id = body.required_text("id")?;
    template::check_id(&field, &id)?;
    let app = required_tag(&mut body, "app")?;
    let partitioner = required_tag(&mut body, "partitioner")?;
    let assembler = required_tag(&mut body, "assembler")?;
    let description = read_description(&mut body, DESCRIPTION_CHARS_MAX)?.unwrap_or_default();
    let source = body.object("source")?.map(read_source).transpose()?;
    let destination = body.object("destination")?.map(read_destination).transpose()?;
    let params = params::read(&mut body)?.unwrap_or_default();
    let config = config::read(&mut body)?.unwrap_or_default();
    body.finish()?;
    Ok(Template {
        id,
        description,
        source,
        destination,
        params: PhaseParams::default().changed_by(params),
        config,
        ..Template::of(app, partitioner, assembler)
    })
}

fn required_tag(body: &mut Loose, key: &str) -> Result<String> {
    let field = body.name(key);
    read_tag(body, key)?.ok_or_else(|| Error::field(field, "is missing"))
}
