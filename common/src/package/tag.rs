//! Names and versions of packages, and the tags that point at them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::PackageId;

/// The most characters of a package's name.
pub const NAME_CHARS_MAX: usize = 64;

/// `major.minor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a version is two whole numbers, such as 0.1")]
pub struct NotAVersion;

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Version {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let (major, minor) = text.split_once('.').ok_or(NotAVersion)?;
        Ok(Self { major: number(major)?, minor: number(minor)? })
    }
}

/// Digits only (`u32::from_str` would take a sign), and few enough for a database's integer.
fn number(text: &str) -> Result<u32, NotAVersion> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NotAVersion);
    }
    text.parse().ok().filter(|n| *n <= i32::MAX.unsigned_abs()).ok_or(NotAVersion)
}

/// `name`, `name@major` or `name@major.minor`: the newest version that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    pub name: String,
    pub major: Option<u32>,
    pub minor: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a tag is a name of letters, digits, - and _ (at most 64), and may end in @major or \
     @major.minor"
)]
pub struct NotATag;

impl Tag {
    pub fn matches(&self, version: Version) -> bool {
        self.major.is_none_or(|major| major == version.major)
            && self.minor.is_none_or(|minor| minor == version.minor)
    }
}

impl FromStr for Tag {
    type Err = NotATag;

    fn from_str(text: &str) -> Result<Self, NotATag> {
        let (name, version) = match text.split_once('@') {
            None => (text, None),
            // Old clients wrote `name@v0.1`.
            Some((name, version)) => (name, Some(version.strip_prefix('v').unwrap_or(version))),
        };
        if !is_name(name) {
            return Err(NotATag);
        }
        let (major, minor) = match version {
            None => (None, None),
            Some(version) if version.contains('.') => {
                let version: Version = version.parse().map_err(|_| NotATag)?;
                (Some(version.major), Some(version.minor))
            }
            Some(major) => (Some(number(major).map_err(|_| NotATag)?), None),
        };
        Ok(Self { name: name.to_owned(), major, minor })
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(major) = self.major {
            write!(f, "@{major}")?;
        }
        if let Some(minor) = self.minor {
            write!(f, ".{minor}")?;
        }
        Ok(())
    }
}

/// What a developer points at: a package's id, or a tag, which may begin with its owner:
/// `OWNER/NAME@MAJOR.MINOR`. The owner's name or id says whose published package is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pointer {
    Id(PackageId),
    Tag { owner: Option<String>, tag: Tag },
}

impl FromStr for Pointer {
    type Err = NotATag;

    fn from_str(text: &str) -> Result<Self, NotATag> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        let (owner, tag) = split_owner(text);
        Ok(Self::Tag { owner: owner.map(ToOwned::to_owned), tag: tag.parse()? })
    }
}

/// The owner in front of the slash, where there is one, and what is behind it.
pub fn split_owner(text: &str) -> (Option<&str>, &str) {
    text.rsplit_once('/').map_or((None, text), |(owner, rest)| (Some(owner), rest))
}

/// Whether the text may name a package.
pub fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= NAME_CHARS_MAX
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_read_back_what_they_print() {
        for text in ["passthrough", "a_b-c@1", "app@0.12"] {
            assert_eq!(text.parse::<Tag>().unwrap().to_string(), text);
        }
        assert_eq!("old@v0.1".parse::<Tag>().unwrap().to_string(), "old@0.1");
    }

    #[test]
    fn tag_that_is_invalid_is_refused() {
        for text in ["", "@1", "a b", "a@", "a@+1", "a@1.", "a@1.2.3", "a@-1", "../x", "ä", "a@1@2"]
        {
            assert_eq!(text.parse::<Tag>(), Err(NotATag), "{text}");
        }
        assert!("x".repeat(65).parse::<Tag>().is_err());
        assert!("4294967295.0".parse::<Version>().is_err());
    }

    #[test]
    fn tag_matches_the_versions_it_names() {
        let version = Version { major: 1, minor: 2 };

        for (tag, fits) in [("a", true), ("a@1", true), ("a@1.2", true), ("a@2", false)] {
            assert_eq!(tag.parse::<Tag>().unwrap().matches(version), fits, "{tag}");
        }
    }

    #[test]
    fn pointer_is_an_id_or_a_tag_with_its_owner() {
        let id = PackageId::new(uuid::Uuid::from_u128(7));

        assert_eq!(id.to_string().parse(), Ok(Pointer::Id(id)));
        let tag: Tag = "a@1".parse().unwrap();
        assert_eq!("a@1".parse(), Ok(Pointer::Tag { owner: None, tag: tag.clone() }));
        let owner = Some("maria lopez".to_owned());
        assert_eq!("maria lopez/a@1".parse(), Ok(Pointer::Tag { owner, tag }));
        assert!("maria/a b".parse::<Pointer>().is_err());
        assert!("maria/".parse::<Pointer>().is_err());
    }
}
