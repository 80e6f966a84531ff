//! What a registry asks of who comes without a token: `WWW-Authenticate: Bearer realm="…",…`,
//! and what its token service answers.

use std::time::Duration;

use common::secret::Hidden;
use serde::Deserialize;

/// What a token lives where its maker does not say, as the protocol has it.
pub const LIFE: Duration = Duration::from_secs(60);

/// Where tokens are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    pub realm: String,
    pub service: Option<String>,
}

impl Challenge {
    /// Reads a header; `None` where it asks for something else than a token.
    pub fn parse(header: &str) -> Option<Self> {
        let mut rest = parameters(header, "bearer")?;
        let (mut realm, mut service) = (None, None);
        while let Some((key, value, left)) = parameter(rest) {
            match key.to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value),
                "service" => service = Some(value),
                _ => {}
            }
            rest = left;
        }
        Some(Self { realm: realm?, service })
    }
}

pub fn is_basic(header: &str) -> bool {
    parameters(header, "basic").is_some()
}

/// Reads a token service's answer: the token under either name, or under both.
pub fn made(answer: &[u8]) -> Option<(Option<Hidden>, Duration)> {
    #[derive(Deserialize)]
    struct Made {
        token: Option<Hidden>,
        access_token: Option<Hidden>,
        expires_in: Option<u64>,
    }
    let made: Made = serde_json::from_slice(answer).ok()?;
    let token = made.token.or(made.access_token)?;
    Some((Some(token), made.expires_in.map_or(LIFE, Duration::from_secs)))
}

/// What follows the scheme.
fn parameters<'a>(header: &'a str, scheme: &str) -> Option<&'a str> {
    let (first, rest) = header.trim().split_once(' ')?;
    first.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// The first `key="value"` or `key=value`, and what comes after it.
fn parameter(text: &str) -> Option<(&str, String, &str)> {
    let (key, rest) = text.trim_start_matches([' ', ',']).split_once('=')?;
    let Some(quoted) = rest.strip_prefix('"') else {
        let (value, rest) = rest.split_once(',').unwrap_or((rest, ""));
        return Some((key.trim(), value.trim().to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((key.trim(), value, &quoted[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let full = Challenge { realm: "https://a/t".into(), service: Some("a, b".into()) };
        for header in [
            r#"Bearer realm="https://a/t",service="a, b",scope="repository:x:pull""#,
            r#"bearer service="a, b", realm="https://a/t""#,
            r#"Bearer scope=x,realm="https://a/t",service="a\, b""#,
        ] {
            assert_eq!(Challenge::parse(header), Some(full.clone()), "{header}");
        }
        for header in ["", "Bearer", "Bearer x", r#"Bearer realm="x"#, r#"Basic realm="x""#] {
            assert_eq!(Challenge::parse(header), None, "{header}");
        }
        assert!(is_basic(r#"Basic realm="x""#) && !is_basic(r#"Bearer realm="x""#));
    }

    proptest! {
        #[test]
        fn no_header_makes_the_reader_panic(header in "(Bearer )?[a-z=\", \\\\ä]{0,40}") {
            let _ = Challenge::parse(&header);
        }
    }
}
