//! Parameters in the words of a command: `Param::name` stands for a value.
//!
//! A value is one part of one word, whatever is in it: it is never split, never read by a shell,
//! and never looked through for parameters again. `Param::::` stands for the text `Param::`.

use std::collections::{BTreeMap, BTreeSet};

/// Values by the names of their parameters.
pub type Values = BTreeMap<String, String>;

/// The most bytes of one value.
pub const VALUE_BYTES_MAX: usize = 8 * 1024;
/// The most parameters of one job, or of one definition.
pub const PARAMETERS_MAX: usize = 256;
const NAME_BYTES_MAX: usize = 128;
const MARK: &str = "Param::";
const ESCAPE: &str = "::";

/// Why words cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidParameter {
    #[error("the parameter {0:?} has no value, and no default")]
    Missing(String),
    #[error("there is no parameter {0:?}")]
    Unknown(String),
    #[error(
        "{0:?} cannot be the name of a parameter: use letters, digits, hyphens and underscores, \
         and no digit or hyphen first"
    )]
    Name(String),
    #[error("the value of the parameter {0:?} has more than {VALUE_BYTES_MAX} bytes")]
    TooLong(String),
    #[error("there are more than {PARAMETERS_MAX} parameters")]
    TooMany,
}

/// Whether these can be values of parameters.
pub fn check(values: &Values) -> Result<(), InvalidParameter> {
    if values.len() > PARAMETERS_MAX {
        return Err(InvalidParameter::TooMany);
    }
    for (name, value) in values {
        if name_of(name).len() != name.len() || name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(InvalidParameter::Name(name.chars().take(NAME_BYTES_MAX).collect()));
        }
        if value.len() > VALUE_BYTES_MAX {
            return Err(InvalidParameter::TooLong(name.clone()));
        }
    }
    Ok(())
}

/// The words with the values in place of the parameters: those that are given, else the defaults.
///
/// # Errors
/// A parameter without a value, and a given one that neither the words nor the defaults name.
pub fn fill(
    words: &[String],
    given: &Values,
    defaults: &Values,
) -> Result<Vec<String>, InvalidParameter> {
    check(given)?;
    let mut named = BTreeSet::new();
    let mut filled = Vec::with_capacity(words.len());
    for word in words {
        let mut text = String::new();
        for part in parts(word) {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Parameter(name) => {
                    let value = given.get(name).or_else(|| defaults.get(name));
                    let missing = || InvalidParameter::Missing(name.to_owned());
                    text.push_str(value.ok_or_else(missing)?);
                    named.insert(name);
                }
            }
        }
        filled.push(text);
    }
    let is_known = |name: &String| named.contains(name.as_str()) || defaults.contains_key(name);
    match given.keys().find(|name| !is_known(name)) {
        Some(unknown) => Err(InvalidParameter::Unknown(unknown.clone())),
        None => Ok(filled),
    }
}

enum Part<'a> {
    Text(&'a str),
    Parameter(&'a str),
}

fn parts(mut word: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    while let Some(at) = word.find(MARK) {
        let (before, rest) = (&word[..at], &word[at + MARK.len()..]);
        parts.push(Part::Text(before));
        let name = name_of(rest);
        word = if let Some(rest) = rest.strip_prefix(ESCAPE) {
            parts.push(Part::Text(MARK));
            rest
        } else if name.is_empty() {
            parts.push(Part::Text(MARK));
            rest
        } else {
            parts.push(Part::Parameter(name));
            &rest[name.len()..]
        };
    }
    parts.push(Part::Text(word));
    parts
}

/// The name that the text begins with.
fn name_of(text: &str) -> &str {
    let is_first = |b: u8| b.is_ascii_alphabetic() || b == b'_';
    if !text.bytes().next().is_some_and(is_first) {
        return "";
    }
    let is_inner = |b: &u8| is_first(*b) || b.is_ascii_digit() || *b == b'-';
    &text[..text.bytes().take_while(is_inner).count()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn fill_one(word: &str, given: &[(&str, &str)]) -> Result<String, InvalidParameter> {
        let filled = fill(&[word.to_owned()], &values(given), &values(&[("d", "default")]))?;
        Ok(filled.into_iter().next().unwrap_or_default())
    }

    #[test]
    fn parameters_are_filled_in_as_one_word() {
        for (word, given, expected) in [
            ("plain", &[][..], "plain"),
            ("Param::a", &[("a", "x y; z")], "x y; z"),
            ("Param::a", &[("a", "")], ""),
            ("--out=Param::a.txt", &[("a", "f")], "--out=f.txt"),
            ("Param::a-b_1", &[("a-b_1", "v")], "v"),
            ("Param::aParam::d", &[("aParam", "v")], "v::d"),
            ("Param::a/Param::d", &[("a", "v")], "v/default"),
            ("Param::d", &[("d", "given")], "given"),
            ("Param::::a", &[], "Param::a"),
            ("Param::", &[], "Param::"),
            ("Param::1", &[], "Param::1"),
            // A value is not looked through again.
            ("Param::a", &[("a", "Param::d")], "Param::d"),
        ] {
            assert_eq!(fill_one(word, given).as_deref(), Ok(expected), "{word}");
        }
    }

    #[test]
    fn parameters_without_values_and_unknown_ones_are_named() {
        assert_eq!(fill_one("Param::x", &[]), Err(InvalidParameter::Missing("x".to_owned())));
        assert_eq!(fill_one("a", &[("x", "1")]), Err(InvalidParameter::Unknown("x".to_owned())));
        assert_eq!(fill_one("a", &[("1", "1")]), Err(InvalidParameter::Name("1".to_owned())));
        let long = "x".repeat(VALUE_BYTES_MAX + 1);
        assert_eq!(
            fill_one("Param::x", &[("x", &long)]),
            Err(InvalidParameter::TooLong("x".to_owned()))
        );
    }
}
