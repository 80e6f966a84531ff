//! What a registry asks of who comes without a token: `WWW-Authenticate: Bearer realm="…",…`,
//! and what its token service answers.

use std::time::Duration;

use common::input::exact::whole;
use common::secret::Hidden;
use serde_json::Value;

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

/// Reads a token service's answer: the token under either name, or under both, and a life that some
/// write as a text.
pub fn made(answer: &[u8]) -> Option<(Option<Hidden>, Duration)> {
    let made: Value = serde_json::from_slice(answer).ok()?;
    let text = |key: &str| made[key].as_str().filter(|token| !token.is_empty());
    let token = text("token").or_else(|| text("access_token"))?;
    let life = match &made["expires_in"] {
        Value::Number(number) => whole(&number.to_string()),
        Value::String(text) => whole(text),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let life = life.and_then(|secs| u64::try_from(secs).ok()).filter(|secs| *secs > 0);
    Some((Some(Hidden(token.to_owned())), life.map_or(LIFE, Duration::from_secs)))
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

    #[test]
    fn token_answers_are_read_as_services_write_them() {
        for (answer, secs) in [
            (r#"{"token":"t"}"#, 60),
            (r#"{"access_token":"t","expires_in":300.0}"#, 300),
            (r#"{"token":"t","access_token":"t","expires_in":"300","issued_at":"x"}"#, 300),
            (r#"{"token":"","access_token":"t","refresh_token":null,"expires_in":0}"#, 60),
            (r#"{"token":null,"access_token":"t","expires_in":null}"#, 60),
            (r#"{"access_token":"t","token":"t","expires_in":-5}"#, 60),
        ] {
            let made = made(answer.as_bytes());

            let expected = (Some(Hidden("t".to_owned())), Duration::from_secs(secs));
            assert_eq!(made, Some(expected), "{answer}");
        }
        for answer in ["", "[]", "{}", r#"{"token":7}"#, r#"{"token":""}"#] {
            assert_eq!(made(answer.as_bytes()), None, "{answer}");
        }
    }

    proptest! {
        #[test]
        fn challenge_reader_does_not_panic_on_any_header(header in "(Bearer )?[a-z=\", \\\\ä]{0,40}") {
            let _ = Challenge::parse(&header);
        }
    }
}
