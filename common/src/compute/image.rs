//! What a container image is called, and where its registry is.

use core::fmt::{self, Display};
use core::net::IpAddr;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

const HUB: &str = "registry-1.docker.io";
const CHARS_MAX: usize = 512;
/// What the name of an image begins with that is in a node's own engine and in no registry.
const LOCAL: &str = "localhost/";

/// An image of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// As it was written.
    pub whole: String,
    /// The same without tag and digest.
    pub name: String,
    /// Where its registry answers, with the port if there is one.
    pub host: String,
    /// What the registry calls it.
    pub repository: String,
    /// A tag or a digest.
    pub version: String,
}

/// An image of a registry at fixed bytes, such as `ghcr.io/a/b@sha256:…`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pinned {
    name: String,
    host: String,
    repository: String,
    digest: Digest,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no name of an image, such as python:3 or ghcr.io/a/b:1")]
pub struct NotAnImage(String);

impl NotAnImage {
    /// Names the text, cut to a line's length.
    pub fn of(text: &str) -> Self {
        Self(text.chars().take(CHARS_MAX).collect())
    }
}

impl FromStr for Reference {
    type Err = NotAnImage;

    fn from_str(text: &str) -> Result<Self, NotAnImage> {
        Self::read(text).ok_or_else(|| NotAnImage::of(text))
    }
}

impl Reference {
    /// The image at this digest.
    pub fn at(self, digest: Digest) -> Pinned {
        let Self { name, host, repository, .. } = self;
        Pinned { name, host, repository, digest }
    }

    fn read(text: &str) -> Option<Self> {
        if text.len() > CHARS_MAX {
            return None;
        }
        let (rest, fixed) = match text.split_once('@') {
            Some((rest, version)) => (rest, Some(digest(version).map(|_| version)?)),
            None => (text, None),
        };
        let last = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match rest[last..].split_once(':') {
            Some((short, tag)) => (&rest[..last + short.len()], Some(tag)),
            None => (rest, None),
        };
        let (host, repository) = match name.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => match host {
                "docker.io" | "index.docker.io" => (HUB, path.to_owned()),
                host => (host, path.to_owned()),
            },
            _ => (HUB, name.to_owned()),
        };
        let official = host == HUB && !repository.contains('/');
        let repository = if official { format!("library/{repository}") } else { repository };
        let plain = repository.split('/').all(is_part) && tag.is_none_or(is_tag) && is_host(host);
        plain.then(|| Self {
            whole: text.to_owned(),
            name: name.to_owned(),
            host: host.to_owned(),
            repository,
            version: fixed.or(tag).unwrap_or("latest").to_owned(),
        })
    }
}

impl Pinned {
    /// Where its registry answers, with the port if there is one.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// What the registry calls it.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Of its manifest.
    pub const fn digest(&self) -> Digest {
        self.digest
    }
}

impl FromStr for Pinned {
    type Err = NotAnImage;

    fn from_str(text: &str) -> Result<Self, NotAnImage> {
        let reference: Reference = text.parse()?;
        let digest = digest(&reference.version).ok_or_else(|| NotAnImage::of(text))?;
        Ok(reference.at(digest))
    }
}

impl TryFrom<String> for Pinned {
    type Error = NotAnImage;

    fn try_from(text: String) -> Result<Self, NotAnImage> {
        text.parse()
    }
}

impl From<Pinned> for String {
    fn from(pinned: Pinned) -> Self {
        pinned.to_string()
    }
}

impl Display for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@sha256:{}", self.name, self.digest)
    }
}

/// The name without its mark, if it is one of an image in a node's own engine.
pub fn local_name(reference: &str) -> Option<&str> {
    reference.strip_prefix(LOCAL)
}

/// Whether a registry at this host (with or without a port) is on this machine, where none needs
/// TLS.
pub fn is_on_this_machine(host: &str) -> bool {
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => host.split(':').next(),
    };
    let bare = bare.unwrap_or_default();
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Reads a digest as registries write it: `sha256:` and 64 hexadecimal digits.
pub fn digest(text: &str) -> Option<Digest> {
    let hash = text.strip_prefix("sha256:")?;
    let lower = hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    hash.parse().ok().filter(|_| lower)
}

fn is_part(part: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    !part.is_empty() && !part.contains("..") && part != "." && part.bytes().all(plain)
}

fn is_tag(tag: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    !tag.is_empty() && tag.len() <= 128 && !tag.starts_with(['.', '-']) && tag.bytes().all(plain)
}

fn is_host(host: &str) -> bool {
    host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_reference_is_read_as_engines_read_it() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        for (text, host, repository, version) in [
            ("python", HUB, "library/python", "latest"),
            ("me/own:1", HUB, "me/own", "1"),
            ("docker.io/me/own", HUB, "me/own", "latest"),
            ("ghcr.io/a/b/c:v1", "ghcr.io", "a/b/c", "v1"),
            ("localhost:5000/a", "localhost:5000", "a", "latest"),
            ("127.0.0.1:5000/a:x", "127.0.0.1:5000", "a", "x"),
            (&format!("r.example/a:x@{digest}"), "r.example", "a", &digest),
        ] {
            let read = text.parse::<Reference>().unwrap();

            assert_eq!(
                (&*read.host, &*read.repository, &*read.version),
                (host, repository, version)
            );
        }
        let pinned = format!("r.example/a:x@{digest}").parse::<Pinned>().unwrap();
        assert_eq!(pinned.to_string(), format!("r.example/a@{digest}"));
        assert_eq!((pinned.host(), pinned.repository()), ("r.example", "a"));
        assert!("r.example/a:x".parse::<Pinned>().is_err());
    }

    #[test]
    fn image_reference_refuses_hostile_names() {
        for text in [
            "",
            "A",
            "a b",
            "r.example/../x",
            "r.example/a/../../v2",
            "r.example//a",
            "r.example/a?b",
            "r.example/a#b",
            "user:pass@r.example/a",
            "r.example/a@sha256:00",
            "r.example:80:90/",
            "r.ex%61mple/a",
            "r.example\\x/a",
            "r.example/a:",
            "r.example/a:-x",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }

    #[test]
    fn image_registry_is_local_on_loopback_only() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "[::1]:5000", "127.9.9.9"] {
            assert!(is_on_this_machine(host), "{host}");
        }
        for host in
            ["r.example", "10.0.0.1", "localhost.example:1", "[::2]", "", "127.0.0.1.nip.io"]
        {
            assert!(!is_on_this_machine(host), "{host}");
        }
    }

    #[test]
    fn local_image_is_marked_as_local() {
        assert_eq!(local_name("localhost/team/app:1"), Some("team/app:1"));
        for name in ["team/app:1", "localhost:5000/team/app", "docker.io/localhost/x"] {
            assert_eq!(local_name(name), None, "{name}");
        }
    }
}
