//! The id of a request: its caller finds it in the answer, and the server's owner in the log.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;
use warp::http::HeaderMap;
use warp::http::header::{HeaderName, HeaderValue};

/// The header of each answer, and of requests from proxies.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");
const CHARS_MAX: usize = 64;

/// Up to 64 letters, digits, points, underscores and hyphens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// A new id. It is a UUID of version 7, so ids are in the order of the requests.
    pub fn generate() -> Self {
        Self(Uuid::now_v7().to_string().into())
    }

    /// The id in the headers of a request, where there is exactly one that can be an id.
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(HEADER).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        let text = value.to_str().ok()?;
        let is_id = (1..=CHARS_MAX).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        is_id.then(|| Self(text.into()))
    }

    /// The id as a header's value.
    ///
    /// # Panics
    /// Never: all characters of an id can stand in a header.
    pub fn header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("all characters of an id can stand in a header")
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&[u8]]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HEADER, HeaderValue::from_bytes(value).unwrap());
        }
        RequestId::read(&headers).map(|id| id.to_string())
    }

    #[test]
    fn request_id_of_a_header_is_short_and_plain() {
        let longest = "x".repeat(CHARS_MAX);
        for id in ["a", "0192e4a0-7c1e-7b60-a1a5-0b2f3c4d5e6f", "Edge_7.abc", &longest] {
            assert_eq!(read(&[id.as_bytes()]).as_deref(), Some(id));
        }
        let longer = "x".repeat(CHARS_MAX + 1);
        let hostile = [
            "",
            " ",
            "a b",
            "a=b",
            "a\"b",
            "a,b",
            "a/b",
            "{a}",
            "a;b",
            "a\tb",
            "${jndi:x}",
            &longer,
        ];
        for id in hostile {
            assert_eq!(read(&[id.as_bytes()]), None, "{id}");
        }
        assert_eq!(read(&["ä".as_bytes()]), None);
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[b"a", b"b"]), None, "two headers");
    }

    #[test]
    fn request_id_that_is_generated_is_an_id() {
        let id = RequestId::generate();
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, id.header());

        assert_eq!(RequestId::read(&headers), Some(id));
    }
}
