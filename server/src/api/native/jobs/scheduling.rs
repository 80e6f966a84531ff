//! What a customer says of a job beside its work: how urgent it is, when and where it may run, its
//! tags.

use chrono::DateTime;
use common::package::loose::{Loose, check_line};
use common::run::scheduling::{Priority, Regions};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::http::shape::{Field, Shape, date, one, texts, word};
use crate::error::{Error, Result};
use crate::jobs::draft::{self, DraftChange, LABEL_CHARS_MAX, LABELS_MAX};

pub const FIELDS: [Field; 4] = [
    word("priority", &["cheap", "balanced", "fast"], "Its share of the nodes while others wait"),
    one("regions", &REGIONS, "Everywhere where it is left out"),
    texts("tags", "At most 50"),
    date("start_at", "Its work begins no earlier; within a year from now"),
];

pub const REGIONS: Shape = Shape {
    name: "NewRegions",
    fields: &[
        texts("allow", "Only there: a region, or the beginning of several, such as eu"),
        texts("deny", "Not there"),
    ],
};

/// A job's share of the nodes while others wait: `cheap` has half the share of `balanced`, and
/// `fast` twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Priority)]
pub enum PriorityOut {
    Cheap,
    Balanced,
    Fast,
}

/// Where a job may run.
#[derive(Serialize, ToSchema)]
#[schema(as = JobRegions)]
pub struct RegionsOut {
    /// Only there; empty is everywhere.
    allow: Vec<String>,
    /// Not there.
    deny: Vec<String>,
}

/// Reads `FIELDS` of a body.
pub fn read(body: &mut Loose, change: &mut DraftChange) -> Result<()> {
    let field = body.name("priority");
    if let Some(name) = body.text("priority")? {
        change.priority = Some(
            priority(&name)
                .ok_or_else(|| Error::field(field, "must be cheap, balanced or fast"))?,
        );
    }
    change.regions = read_regions(body)?;
    if body.has("tags") {
        change.tags = Some(labels(body, "tags")?);
    }
    let field = body.name("start_at");
    if let Some(text) = body.text("start_at")? {
        let time = DateTime::parse_from_rfc3339(&text);
        let time = time.map_err(|_| {
            Error::field(field.as_str(), "must be a time such as 2027-01-31T12:00:00Z")
        })?;
        let start_at = draft::start_at(time.to_utc()).map_err(|refused| refused.about(&field))?;
        change.start_at = Some(start_at);
    }
    Ok(())
}

/// Reads the field `regions`.
pub fn read_regions(body: &mut Loose) -> Result<Option<Regions>> {
    let Some(mut regions) = body.object("regions")? else { return Ok(None) };
    let whitelist = labels(&mut regions, "allow")?;
    let blacklist = labels(&mut regions, "deny")?;
    regions.finish()?;
    Ok(Some(Regions { whitelist, blacklist }))
}

fn priority(name: &str) -> Option<Priority> {
    match name {
        "cheap" => Some(Priority::Cheap),
        "balanced" => Some(Priority::Balanced),
        "fast" => Some(Priority::Fast),
        _ => None,
    }
}

fn labels(fields: &mut Loose, key: &str) -> Result<Vec<String>> {
    let field = fields.name(key);
    let labels = fields.texts(key, LABELS_MAX)?;
    for label in &labels {
        check_line(&field, label, LABEL_CHARS_MAX)?;
    }
    Ok(labels)
}

impl From<Priority> for PriorityOut {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::Cheap => Self::Cheap,
            Priority::Undefined | Priority::Balanced => Self::Balanced,
            Priority::Fast => Self::Fast,
        }
    }
}

impl From<Regions> for RegionsOut {
    fn from(Regions { whitelist, blacklist }: Regions) -> Self {
        Self { allow: whitelist, deny: blacklist }
    }
}
