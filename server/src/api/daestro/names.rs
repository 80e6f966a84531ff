//! Names with the code of their project: `project::definition:version` and `project::queue`.

use std::collections::BTreeMap;

use common::package::loose::Loose;
use common::run::queue::Label;

use crate::api::http::shape::{Field, integer, text};
use crate::error::{Error, Result};
use crate::jobs::queues::submit::DefinitionName;

const LIMIT: u32 = 50;
const LIMIT_MAX: u32 = 100;

/// Which part of a list is shown.
pub const PAGE: [Field; 2] = [
    integer("limit", "At most this many, 1 to 100; 50 where it is left out"),
    text("cursor", "The next_cursor of the page before"),
];

/// The project of a thing.
pub const PROJECT_CODE: Field =
    text("project_code", "Letters, digits, hyphens and underscores").required().example("shop");

/// What a queue or an environment is called.
pub const NAMES: [Field; 2] =
    [PROJECT_CODE, text("name", "The same; unique in the project").required()];

/// How many a page shows.
pub fn limit(query: &BTreeMap<String, String>) -> Result<u32> {
    let Some(text) = query.get("limit") else { return Ok(LIMIT) };
    let limit = text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
    limit.ok_or_else(|| Error::field("limit", format!("must be from 1 to {LIMIT_MAX}")))
}

/// Where the page before ended.
pub fn cursor<T: std::str::FromStr>(query: &BTreeMap<String, String>) -> Result<Option<T>> {
    let Some(text) = query.get("cursor") else { return Ok(None) };
    let place = text.parse().map(Some);
    place.map_err(|_| Error::field("cursor", "must be the next_cursor of the page before"))
}

/// The cursor that asks for more, where a page is full.
pub fn next<T, C: ToString>(rows: &[T], limit: u32, place: impl Fn(&T) -> C) -> Option<String> {
    let last = rows.last().filter(|_| rows.len() >= limit as usize)?;
    Some(place(last).to_string())
}

/// The field `project_code`.
pub fn project(body: &mut Loose) -> Result<String> {
    label(body, "project_code").map(String::from)
}

/// A name of letters, digits, hyphens and underscores.
pub fn label(body: &mut Loose, key: &str) -> Result<Label> {
    let field = body.name(key);
    let text = body.required_text(key)?;
    text.parse().map_err(|bad| Error::field(field, format!("{bad}")))
}

/// Reads `project_code::definition:version`; without a version it is the newest active one.
pub fn definition(field: &str, text: &str) -> Result<DefinitionName> {
    let wrong = || {
        let problem = "must be project_code::job_definition_name:version";
        Error::field(field, problem)
    };
    let (project, rest) = text.split_once("::").ok_or_else(wrong)?;
    let (name, version) = match rest.split_once(':') {
        Some((name, version)) => {
            let version: u32 = version.parse().map_err(|_| wrong())?;
            (name, Some(version))
        }
        None => (rest, None),
    };
    if !are_labels(&[project, name]) {
        return Err(wrong());
    }
    Ok(DefinitionName { project: project.to_owned(), name: name.to_owned(), version })
}

/// Reads `project_code::queue`.
pub fn queue(field: &str, text: &str) -> Result<(String, String)> {
    let parts = text.split_once("::").filter(|(project, name)| are_labels(&[project, name]));
    let (project, name) =
        parts.ok_or_else(|| Error::field(field, "must be project_code::job_queue_name"))?;
    Ok((project.to_owned(), name.to_owned()))
}

fn are_labels(texts: &[&str]) -> bool {
    texts.iter().all(|text| text.parse::<Label>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definition_names_have_a_project_and_perhaps_a_version() {
        let read = |text| {
            let name = definition("f", text).ok()?;
            Some((name.project, name.name, name.version))
        };
        let named = |version| Some(("p-1".to_owned(), "hello".to_owned(), version));

        assert_eq!(read("p-1::hello:3"), named(Some(3)));
        assert_eq!(read("p-1::hello"), named(None));
        for wrong in
            ["hello:1", "p::", "::hello:1", "p::hello:", "p::hello:x", "p::a::b:1", "p::a:1:2"]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn queue_names_have_a_project() {
        assert_eq!(queue("f", "p::q").ok(), Some(("p".to_owned(), "q".to_owned())));
        for wrong in ["q", "::q", "p::", "p::q:1", "p::q::r"] {
            assert!(queue("f", wrong).is_err(), "{wrong}");
        }
    }
}
