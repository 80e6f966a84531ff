//! What a call may say. What it leads to is checked again with each attempt, by the server that
//! makes it.

use url::Url;

use super::retry::{RETRIES_MAX, WAIT_SECS_MAX};
use super::{ANSWER_BYTES_MAX, Call, CallTask, Flow, HeaderText, Retry, SIGNATURES_MAX, Waits};

pub const BODY_BYTES_MAX: usize = 1 << 20;
/// An attempt takes no longer.
pub const TIMEOUT_SECS_MAX: u32 = 3_600;
const URL_BYTES_MAX: usize = 8 * 1024;
const HEADERS_MAX: usize = 64;
const HEADERS_BYTES_MAX: usize = 16 * 1024;
const ACCEPT_MAX: usize = 16;
const KEY_CHARS_MAX: usize = 128;
const RATE_CALLS_MAX: u32 = 100_000;
const RATE_SECS_MAX: u32 = 86_400;
const FACTOR_MAX: u32 = 10;

/// Headers that belong to the connection, or that the server writes itself.
const RESERVED: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "fanfold-attempt",
    "fanfold-scheduled-for",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
const RESERVED_PREFIXES: [&str; 2] = ["proxy-", "webhook-"];

/// Why a call cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCall {
    #[error("must be an http:// or https:// address of at most {URL_BYTES_MAX} bytes")]
    Url,
    #[error("must have no user or password: put them into a header, from a secret")]
    UserInfo,
    #[error("must be at most {HEADERS_MAX} with {HEADERS_BYTES_MAX} bytes together")]
    Headers,
    #[error("{0:?} is no name of a header: use letters, digits and -")]
    HeaderName(String),
    #[error("{0} is written by the server: leave it out")]
    Reserved(String),
    #[error("{0} is given twice")]
    Twice(String),
    #[error("the value of {0} must be one line of visible characters")]
    HeaderValue(String),
    #[error("must be at most {BODY_BYTES_MAX} bytes")]
    Body,
    #[error("must be 1 to {ACCEPT_MAX} ranges of statuses from 100 to 599")]
    Accept,
    #[error("must be from 1 to {TIMEOUT_SECS_MAX}")]
    Timeout,
    #[error("must be at most {SIGNATURES_MAX} secrets")]
    Sign,
    #[error("must be at most {ANSWER_BYTES_MAX}")]
    Keep,
    #[error("the key must be 1 to {KEY_CHARS_MAX} visible characters")]
    Key,
    #[error(
        "a rate is at most {RATE_CALLS_MAX} calls in a time of at most {RATE_SECS_MAX} seconds"
    )]
    Rate,
    #[error("must be at most {RETRIES_MAX} retries with waits of at most {WAIT_SECS_MAX} seconds")]
    Waits,
    #[error("the factor must be from 1 to {FACTOR_MAX}, the jitter at most 100 percent")]
    Growth,
    #[error("has more than one template for the same text")]
    Late,
}

impl InvalidCall {
    /// The field that must be put right.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Url | Self::UserInfo => "url",
            Self::Headers
            | Self::HeaderName(_)
            | Self::Reserved(_)
            | Self::Twice(_)
            | Self::HeaderValue(_) => "headers",
            Self::Body => "body",
            Self::Late => "call",
            Self::Accept => "accept",
            Self::Timeout => "timeout_secs",
            Self::Sign => "sign",
            Self::Keep => "keep_bytes",
            Self::Key | Self::Rate => "flow",
            Self::Waits | Self::Growth => "retry",
        }
    }
}

impl CallTask {
    /// Whether it can be made at all.
    pub fn check(&self) -> Result<(), InvalidCall> {
        self.call.check()?;
        self.check_late()?;
        self.retry.check()
    }
}

impl Call {
    pub fn check(&self) -> Result<(), InvalidCall> {
        check_url(&self.url)?;
        self.check_headers()?;
        if self.body.as_ref().is_some_and(|body| body.len() > BODY_BYTES_MAX) {
            return Err(InvalidCall::Body);
        }
        let is_range =
            |(from, to): &(u16, u16)| (100..=599).contains(from) && from <= to && *to <= 599;
        if !(1..=ACCEPT_MAX).contains(&self.accept.len()) || !self.accept.iter().all(is_range) {
            return Err(InvalidCall::Accept);
        }
        if !(1..=TIMEOUT_SECS_MAX).contains(&self.timeout_secs) {
            return Err(InvalidCall::Timeout);
        }
        if self.sign.len() > SIGNATURES_MAX {
            return Err(InvalidCall::Sign);
        }
        if self.keep_bytes > ANSWER_BYTES_MAX {
            return Err(InvalidCall::Keep);
        }
        self.flow.check()
    }

