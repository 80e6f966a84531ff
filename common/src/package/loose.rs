//! JSON objects as they arrive: keys in any spelling, numbers as text, empty fields as unset.
//!
//! Clients and hand-written files mix `bucketName`, `bucket_name` and `BucketName`. What a value
//! may be is not loose at all: every refusal names the field.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use serde_json::Value;

use crate::input::alike;
use crate::input::exact::{Exact, whole};
use crate::input::json;
use crate::input::text::is_invisible;
use crate::plan::Params;

/// A field that is missing or not what it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Invalid {
    /// The path to the field, such as `source.paths[0]`.
    pub field: String,
    pub problem: String,
}

impl Invalid {
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }
}

/// A JSON object whose fields are taken out one by one.
///
/// Keys match without regard to case, `_` and `-`. A field that is null or an empty text counts
/// as unset, since many clients send their unset fields so.
#[derive(Debug)]
pub struct Loose {
    path: String,
    /// By the key's plain form; the value keeps the key as it was written.
    fields: BTreeMap<String, (String, Exact)>,
    /// The plain forms of the keys that were given without a value.
    unset: BTreeSet<String>,
    /// The keys that were asked for, in that order: those that the object may have.
    known: Vec<String>,
}

impl Loose {
    /// Reads an object; `path` is its own name in messages, empty for the outermost.
    pub fn new(path: impl Into<String>, value: Value) -> Result<Self, Invalid> {
        let path = path.into();
        let Value::Object(map) = value else { return Err(no_object(path)) };
        Self::collect(path, map.into_iter().map(|(key, value)| (key, value.into())).collect())
    }

    /// Reads an object from JSON text, within the bounds of `json`.
    pub fn parse(path: impl Into<String>, json: &[u8]) -> Result<Self, Invalid> {
        let path = path.into();
        json::read(&path, json)?;
        Self::read(path, json)
    }

    /// Reads params; `path` is their name in messages.
    pub fn of_params(path: impl Into<String>, params: &Params) -> Result<Self, Invalid> {
        Self::collect(path.into(), params.clone())
    }

    /// Reads an object from text that is known to be JSON.
    fn read(path: String, json: &[u8]) -> Result<Self, Invalid> {
        match serde_json::from_slice(json) {
            Ok(fields) => Self::collect(path, fields),
            Err(_) => Err(no_object(path)),
        }
    }

    fn collect(path: String, given: BTreeMap<String, Exact>) -> Result<Self, Invalid> {
        let (mut fields, mut unset) = (BTreeMap::new(), BTreeSet::new());
        for (key, value) in given {
            if value.is_unset() {
                unset.insert(plain(&key));
                continue;
            }
            if let Some((first, _)) = fields.insert(plain(&key), (key.clone(), value)) {
                let problem = format!("is given twice, also as {first:?}");
                return Err(Invalid::new(join(&path, &key), problem));
            }
        }
        Ok(Self { path, fields, unset, known: Vec::new() })
    }

    /// The full name of a field of this object.
    pub fn name(&self, key: &str) -> String {
        join(&self.path, key)
    }

    pub fn has(&self, key: &str) -> bool {
        self.fields.contains_key(&plain(key))
    }

    /// Whether a field was given as `null`: not left out, and without a value.
    pub fn is_unset(&self, key: &str) -> bool {
        self.unset.contains(&plain(key))
    }

    pub fn value(&mut self, key: &str) -> Option<Value> {
        self.exact(key).map(|value| value.value())
    }

    fn exact(&mut self, key: &str) -> Option<Exact> {
        self.known.push(key.to_owned());
        self.ignore(key)
    }

    /// Takes out a field that may be there and says nothing.
    pub fn ignore(&mut self, key: &str) -> Option<Exact> {
        self.fields.remove(&plain(key)).map(|(_, value)| value)
    }

