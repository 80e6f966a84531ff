//! What a bucket answers in place of an object's bytes.

use std::fmt;
use std::time::Duration;

use common::error_chain::chain;
use reqwest::header::{CONTENT_RANGE, HeaderMap};
use reqwest::{Response, StatusCode};
use tokio::time::timeout;

use crate::net::ssrf_guard::{self, Refused};

/// The most bytes of an error's description that are read, and how long it may take to come.
const DOCUMENT_BYTES_MAX: usize = 8 * 1024;
const DOCUMENT_WAIT: Duration = Duration::from_secs(5);
/// The most bytes of an error's code.
const CODE_BYTES_MAX: usize = 64;
/// Azure puts its codes here.
const CODE_HEADER: &str = "x-ms-error-code";

/// Why a bucket does not give an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketError {
    /// What the customer calls the object; `None` for one in the server's own bucket.
    pub object: Option<String>,
    answer: Answer,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    /// The store's own word for it, where it gives one.
    Status(StatusCode, Option<String>),
    NotReached,
    TooLate,
    /// The node's owner does not let it go there.
    Barred(Refused),
}

impl BucketError {
    /// There is no answer: an error, or nothing in time.
    pub fn silent(object: Option<String>, error: Option<reqwest::Error>) -> Self {
        let Some(error) = error else { return Self { object, answer: Answer::TooLate } };
        let error = error.without_url();
        tracing::debug!(error = %chain(&error), "a bucket was not reached");
        let answer = ssrf_guard::refusal(&error).map_or(Answer::NotReached, Answer::Barred);
        Self { object, answer }
    }

    /// The node does not go where the object is.
    pub const fn barred(object: Option<String>, refused: Refused) -> Self {
        Self { object, answer: Answer::Barred(refused) }
    }

    /// The answer is an error.
    pub async fn refused(object: Option<String>, response: Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        let described = !status.is_success() && !headers.contains_key(CODE_HEADER);
        let document = if described {
            timeout(DOCUMENT_WAIT, document(response)).await.unwrap_or_default()
        } else {
            String::new()
        };
        Self { object, answer: answer(status, &headers, &document) }
    }

    #[cfg(test)]
    pub const fn forbidden() -> Self {
        let object = None;
        Self { object, answer: Answer::Status(StatusCode::FORBIDDEN, None) }
    }

    /// Whether asking again, with a new link, can go better.
    pub fn again(&self) -> bool {
        match &self.answer {
            Answer::Status(status, code) => {
                let is_late = code.as_deref() == Some("RequestTimeTooSkewed");
                let may_pass = [
                    StatusCode::REQUEST_TIMEOUT,
                    StatusCode::TOO_EARLY,
                    StatusCode::TOO_MANY_REQUESTS,
                ];
                status.is_server_error() || may_pass.contains(status) || is_late
            }
            Answer::NotReached | Answer::TooLate => true,
            Answer::Barred(_) => false,
        }
    }

    /// Whether the store has refused it, for good and for everybody: the link was made a moment
    /// ago.
    pub fn is_final(&self) -> bool {
        matches!(self.answer, Answer::Status(..)) && !self.again()
    }
}

impl fmt::Display for BucketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.object {
            Some(object) => write!(f, "the object {object:?}: the bucket ")?,
            None => f.write_str("the server's bucket ")?,
        }
        match &self.answer {
            Answer::Status(status, Some(code)) => write!(f, "answered {status} ({code})"),
            Answer::Status(status, None) if status.is_success() => {
                write!(f, "answered {status} without the bytes that were asked for")
            }
            Answer::Status(status, None) => write!(f, "answered {status}"),
            Answer::NotReached => f.write_str("cannot be reached from the node"),
            Answer::TooLate => f.write_str("does not answer"),
            Answer::Barred(why) => write!(f, "{why}"),
        }
    }
}

impl std::error::Error for BucketError {}

fn answer(status: StatusCode, headers: &HeaderMap, document: &str) -> Answer {
    let code = headers.get(CODE_HEADER).and_then(|code| code.to_str().ok()).map(str::to_owned);
    Answer::Status(status, code.or_else(|| code_of(document)).filter(|code| is_code(code)))
}

