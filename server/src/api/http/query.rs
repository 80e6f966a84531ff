//! The query of a request: every field of it is known to its route, or refused.
//!
//! A filter that is ignored gives an answer to another question than the one that was asked.

use std::collections::BTreeMap;

use common::input::alike;

use super::shape::Field;
use crate::error::{Error, Result};

/// Lists take these with this in front of them or without.
const PREFIX: &str = "pagination.";

/// The fields under the names that the route gives them. Keys match without regard to case, `_`
/// and `-`. A field may be given twice if both say the same.
pub fn read(raw: &str, known: &[Field]) -> Result<BTreeMap<String, String>> {
    let mut fields = BTreeMap::new();
    for (key, value) in url::form_urlencoded::parse(raw.as_bytes()) {
        if value.contains('\0') {
            return Err(Error::field(key.into_owned(), "must not contain NUL"));
        }
        let same = |field: &&Field| plain(field.name) == plain(&key);
        let Some(field) = known.iter().find(same) else {
            return Err(Error::field(shown(&key), unknown(&key, known)));
        };
        let first = fields.entry(field.name.to_owned()).or_insert_with(|| value.to_string());
        if *first != value {
            let problem = "is given twice, with different values: give one of them";
            return Err(Error::field(field.name, problem));
        }
    }
    Ok(fields)
}

/// A field that is true or false.
pub fn flag(query: &BTreeMap<String, String>, name: &str) -> Result<Option<bool>> {
    match query.get(name).map(|text| text.to_ascii_lowercase()).as_deref() {
        None | Some("") => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_) => Err(Error::field(name, "must be true or false")),
    }
}

fn unknown(key: &str, known: &[Field]) -> String {
    if known.is_empty() {
        return "is not a known field of the query: this call takes none".to_owned();
    }
    let names: Vec<_> = known.iter().map(|field| field.name).collect();
    let meant = alike::nearest(key, names.iter().copied());
    let meant = meant.map_or_else(String::new, |meant| format!(" (did you mean {meant}?)"));
    format!("is not a known field of the query{meant}: this call takes {}", names.join(", "))
}

fn plain(key: &str) -> String {
    let key = key.to_lowercase().replace(['_', '-'], "");
    key.strip_prefix(PREFIX).unwrap_or(&key).to_owned()
}

/// A key as a message repeats it.
fn shown(key: &str) -> String {
    key.chars().filter(|c| !c.is_control()).take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::bytenite::lists::selection::LIST;

    #[test]
    fn query_fields_are_found_in_any_spelling() {
        for raw in [
            "pagination.limit=5&orderBy=name",
            "limit=5&order_by=name",
            "Pagination.Limit=5&limit=5&order-by=name",
        ] {
            let fields = read(raw, LIST).unwrap();

            assert_eq!(fields["pagination.limit"], "5", "{raw}");
            assert_eq!(fields["orderBy"], "name", "{raw}");
        }
        assert!(read("", &[]).unwrap().is_empty());
        let twice = read("limit=5&pagination.limit=6", LIST).unwrap_err().to_string();
        assert!(twice.starts_with("pagination.limit: is given twice"), "{twice}");
    }

    #[test]
    fn query_field_that_is_unknown_is_refused_and_the_known_ones_named() {
        for raw in ["state=JOB_STATE_FAILED", "limit=5&state", "stat%C3%A9=", "=", "filter.state=x"]
        {
            let refused = read(raw, LIST).unwrap_err().to_string();

            assert!(refused.contains("pagination.limit"), "{raw}: {refused}");
        }
        assert!(read("x=1", &[]).unwrap_err().to_string().contains("takes none"));
        assert!(read("limit=%00", LIST).is_err());
    }
}
