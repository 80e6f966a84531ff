//! Origins of web addresses: what a password is bound to.

use std::fmt;

use serde::{Deserialize, Serialize};
use url::Url;

/// The scheme, host and port of an http or https address, in the one spelling that browsers use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Origin(String);

/// The text is not a web address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an http:// or https:// address")]
pub struct NotAnAddress;

impl Origin {
    /// The origin of an address, by the parser that requests are made with.
    pub fn of(address: &str) -> Result<Self, NotAnAddress> {
        let url: Url = address.parse().map_err(|_| NotAnAddress)?;
        let is_web = matches!(url.scheme(), "http" | "https");
        if !is_web || url.host_str().is_none_or(str::is_empty) {
            return Err(NotAnAddress);
        }
        Ok(Self(url.origin().ascii_serialization()))
    }

    /// Reads an address that has nothing beside its origin.
    pub fn parse(text: &str) -> Result<Self, NotAnAddress> {
        let url: Url = text.parse().map_err(|_| NotAnAddress)?;
        let origin = Self::of(text)?;
        let bare = url.as_str().trim_end_matches('/') == origin.0;
        if bare { Ok(origin) } else { Err(NotAnAddress) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_has_one_spelling() {
        for (address, origin) in [
            ("https://Host.Example/a?b#c", "https://host.example"),
            ("https://host.example:443/", "https://host.example"),
            ("http://host.example:8080/x", "http://host.example:8080"),
            ("http://user:password@host.example/", "http://host.example"),
            ("http://2130706433/", "http://127.0.0.1"),
            ("http://good.example\\@evil.example/", "http://good.example"),
            ("http://good.example@evil.example/", "http://evil.example"),
        ] {
            assert_eq!(Origin::of(address).unwrap().as_str(), origin, "{address}");
        }
    }

    #[test]
    fn origin_differs_by_scheme_port_and_host() {
        let own = Origin::of("https://host.example/").unwrap();
        for other in [
            "http://host.example/",
            "https://host.example:8443/",
            "https://sub.host.example/",
            "https://host.example./",
            "https://host.example.evil.example/",
        ] {
            assert_ne!(Origin::of(other).unwrap(), own, "{other}");
        }
    }

    #[test]
    fn origin_is_refused_for_text_that_is_no_web_address() {
        for text in ["", "host.example", "ftp://host.example/", "http://", "file:///etc", "data:x"]
        {
            assert_eq!(Origin::of(text), Err(NotAnAddress), "{text}");
        }
    }

    #[test]
    fn bare_origin_has_no_path_query_or_user() {
        assert!(Origin::parse("https://host.example").is_ok());
        assert!(Origin::parse("https://host.example:8443/").is_ok());
        for text in ["https://host.example/a", "https://host.example/?a", "https://u@host.example"]
        {
            assert_eq!(Origin::parse(text), Err(NotAnAddress), "{text}");
        }
    }
}