    fn check_headers(&self) -> Result<(), InvalidCall> {
        let mut bytes = 0;
        let mut names: Vec<String> = Vec::with_capacity(self.headers.len());
        for (name, value) in &self.headers {
            let lower = name.to_ascii_lowercase();
            if name.is_empty() || !name.bytes().all(is_token) {
                return Err(InvalidCall::HeaderName(name.chars().take(40).collect()));
            }
            let starts = |prefix: &&str| lower.starts_with(*prefix);
            if RESERVED.contains(&lower.as_str()) || RESERVED_PREFIXES.iter().any(starts) {
                return Err(InvalidCall::Reserved(name.clone()));
            }
            bytes += name.len();
            if let HeaderText::Text(text) = value {
                if !is_header_value(text) {
                    return Err(InvalidCall::HeaderValue(name.clone()));
                }
                bytes += text.len();
            }
            if names.contains(&lower) {
                return Err(InvalidCall::Twice(lower));
            }
            names.push(lower);
        }
        let fits = names.len() <= HEADERS_MAX && bytes <= HEADERS_BYTES_MAX;
        if fits { Ok(()) } else { Err(InvalidCall::Headers) }
    }
}

fn check_url(text: &str) -> Result<(), InvalidCall> {
    if text.len() > URL_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(InvalidCall::Url);
    }
    let url: Url = text.parse().map_err(|_| InvalidCall::Url)?;
    let is_web = matches!(url.scheme(), "http" | "https");
    if !is_web || url.host_str().is_none_or(str::is_empty) {
        return Err(InvalidCall::Url);
    }
    let has_user = !url.username().is_empty() || url.password().is_some();
    if has_user { Err(InvalidCall::UserInfo) } else { Ok(()) }
}

/// A character of a header's name.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// Whether a text can be sent as the value of a header: none can end its line.
pub(crate) fn is_header_value(text: &str) -> bool {
    text.chars().all(|c| c == '\t' || !c.is_control())
}

impl Flow {
    fn check(&self) -> Result<(), InvalidCall> {
        let is_key = |key: &String| {
            let chars = key.chars().count();
            (1..=KEY_CHARS_MAX).contains(&chars) && key.chars().all(crate::input::text::is_plain)
        };
        if !self.key.iter().all(is_key) {
            return Err(InvalidCall::Key);
        }
        let fits = self.rate.is_none_or(|rate| {
            rate.calls.get() <= RATE_CALLS_MAX && rate.per_secs.get() <= RATE_SECS_MAX
        });
        if fits { Ok(()) } else { Err(InvalidCall::Rate) }
    }
}

