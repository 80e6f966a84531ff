//! What a web server says of a file's version: its ETag, and when it last changed.
//!
//! One name may stand for several servers whose ETags differ for the same file. So a time of the
//! last change that is the same speaks for the same file too, if it was long enough ago: two
//! changes in one second have the same time.

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::header::{ETAG, HeaderMap, HeaderName, LAST_MODIFIED};

/// How old a change must be for its time to tell it from any other.
const SETTLED_AFTER: TimeDelta = TimeDelta::seconds(60);

/// What is known of a version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Version {
    etag: Option<String>,
    modified: Option<String>,
}

impl Version {
    /// What an answer that came at this time says.
    pub fn of(headers: &HeaderMap, now: DateTime<Utc>) -> Self {
        let text = |name: HeaderName| headers.get(name)?.to_str().ok().map(ToOwned::to_owned);
        let etag = text(ETAG);
        let modified = text(LAST_MODIFIED);
        // Without an ETag it is all there is.
        let modified = modified.filter(|text| etag.is_none() || is_settled(text, now));
        Self { etag, modified }
    }

    /// Whether `other` may be the same version: nothing that both say speaks against it, or one
    /// of them for it.
    pub fn allows(&self, other: &Self) -> bool {
        let same = |a: &Option<String>, b: &Option<String>| Some(a.as_ref()? == b.as_ref()?);
        match (same(&self.etag, &other.etag), same(&self.modified, &other.modified)) {
            (Some(true), _) | (_, Some(true)) | (None, None) => true,
            (Some(false) | None, Some(false)) | (Some(false), None) => false,
        }
    }

    /// Whether a later version can be told from this one.
    pub fn is_firm(&self, now: DateTime<Utc>) -> bool {
        self.etag.is_some() || self.modified.as_deref().is_some_and(|text| is_settled(text, now))
    }

    /// The version as one text, or `None` where nothing is known.
    pub fn text(&self) -> Option<String> {
        let part = |text: &Option<String>| text.clone().unwrap_or_default();
        (*self != Self::default())
            .then(|| format!("{}\n{}", part(&self.etag), part(&self.modified)))
    }

    /// Reads back what [`Self::text`] writes.
    pub fn read(text: &str) -> Self {
        let (etag, modified) = text.split_once('\n').unwrap_or((text, ""));
        let part = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Self { etag: part(etag), modified: part(modified) }
    }
}

fn is_settled(modified: &str, now: DateTime<Utc>) -> bool {
    DateTime::parse_from_rfc2822(modified).is_ok_and(|then| now - then.to_utc() >= SETTLED_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const OTHER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn version(etag: &str, modified: &str, now: DateTime<Utc>) -> Version {
        let mut headers = HeaderMap::new();
        for (name, value) in [(ETAG, etag), (LAST_MODIFIED, modified)] {
            if !value.is_empty() {
                headers.insert(name, value.parse().unwrap());
            }
        }
        Version::of(&headers, now)
    }

    #[test]
    fn version_is_firm_by_a_tag_or_an_old_time() {
        let now = DateTime::parse_from_rfc2822(OLD).unwrap().to_utc() + TimeDelta::seconds(60);
        for (etag, modified, firm) in [
            ("\"1\"", "", true),
            ("", OLD, true),
            ("", OTHER, false),
            ("\"1\"", OTHER, true),
            ("", "yesterday", false),
            ("", "", false),
        ] {
            assert_eq!(version(etag, modified, now).is_firm(now), firm, "{etag} {modified}");
        }
    }

    #[test]
    fn versions_are_the_same_by_their_tag_or_by_an_old_time() {
        let now = DateTime::parse_from_rfc2822(OLD).unwrap().to_utc();
        for (secs, a, b, same) in [
            (3600, ("\"1\"", OLD), ("\"1\"", OLD), true),
            (3600, ("\"1\"", OLD), ("\"2\"", OLD), true),
            (3600, ("\"1\"", OLD), ("\"1\"", OTHER), true),
            (3600, ("\"1\"", OLD), ("\"2\"", OTHER), false),
            (3600, ("\"1\"", OLD), ("\"2\"", ""), false),
            (3600, ("W/\"1\"", OLD), ("W/\"2\"", OLD), true),
            (3600, ("\"1\"", "yesterday"), ("\"2\"", "yesterday"), false),
            // It may have changed twice within that second.
            (1, ("\"1\"", OLD), ("\"2\"", OLD), false),
            (1, ("", OLD), ("", OLD), true),
            (1, ("", OLD), ("", OTHER), false),
            (3600, ("\"1\"", ""), ("", OLD), true),
            (3600, ("", ""), ("\"1\"", OLD), true),
        ] {
            let now = now + TimeDelta::seconds(secs);
            let (a, b) = (version(a.0, a.1, now), version(b.0, b.1, now));

            assert_eq!(a.allows(&b), same, "{a:?} {b:?}");
            assert_eq!(a.text().map(|text| Version::read(&text)).unwrap_or_default(), a);
        }
    }
}