/// Whether an answer carries the bytes `from..to`. Some stores call a part a whole, and say in
/// `Content-Range` what it is.
pub fn gives(status: StatusCode, headers: &HeaderMap, from: u64, to: u64) -> bool {
    let range = headers.get(CONTENT_RANGE).and_then(|text| text.to_str().ok());
    let is_asked_for = range.map(|text| text.starts_with(&format!("bytes {from}-{}/", to - 1)));
    match status {
        StatusCode::PARTIAL_CONTENT => is_asked_for != Some(false),
        StatusCode::OK => is_asked_for.unwrap_or(from == 0),
        _ => false,
    }
}

/// The beginning of an answer's body.
async fn document(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(piece)) = response.chunk().await {
        let room = DOCUMENT_BYTES_MAX - bytes.len();
        bytes.extend_from_slice(&piece[..piece.len().min(room)]);
        if bytes.len() == DOCUMENT_BYTES_MAX {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The code in the document that S3's language describes an error with.
fn code_of(document: &str) -> Option<String> {
    let (_, rest) = document.split_once("<Code>")?;
    Some(rest.split_once("</Code>")?.0.trim().to_owned())
}

/// A word, and no text of a stranger's.
fn is_code(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !text.is_empty() && text.len() <= CODE_BYTES_MAX && text.bytes().all(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn refused(status: u16, list: &[(&'static str, &str)], document: &str) -> BucketError {
        let answer = answer(StatusCode::from_u16(status).unwrap(), &headers(list), document);
        BucketError { object: Some("in/a.txt".to_owned()), answer }
    }

    #[test]
    fn bucket_refusal_names_the_object_and_the_stores_code() {
        let archived = "<?xml version=\"1.0\"?>\n<Error><Code>InvalidObjectState</Code></Error>";
        let azure = [("x-ms-error-code", "BlobArchived")];
        for (status, headers, document, text) in [
            (403, &[][..], archived, "403 Forbidden (InvalidObjectState)"),
            (409, &azure, "<Error><Code>Other</Code></Error>", "409 Conflict (BlobArchived)"),
            (404, &[], "", "404 Not Found"),
            (403, &[], "<Code><b>nice</b> try</Code>", "403 Forbidden"),
        ] {
            let error = refused(status, headers, document);

            let expected = format!("the object \"in/a.txt\": the bucket answered {text}");
            assert_eq!(error.to_string(), expected);
            assert!(error.is_final(), "{error}");
        }
    }

    #[test]
    fn retries_are_limited_to_temporary_failures() {
        for status in [408, 425, 429, 500, 502, 503, 504] {
            assert!(refused(status, &[], "").again(), "{status}");
        }
        for status in [200, 301, 400, 401, 403, 404, 405, 409, 410, 412, 416, 451] {
            assert!(!refused(status, &[], "").again(), "{status}");
        }
        let skewed = "<Error><Code>RequestTimeTooSkewed</Code></Error>";
        assert!(refused(403, &[], skewed).again());
        assert!(BucketError::silent(None, None).again());
        let barred = BucketError::barred(None, Refused::Private);
        assert!(!barred.again() && !barred.is_final(), "another node may go there");
    }

    #[test]
    fn part_is_accepted_only_if_it_is_the_requested_one() {
        let gives = |range: Option<&str>, status, from| {
            let list: Vec<_> = range.iter().map(|range| ("content-range", *range)).collect();
            gives(StatusCode::from_u16(status).unwrap(), &headers(&list), from, 30)
        };

        assert!(gives(Some("bytes 10-29/100"), 206, 10) && gives(None, 206, 10));
        assert!(gives(Some("bytes 10-29/100"), 200, 10) && gives(None, 200, 0));
        assert!(!gives(None, 200, 10), "the whole object");
        assert!(!gives(Some("bytes 0-29/100"), 206, 10) && !gives(Some("bytes 0-9/10"), 200, 0));
        assert!(!gives(Some("bytes 10-29/100"), 403, 10));
    }
}