impl Retry {
    fn check(&self) -> Result<(), InvalidCall> {
        if self.attempts() > RETRIES_MAX + 1 {
            return Err(InvalidCall::Waits);
        }
        match &self.waits {
            Waits::Table(waits) if waits.iter().any(|secs| *secs > WAIT_SECS_MAX) => {
                Err(InvalidCall::Waits)
            }
            Waits::Table(_) => Ok(()),
            Waits::Backoff { first_secs, factor, most_secs, jitter_percent, .. } => {
                if (*first_secs).max(*most_secs) > WAIT_SECS_MAX {
                    return Err(InvalidCall::Waits);
                }
                let grows = (1..=FACTOR_MAX).contains(factor) && *jitter_percent <= 100;
                if grows { Ok(()) } else { Err(InvalidCall::Growth) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::call::{Method, Rate};
    use crate::secret::SecretId;

    fn call() -> Call {
        Call::new(Method::Post, "https://h.example/a?b=c")
    }

    fn with_header(name: &str, value: &str) -> Call {
        let value = HeaderText::Text(value.to_owned());
        Call { headers: [(name.to_owned(), value)].into(), ..call() }
    }

    #[test]
    fn call_goes_to_a_web_address_without_a_user() {
        for (url, expected) in [
            ("http://h.example", Ok(())),
            ("https://[2606:4700::1111]:8443/x", Ok(())),
            ("ftp://h.example/", Err(InvalidCall::Url)),
            ("file:///etc/passwd", Err(InvalidCall::Url)),
            ("/relative", Err(InvalidCall::Url)),
            ("", Err(InvalidCall::Url)),
            ("http://h.example/\r\nHost: evil", Err(InvalidCall::Url)),
            ("https://user@h.example/", Err(InvalidCall::UserInfo)),
            ("https://user:password@h.example/", Err(InvalidCall::UserInfo)),
            ("https://:password@h.example/", Err(InvalidCall::UserInfo)),
        ] {
            let call = Call { url: url.to_owned(), ..call() };
            assert_eq!(call.check(), expected, "{url}");
        }
        let long = format!("https://h.example/{}", "x".repeat(URL_BYTES_MAX));
        assert_eq!(Call { url: long, ..call() }.check(), Err(InvalidCall::Url));
    }

    #[test]
    fn call_cannot_write_the_headers_of_its_connection() {
        for name in [
            "Host",
            "content-LENGTH",
            "Transfer-Encoding",
            "Connection",
            "Upgrade",
            "TE",
            "Trailer",
            "Proxy-Authorization",
            "Webhook-Id",
            "Fanfold-Attempt",
        ] {
            let refused = with_header(name, "x").check();
            assert_eq!(refused, Err(InvalidCall::Reserved(name.to_owned())));
        }
        for name in ["Authorization", "X-Api-Key", "Cookie", "Content-Type", "Idempotency-Key"] {
            assert_eq!(with_header(name, "x").check(), Ok(()), "{name}");
        }
    }

    #[test]
    fn call_headers_cannot_carry_other_headers() {
        for value in ["a\r\nHost: evil", "a\n", "a\r", "a\0", "\u{7f}", "\u{85}"] {
            let refused = with_header("X-A", value).check();
            assert_eq!(refused, Err(InvalidCall::HeaderValue("X-A".to_owned())), "{value:?}");
        }
        for name in ["", "X A", "X:A", "X\r\nA", "é"] {
            let refused = with_header(name, "x").check();
            assert_eq!(refused, Err(InvalidCall::HeaderName(name.to_owned())), "{name:?}");
        }
        assert_eq!(with_header("X-A", "grün\tx").check(), Ok(()));
        let mut twice = with_header("x-a", "1");
        twice.headers.insert("X-A".to_owned(), HeaderText::Text("2".to_owned()));
        assert_eq!(twice.check(), Err(InvalidCall::Twice("x-a".to_owned())));
        let long = with_header("x-a", &"x".repeat(HEADERS_BYTES_MAX));
        assert_eq!(long.check(), Err(InvalidCall::Headers));
    }

    #[test]
    fn call_is_bounded() {
        let body = Some("x".repeat(BODY_BYTES_MAX + 1));
        let many = vec![SecretId::stored("a".to_owned()); SIGNATURES_MAX + 1];
        let key = Flow { key: Some("k".repeat(KEY_CHARS_MAX + 1)), ..Flow::default() };
        let rate = Rate { calls: NonZeroU32::MAX, per_secs: NonZeroU32::MIN };
        for (wrong, expected) in [
            (Call { body, ..call() }, InvalidCall::Body),
            (Call { accept: vec![], ..call() }, InvalidCall::Accept),
            (Call { accept: vec![(299, 200)], ..call() }, InvalidCall::Accept),
            (Call { accept: vec![(200, 600)], ..call() }, InvalidCall::Accept),
            (Call { timeout_secs: 0, ..call() }, InvalidCall::Timeout),
            (Call { timeout_secs: TIMEOUT_SECS_MAX + 1, ..call() }, InvalidCall::Timeout),
            (Call { sign: many, ..call() }, InvalidCall::Sign),
            (Call { keep_bytes: ANSWER_BYTES_MAX + 1, ..call() }, InvalidCall::Keep),
            (Call { flow: key, ..call() }, InvalidCall::Key),
            (
                Call { flow: Flow { rate: Some(rate), ..Flow::default() }, ..call() },
                InvalidCall::Rate,
            ),
        ] {
            assert_eq!(wrong.check(), Err(expected));
        }
    }

    #[test]
    fn retries_are_bounded() {
        let backoff = |factor, jitter_percent| Waits::Backoff {
            retries: 1,
            first_secs: 1,
            factor,
            most_secs: 1,
            jitter_percent,
        };
        for (waits, expected) in [
            (Waits::Table(vec![WAIT_SECS_MAX; 3]), Ok(())),
            (Waits::Table(vec![WAIT_SECS_MAX + 1]), Err(InvalidCall::Waits)),
            (Waits::Table(vec![0; 101]), Err(InvalidCall::Waits)),
            (backoff(2, 100), Ok(())),
            (backoff(0, 0), Err(InvalidCall::Growth)),
            (backoff(1, 101), Err(InvalidCall::Growth)),
        ] {
            let retry = Retry { waits, honours_retry_after: false };
            assert_eq!(retry.check(), expected);
        }
    }
}