    pub fn text(&mut self, key: &str) -> Result<Option<String>, Invalid> {
        let field = self.name(key);
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(text)) if text.contains('\0') => {
                Err(Invalid::new(field, "must not contain NUL"))
            }
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Invalid::new(field, "must be a text")),
        }
    }

    pub fn required_text(&mut self, key: &str) -> Result<String, Invalid> {
        let field = self.name(key);
        self.text(key)?.ok_or_else(|| Invalid::new(field, "is missing"))
    }

    /// A text of at most `chars_max` characters, all of them visible.
    pub fn line(&mut self, key: &str, chars_max: usize) -> Result<Option<String>, Invalid> {
        let field = self.name(key);
        let text = self.text(key)?;
        if let Some(text) = &text {
            check_line(&field, text, chars_max)?;
        }
        Ok(text)
    }

    /// A whole number, which may be written as a text, with an exponent, or with zeros behind its
    /// point.
    pub fn number(
        &mut self,
        key: &str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<u64>, Invalid> {
        let field = self.name(key);
        let Some(exact) = self.exact(key) else { return Ok(None) };
        let number = match exact.value() {
            Value::Number(_) => whole(exact.text()),
            Value::String(text) => whole(&text),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        match number.and_then(|number| u64::try_from(number).ok()) {
            Some(number) if range.contains(&number) => Ok(Some(number)),
            _ => {
                let (least, most) = (range.start(), range.end());
                Err(Invalid::new(field, format!("must be a whole number from {least} to {most}")))
            }
        }
    }

    /// A whole number from 0 to this one.
    pub fn small(&mut self, key: &str, most: u32) -> Result<Option<u32>, Invalid> {
        let number = self.number(key, 0..=most.into())?;
        Ok(number.map(|number| u32::try_from(number).expect("the bound fits")))
    }

    pub fn flag(&mut self, key: &str) -> Result<Option<bool>, Invalid> {
        let field = self.name(key);
        match self.value(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(_) => Err(Invalid::new(field, "must be true or false")),
        }
    }

    /// A list of texts; unset is an empty one.
    pub fn texts(&mut self, key: &str, count_max: usize) -> Result<Vec<String>, Invalid> {
        let field = self.name(key);
        let items = match self.value(key) {
            None => return Ok(Vec::new()),
            Some(Value::Array(items)) if items.len() <= count_max => items,
            Some(_) => {
                let problem = format!("must be a list of at most {count_max} texts");
                return Err(Invalid::new(field, problem));
            }
        };
        let text = |(i, item): (usize, Value)| {
            let text = item.as_str().filter(|text| !text.contains('\0')).map(ToOwned::to_owned);
            text.ok_or_else(|| Invalid::new(format!("{field}[{i}]"), "must be a text"))
        };
        items.into_iter().enumerate().map(text).collect()
    }

    pub fn object(&mut self, key: &str) -> Result<Option<Self>, Invalid> {
        let field = self.name(key);
        self.exact(key).map(|value| Self::read(field, value.text().as_bytes())).transpose()
    }

    /// The fields that have not been taken out, as they are written.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.fields.values().map(|(key, _)| key.as_str())
    }

    /// A look at an object that stays in its place; `None` where there is none.
    pub fn look_into(&self, key: &str) -> Result<Option<Self>, Invalid> {
        let Some((_, value)) = self.fields.get(&plain(key)) else { return Ok(None) };
        if !value.text().starts_with('{') {
            return Ok(None);
        }
        Self::read(self.name(key), value.text().as_bytes()).map(Some)
    }

    /// An object that is passed on as it is, to the last digit.
    pub fn params(&mut self, key: &str) -> Result<Option<Params>, Invalid> {
        let field = self.name(key);
        let Some(exact) = self.exact(key) else { return Ok(None) };
        let params = serde_json::from_str(exact.text());
        params.map(Some).map_err(|_| Invalid::new(field, "must be a JSON object"))
    }

    /// Refuses what has not been taken out: a misspelt field must not pass in silence. What has
    /// been asked for is named.
    pub fn finish(self) -> Result<(), Invalid> {
        let known: Vec<&str> = self.known.iter().map(String::as_str).collect();
        self.check_finished(&known)
    }

    /// The same, with these as the known fields.
    pub fn finish_with(self, known: &[&str]) -> Result<(), Invalid> {
        self.check_finished(known)
    }

    /// Refuses only what has not been taken out and is probably a misspelt field: for documents in
    /// which people write notes of their own.
    pub fn finish_leniently(self) -> Result<(), Invalid> {
        let known: Vec<&str> = self.known.iter().map(String::as_str).collect();
        let is_misspelt = |key: &&str| alike::nearest(key, known.iter().copied()).is_some();
        let Some(key) = self.keys().find(is_misspelt) else { return Ok(()) };
        Err(Invalid::new(self.name(key), unknown(key, &known)))
    }

    fn check_finished(&self, known: &[&str]) -> Result<(), Invalid> {
        let Some(key) = self.keys().next() else { return Ok(()) };
        Err(Invalid::new(self.name(key), unknown(key, known)))
    }
}

/// The message about an unknown field.
pub fn unknown(key: &str, known: &[&str]) -> String {
    let meant = alike::nearest(key, known.iter().copied());
    let meant = meant.map_or_else(String::new, |meant| format!(" (did you mean {meant}?)"));
    match known {
        [] => "is not a known field: there are none here".to_owned(),
        known => format!("is not a known field{meant}: give {}", known.join(", ")),
    }
}

