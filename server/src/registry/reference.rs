//! The name of an image, taken apart.

use super::Error;

const HUB: &str = "registry-1.docker.io";
const CHARS_MAX: usize = 512;

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

impl Reference {
    pub fn parse(text: &str) -> Result<Self, Error> {
        Self::read(text).ok_or_else(|| Error::Reference(text.chars().take(CHARS_MAX).collect()))
    }

    fn read(text: &str) -> Option<Self> {
        if text.len() > CHARS_MAX {
            return None;
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(is_digest(digest).then_some(digest)?)),
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
            version: digest.or(tag).unwrap_or("latest").to_owned(),
        })
    }
}

pub fn is_digest(text: &str) -> bool {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    text.strip_prefix("sha256:").is_some_and(|hash| hash.len() == 64 && hash.bytes().all(hex))
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
    fn references_are_read_as_engines_read_them() {
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
            let read = Reference::parse(text).unwrap();

            assert_eq!(
                (&*read.host, &*read.repository, &*read.version),
                (host, repository, version)
            );
        }
        let pinned = Reference::parse(&format!("r.example/a:x@{digest}")).unwrap();
        assert_eq!(pinned.name, "r.example/a");
    }

    #[test]
    fn hostile_names_are_none() {
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
            assert!(Reference::parse(text).is_err(), "{text}");
        }
    }
}
