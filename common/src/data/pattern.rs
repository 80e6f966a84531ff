//! What a source's path means: one key, everything below a folder, or every key of a pattern.

use globset::{GlobBuilder, GlobMatcher};

/// A path of a source, read. It means keys as they are: no slash is added or left out.
///
/// ```
/// use common::data::pattern::{BadPattern, Pattern};
///
/// let pattern = Pattern::parse("in/**/*.csv")?;
///
/// assert!(pattern.matches("in/2026/11/a.csv"));
/// assert!(!pattern.matches("in/a.txt"));
/// // A listing of the store asks for these keys only.
/// assert_eq!(pattern.prefix(), "in/");
/// assert!(Pattern::parse("in/")?.matches("in/a.txt"));
/// # Ok::<(), BadPattern>(())
/// ```
#[derive(Debug, Clone)]
pub enum Pattern {
    /// The object of this key.
    Key(String),
    /// All objects whose keys begin so; it ends in `/`.
    Folder(String),
    /// All objects whose keys match. An object of exactly this key comes before all others.
    Glob(Glob),
}

/// A pattern of `*`, `?`, `[…]` (within a folder) and `**` (through folders).
#[derive(Debug, Clone)]
pub struct Glob {
    text: String,
    matcher: GlobMatcher,
}

/// The path is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a pattern: {problem}")]
pub struct BadPattern {
    pub text: String,
    pub problem: String,
}

impl Pattern {
    pub fn parse(path: &str) -> Result<Self, BadPattern> {
        let text = path.to_owned();
        if !text.contains(is_wild) {
            return Ok(if text.ends_with('/') { Self::Folder(text) } else { Self::Key(text) });
        }
        // Everything below the folders that match.
        let whole = if text.ends_with('/') { format!("{text}**") } else { text.clone() };
        // Braces are letters of a key here, nothing more.
        let escaped = whole.replace('{', "[{]").replace('}', "[}]");
        let glob = GlobBuilder::new(&escaped)
            .literal_separator(true)
            .backslash_escape(false)
            .build()
            .map_err(|error| BadPattern {
                text: text.clone(),
                problem: error.kind().to_string(),
            })?;
        Ok(Self::Glob(Glob { text, matcher: glob.compile_matcher() }))
    }

    /// What every key that it means begins with.
    pub fn prefix(&self) -> &str {
        match self {
            Self::Key(text) | Self::Folder(text) => text,
            Self::Glob(glob) => glob.text.split(is_wild).next().unwrap_or_default(),
        }
    }

    /// The path as it was given.
    pub fn text(&self) -> &str {
        match self {
            Self::Key(text) | Self::Folder(text) => text,
            Self::Glob(glob) => &glob.text,
        }
    }

    pub fn matches(&self, key: &str) -> bool {
        match self {
            Self::Key(text) => key == text,
            Self::Folder(text) => key.starts_with(text.as_str()),
            Self::Glob(glob) => glob.matcher.is_match(key),
        }
    }
}

fn is_wild(c: char) -> bool {
    matches!(c, '*' | '?' | '[')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEYS: [&str; 11] = [
        "/in/a.csv",
        "/in//b.csv",
        "in/a.csv",
        "in/b.csv",
        "in/b.txt",
        "in/deep/c.csv",
        "in/deep/er/d.csv",
        "in/{x}.csv",
        "in-2/e.csv",
        "other.csv",
        "in",
    ];

    fn matched(path: &str) -> Vec<&'static str> {
        let pattern = Pattern::parse(path).unwrap();
        KEYS.into_iter().filter(|key| pattern.matches(key)).collect()
    }

    #[test]
    fn path_is_a_key_a_folder_or_a_pattern() {
        assert_eq!(matched("in/a.csv"), ["in/a.csv"]);
        assert_eq!(matched("/in/a.csv"), ["/in/a.csv"]);
        assert_eq!(matched("/in/"), ["/in/a.csv", "/in//b.csv"]);
        assert_eq!(matched("/in//*"), ["/in//b.csv"]);
        assert_eq!(matched("/in/*"), ["/in/a.csv"]);
        assert_eq!(matched("in/deep/"), ["in/deep/c.csv", "in/deep/er/d.csv"]);
        assert_eq!(matched("in/*.csv"), ["in/a.csv", "in/b.csv", "in/{x}.csv"]);
        assert_eq!(matched("in/?.csv"), ["in/a.csv", "in/b.csv"]);
        assert_eq!(matched("in/[b-z].*"), ["in/b.csv", "in/b.txt"]);
        assert_eq!(matched("in/[!b].csv"), ["in/a.csv"]);
        assert_eq!(matched("in/**/[cd].csv"), ["in/deep/c.csv", "in/deep/er/d.csv"]);
        assert_eq!(matched("in/{x}*"), ["in/{x}.csv"]);
        assert_eq!(matched("in/*/"), ["in/deep/c.csv", "in/deep/er/d.csv"]);
        assert_eq!(matched("**").len(), KEYS.len());
    }

    #[test]
    fn pattern_that_is_invalid_is_refused() {
        for path in ["in/[a", "in/[z-a].csv", "["] {
            assert!(Pattern::parse(path).is_err(), "{path}");
        }
    }

    proptest! {
        #[test]
        fn pattern_matches_begin_with_its_prefix(path in "[ab/*?\\[\\]{}é!-]{0,12}", key in "[ab/é]{0,8}") {
            if let Ok(pattern) = Pattern::parse(&path) {
                prop_assert!(!pattern.matches(&key) || key.starts_with(pattern.prefix()));
            }
        }
    }
}
