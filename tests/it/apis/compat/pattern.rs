//! Patterns of JSON.
//!
//! A pattern is JSON. Objects have the same names, and lists as many elements; a last element, or a
//! name, `...` lets more be there. A text in `<>` says what kind of value it stands for: `any`,
//! `string`, `number`, `bool`, `null`, `time` (RFC 3339), `re:` and a regular expression, or several
//! with `|` between; with a name and `=` before, the value is kept under that name.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use chrono::DateTime;
use regex::Regex;
use serde_json::Value;

const MORE: &str = "...";

/// Compares a value with a pattern; keeps what the pattern names.
pub fn compare(pattern: &Value, found: &Value, kept: &mut BTreeMap<String, String>) -> Result<()> {
    match (pattern, found) {
        (Value::String(text), _) if is_kind(text) => kind(&text[1..text.len() - 1], found, kept),
        (Value::Object(pattern), Value::Object(found)) => {
            for (name, pattern) in pattern.iter().filter(|(name, _)| *name != MORE) {
                let found = found.get(name).with_context(|| format!("{name} is missing"))?;
                compare(pattern, found, kept).with_context(|| format!("in {name}"))?;
            }
            let extra = found.keys().find(|name| !pattern.contains_key(*name));
            match extra.filter(|_| !pattern.contains_key(MORE)) {
                Some(name) => bail!("{name} is there and should not be"),
                None => Ok(()),
            }
        }
        (Value::Array(pattern), Value::Array(found)) => {
            let more = pattern.last().is_some_and(|last| last == MORE);
            let wanted = &pattern[..pattern.len() - usize::from(more)];
            let fits = if more { found.len() >= wanted.len() } else { found.len() == wanted.len() };
            ensure!(fits, "has {} elements, and not {}", found.len(), wanted.len());
            for (n, (pattern, found)) in wanted.iter().zip(found).enumerate() {
                compare(pattern, found, kept).with_context(|| format!("in element {n}"))?;
            }
            Ok(())
        }
        (_, _) => {
            ensure!(pattern == found, "is {found}, and not {pattern}");
            Ok(())
        }
    }
}

fn is_kind(text: &str) -> bool {
    text.len() > 2 && text.starts_with('<') && text.ends_with('>')
}

fn kind(text: &str, found: &Value, kept: &mut BTreeMap<String, String>) -> Result<()> {
    let named =
        text.split_once('=').filter(|(name, _)| name.bytes().all(|b| b.is_ascii_lowercase()));
    let (name, kinds) = named.map_or((None, text), |(name, kinds)| (Some(name), kinds));
    let is_one = match kinds.strip_prefix("re:") {
        Some(_) => is_of(kinds, found)?,
        None => {
            let mut is_one = false;
            for kind in kinds.split('|') {
                is_one |= is_of(kind, found)?;
            }
            is_one
        }
    };
    ensure!(is_one, "is {found}, and not <{kinds}>");
    if let Some(name) = name {
        let text = found.as_str().map_or_else(|| found.to_string(), str::to_owned);
        kept.insert(name.to_owned(), text);
    }
    Ok(())
}

fn is_of(kind: &str, found: &Value) -> Result<bool> {
    Ok(match kind {
        "any" => true,
        "string" => found.is_string(),
        "number" => found.is_number(),
        "bool" => found.is_boolean(),
        "null" => found.is_null(),
        "time" => found.as_str().is_some_and(|text| DateTime::parse_from_rfc3339(text).is_ok()),
        _ => {
            let pattern = kind.strip_prefix("re:").with_context(|| format!("no kind: {kind}"))?;
            let regex = Regex::new(pattern)?;
            found.as_str().is_some_and(|text| regex.is_match(text))
        }
    })
}

#[test]
fn compat_patterns_tell_what_differs() {
    let differs = |pattern: Value, found: Value| {
        let mut kept = BTreeMap::new();
        compare(&pattern, &found, &mut kept).map(|()| kept).map_err(|error| format!("{error:#}"))
    };
    let found = serde_json::json!({"id": "job_a", "at": "2026-01-01T00:00:00Z", "list": [1, 2]});

    let kept = differs(
        serde_json::json!({"id": "<id=re:^job_>", "at": "<time|null>", "list": [1, "..."]}),
        found.clone(),
    );
    assert_eq!(kept.unwrap()["id"], "job_a");
    for (pattern, error) in [
        (serde_json::json!({"id": "job_a"}), "at is there"),
        (serde_json::json!({"id": "<re:^run_>", "...": ""}), "and not <re:^run_>"),
        (serde_json::json!({"list": [1], "...": ""}), "has 2 elements"),
        (serde_json::json!({"at": "<null|number>", "...": ""}), "and not <null|number>"),
        (serde_json::json!({"name": "x", "...": ""}), "name is missing"),
    ] {
        let told = differs(pattern, found.clone()).unwrap_err();
        assert!(told.contains(error), "{told}");
    }
}