/// Refuses a text that is too long, or has control characters or invisible ones.
pub fn check_line(field: &str, text: &str, chars_max: usize) -> Result<(), Invalid> {
    if text.chars().any(char::is_control) {
        return Err(Invalid::new(field, "must not contain control characters"));
    }
    if text.chars().any(is_invisible) {
        let problem = "must not contain invisible characters, such as marks of direction";
        return Err(Invalid::new(field, problem));
    }
    if text.chars().count() > chars_max {
        return Err(Invalid::new(field, format!("must have at most {chars_max} characters")));
    }
    Ok(())
}

fn no_object(path: String) -> Invalid {
    let field = if path.is_empty() { "body".to_owned() } else { path };
    Invalid::new(field, "must be a JSON object")
}

/// A key in the one spelling under which all are found.
pub fn plain(key: &str) -> String {
    key.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_match_in_any_spelling() {
        for key in ["bucketName", "bucket_name", "BucketName", "BUCKET-NAME"] {
            let mut loose = Loose::new("", json!({ key: "b" })).unwrap();

            assert_eq!(loose.text("bucketName"), Ok(Some("b".to_owned())), "{key}");
            assert_eq!(loose.finish(), Ok(()));
        }
    }

    #[test]
    fn numbers_may_be_texts_and_empty_is_unset() {
        let mut loose =
            Loose::new("config", json!({"a": 7, "b": "7", "c": "", "d": null, "e": -1})).unwrap();

        assert_eq!(loose.number("a", 0..=9), Ok(Some(7)));
        assert_eq!(loose.number("b", 0..=9), Ok(Some(7)));
        assert_eq!(loose.number("c", 0..=9), Ok(None));
        assert_eq!(loose.number("d", 0..=9), Ok(None));
        assert_eq!(
            loose.number("e", 0..=9).unwrap_err().to_string(),
            "config.e: must be a whole number from 0 to 9"
        );
    }

    #[test]
    fn field_given_twice_or_unknown_is_refused_by_name() {
        let twice = Loose::new("", json!({"secret_id": "a", "secretId": "b"})).unwrap_err();
        let unknown = Loose::new("p", json!({"nmae": 1})).unwrap().finish().unwrap_err();

        assert!(twice.problem.contains("twice"));
        assert_eq!(unknown.to_string(), "p.nmae: is not a known field: there are none here");
        let mut loose = Loose::new("p", json!({"nmae": 1, "size": 1})).unwrap();
        let _ = (loose.text("name"), loose.number("size", 0..=9));
        let unknown = loose.finish().unwrap_err();
        assert_eq!(
            unknown.to_string(),
            "p.nmae: is not a known field (did you mean name?): give name, size"
        );
    }

    #[test]
    fn whole_numbers_may_have_a_point_or_an_exponent() {
        for (text, number) in [
            ("3600.0", Some(3600)),
            ("3.6e3", Some(3600)),
            ("\"3600.0\"", Some(3600)),
            ("\"3.6e3\"", Some(3600)),
            ("9007199254740993.0", Some(9_007_199_254_740_993)),
            ("3600.5", None),
            ("\"1e99\"", None),
            ("true", None),
        ] {
            let body = format!("{{\"n\": {text}}}");
            let read = Loose::parse("", body.as_bytes()).unwrap().number("n", 0..=1 << 60);

            assert_eq!(read.ok().flatten(), number, "{text}");
        }
    }

    #[test]
    fn params_keep_every_digit() {
        let body = br#"{"params": {"app": {"big": 123456789012345678901234567890,
                        "p": [3.14159265358979323846, 1.0, 1e2]}}}"#;
        let mut body = Loose::parse("", body).unwrap();
        let params = body.object("params").unwrap().unwrap().params("app").unwrap();

        assert_eq!(
            serde_json::to_string(&params).unwrap(),
            r#"{"big":123456789012345678901234567890,"p":[3.14159265358979323846,1.0,1e2]}"#
        );
    }

    #[test]
    fn line_with_invisible_characters_is_refused() {
        for (text, is_fine) in [("Bücher 日本", true), ("a\u{202e}b", false), ("a\u{200b}", false)]
        {
            let mut loose = Loose::new("", json!({"name": text})).unwrap();

            assert_eq!(loose.line("name", 20).is_ok(), is_fine, "{text:?}");
        }
    }

    #[test]
    fn loose_text_that_is_no_object_is_refused() {
        assert_eq!(Loose::parse("", b"[]").unwrap_err().field, "body");
        assert!(Loose::parse("", b"{").unwrap_err().problem.starts_with("is not JSON"));
        assert!(Loose::parse("", &[b'['; 100_000]).is_err());
    }
}
