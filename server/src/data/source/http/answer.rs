//! What the head of an answer says of the bytes behind it.

use std::ops::Range;

use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, HeaderMap};
use reqwest::{Response, StatusCode};

/// Whether an answer has a part of the file. Some servers call it the whole, and say in
/// `Content-Range` what it is.
pub fn is_part(answer: &Response) -> bool {
    match answer.status() {
        StatusCode::PARTIAL_CONTENT => true,
        StatusCode::OK => answer.headers().contains_key(CONTENT_RANGE),
        _ => false,
    }
}

/// Whether a server would say the same to a request for the whole file.
pub fn says_nothing_of_ranges(status: StatusCode) -> bool {
    let is_passing = status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED;
    is_passing || matches!(status.as_u16(), 401 | 404 | 408 | 410 | 425 | 429)
}

pub fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Which part of a file an answer has: `bytes 0-0/123`, or none as in `bytes */0`.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    pub range: Option<Range<u64>>,
    pub size: u64,
}

/// The part that an answer has; a part of the packed file is no part of the file.
pub fn part(headers: &HeaderMap) -> Option<Part> {
    if coding(headers).is_some() {
        return None;
    }
    let value = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, size) = value.strip_prefix("bytes ")?.trim().split_once('/')?;
    let size = size.trim().parse().ok()?;
    let range = match range.trim() {
        "*" => None,
        range => {
            let (first, last) = range.split_once('-')?;
            let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            Some(first..last.checked_add(1)?)
        }
    };
    Some(Part { range, size })
}

/// How the bytes of an answer are packed, if they are.
pub fn coding(headers: &HeaderMap) -> Option<String> {
    let all = headers.get_all(CONTENT_ENCODING).iter();
    let all = all.flat_map(|value| value.to_str().unwrap_or("?").split(','));
    let packed: Vec<_> = all
        .map(|coding| coding.trim().to_ascii_lowercase())
        .filter(|coding| !matches!(coding.as_str(), "" | "identity"))
        .collect();
    (!packed.is_empty()).then(|| packed.join(", "))
}

pub fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
