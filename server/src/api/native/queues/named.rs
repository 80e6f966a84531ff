//! What everything has that is named in a project: queues, pools and definitions.

use common::package::loose::Loose;
use common::run::queue::Label;

use crate::api::http::shape::{Field, text};
use crate::api::native::jobs::job_in::read_description;
use crate::error::{Error, Result};
use crate::jobs::containers::PROJECT_CHARS_MAX;
use crate::jobs::queues::DESCRIPTION_CHARS_MAX;

pub const DESCRIPTION: Field = text("description", "At most 1024 characters");

pub const FIELDS: [Field; 3] = [
    text("name", "At most 64 letters, digits, hyphens and underscores").required().example("night"),
    text("project", "A name of yours, at most 128 characters"),
    DESCRIPTION,
];

/// What `FIELDS` say.
pub struct Named {
    pub name: Label,
    /// Empty for none.
    pub project: String,
    pub description: String,
}

/// Reads `FIELDS`.
pub fn read(body: &mut Loose) -> Result<Named> {
    let field = body.name("name");
    let name = body.required_text("name")?;
    Ok(Named {
        name: name.parse().map_err(|bad| Error::field(field, format!("{bad}")))?,
        project: body.line("project", PROJECT_CHARS_MAX)?.unwrap_or_default(),
        description: description(body)?.unwrap_or_default(),
    })
}

pub fn description(body: &mut Loose) -> Result<Option<String>> {
    read_description(body, DESCRIPTION_CHARS_MAX)
}
