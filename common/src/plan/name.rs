//! The names that expressions know things by.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const BYTES_MAX: usize = 64;

/// The name of a block's value, of a run's input, or of a secret: letters, digits and underscores,
/// of which the first is no digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// The text is no name that an expression can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no name: it must be letters, digits and _, at most {BYTES_MAX} of them")]
pub struct InvalidName(String);

impl Name {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a text is a name.
    pub fn is_name(text: &str) -> bool {
        text.len() <= BYTES_MAX && crate::compute::environment::is_name(text)
    }
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if Self::is_name(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidName(text.chars().take(BYTES_MAX).collect()))
    }
}

impl TryFrom<String> for Name {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_one_that_an_expression_can_have() {
        let long = "x".repeat(BYTES_MAX);
        for name in ["a", "_", "aB_9", &long] {
            assert_eq!(name.parse::<Name>().unwrap().as_str(), name);
        }
        for text in ["", "9a", "a-b", "a.b", "ä", " a", &format!("{long}x")] {
            assert!(text.parse::<Name>().is_err(), "{text}");
        }
    }
}
