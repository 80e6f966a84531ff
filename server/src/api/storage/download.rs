//! Downloads by signed links: whole, in parts, and resumed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Timelike as _, Utc};
use common::digest::Digest;
use sync_wrapper::SyncStream;
use warp::Reply as _;
use warp::http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, LAST_MODIFIED, LOCATION, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use warp::http::{Method, StatusCode};

use super::range::{Asked, parse_range};
use crate::api::Answer;
use crate::api::http::call::{Call, Segment};
use crate::error::Result;
use crate::files::Download;

const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

pub async fn serve(method: Method, segment: Segment, call: Call) -> Result<Answer> {
    let file = Download::open(call.app(), &segment.0, &call.raw_query).await?;
    call.authenticated();
    if method == Method::GET
        && let Some(direct) = file.direct_link().await?
    {
        let mut answer = StatusCode::TEMPORARY_REDIRECT.into_response();
        set(answer.headers_mut(), LOCATION, &direct);
        return Ok(answer);
    }
    let current = Current::of(file.version(), file.modified(), file.digest());
    let size = file.size();
    let (status, range) = match current.asked(&call.headers, size) {
        Wanted::Nothing(status) => (status, 0..0),
        Wanted::Part(Asked::Whole) => (StatusCode::OK, 0..size),
        Wanted::Part(Asked::Part(range)) => (StatusCode::PARTIAL_CONTENT, range),
        Wanted::Part(Asked::Beyond) => return Ok(beyond(size)),
    };
    let length = range.end - range.start;
    let mut answer = if method == Method::HEAD || length == 0 {
        StatusCode::OK.into_response()
    } else {
        let bytes = file.read(range.clone()).await?;
        warp::reply::stream(SyncStream::new(bytes)).into_response()
    };
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    current.tell(headers);
    if !status.is_success() {
        return Ok(answer);
    }
    headers.insert(CONTENT_LENGTH, length.into());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    // A customer's file must never run as a page of this server.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    set(headers, CONTENT_DISPOSITION, &file.disposition());
    if status == StatusCode::PARTIAL_CONTENT {
        let part = format!("bytes {}-{}/{size}", range.start, range.end - 1);
        set(headers, CONTENT_RANGE, &part);
    }
    Ok(answer)
}

/// A file as it is now, for clients that have some of it already.
struct Current {
    etag: Option<String>,
    modified: DateTime<Utc>,
    digest: Option<Digest>,
}

/// What a request still wants where it says what its client has.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    /// No byte, and why.
    Nothing(StatusCode),
    Part(Asked),
}

impl Current {
    fn of(version: Option<&str>, modified: DateTime<Utc>, digest: Option<Digest>) -> Self {
        let version = version.map(|version| version.trim_matches('"'));
        let tag = digest.map(|digest| digest.to_string()).or(version.map(ToOwned::to_owned));
        // Headers know no parts of a second.
        let modified = modified.with_nanosecond(0).unwrap_or(modified);
        Self { etag: tag.map(|tag| format!("\"{tag}\"")), modified, digest }
    }

    /// The conditions in the order that RFC 9110 (13.2.2) gives them.
    fn asked(&self, headers: &HeaderMap, size: u64) -> Wanted {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let date = |name| text(name).and_then(time);
        let stale = match text(IF_MATCH) {
            Some(tags) => !self.is_among(tags, false),
            None => date(IF_UNMODIFIED_SINCE).is_some_and(|then| self.modified > then),
        };
        if stale {
            return Wanted::Nothing(StatusCode::PRECONDITION_FAILED);
        }
        let same = match text(IF_NONE_MATCH) {
            Some(tags) => self.is_among(tags, true),
            None => date(IF_MODIFIED_SINCE).is_some_and(|then| self.modified <= then),
        };
        if same {
            return Wanted::Nothing(StatusCode::NOT_MODIFIED);
        }
        // A part of another version would be joined to what the client has.
        let fits = match text(IF_RANGE) {
            Some(tag) if tag.starts_with('"') => self.etag.as_deref() == Some(tag),
            // A time is too coarse, except for a link that leads to these very bytes.
            Some(then) => self.digest.is_some() && time(then) == Some(self.modified),
            None => !headers.contains_key(IF_RANGE),
        };
        let part = text(RANGE).filter(|_| fits);
        Wanted::Part(part.map_or(Asked::Whole, |header| parse_range(header, size)))
    }

    fn is_among(&self, tags: &str, weakly: bool) -> bool {
        let Some(own) = self.etag.as_deref() else { return tags.trim() == "*" };
        tags.split(',').map(str::trim).any(|tag| {
            let tag = if weakly { tag.strip_prefix("W/").unwrap_or(tag) } else { tag };
            tag == "*" || tag == own
        })
    }

    fn tell(&self, headers: &mut HeaderMap) {
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if let Some(etag) = &self.etag {
            set(headers, ETAG, etag);
        }
        let modified = self.modified.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        set(headers, LAST_MODIFIED, &modified);
        if let Some(digest) = &self.digest {
            let digest = format!("sha-256=:{}:", STANDARD.encode(digest.bytes()));
            set(headers, REPR_DIGEST, &digest);
        }
    }
}

fn time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(text).ok().map(|time| time.to_utc())
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn beyond(size: u64) -> Answer {
    let mut answer = StatusCode::RANGE_NOT_SATISFIABLE.into_response();
    set(answer.headers_mut(), CONTENT_RANGE, &format!("bytes */{size}"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    fn wanted(given: &[(HeaderName, &str)]) -> Wanted {
        let modified = time(THEN).unwrap() + chrono::TimeDelta::milliseconds(700);
        let headers = given.iter().map(|(name, value)| (name.clone(), value.parse().unwrap()));
        Current::of(Some("1-2-a"), modified, None).asked(&headers.collect(), 10)
    }

    #[test]
    fn downloads_are_resumed_only_if_the_file_is_the_same() {
        let part = || Wanted::Part(Asked::Part(2..5));
        let whole = || Wanted::Part(Asked::Whole);
        for (if_range, expected) in [
            ("\"1-2-a\"", part()),
            ("\"1-2-b\"", whole()),
            ("W/\"1-2-a\"", whole()),
            (THEN, whole()),
            ("nonsense", whole()),
        ] {
            let given = [(RANGE, "bytes=2-4"), (IF_RANGE, if_range)];
            assert_eq!(wanted(&given), expected, "{if_range}");
        }
        assert_eq!(wanted(&[(RANGE, "bytes=2-4")]), part());
    }

    #[test]
    fn downloads_of_unchanged_files_are_skipped() {
        let unchanged = Wanted::Nothing(StatusCode::NOT_MODIFIED);
        let other = Wanted::Nothing(StatusCode::PRECONDITION_FAILED);
        let whole = Wanted::Part(Asked::Whole);
        for (name, value, expected) in [
            (IF_NONE_MATCH, "\"x\", W/\"1-2-a\"", &unchanged),
            (IF_NONE_MATCH, "*", &unchanged),
            (IF_NONE_MATCH, "\"x\"", &whole),
            (IF_MODIFIED_SINCE, THEN, &unchanged),
            (IF_MODIFIED_SINCE, LATER, &unchanged),
            (IF_MODIFIED_SINCE, BEFORE, &whole),
            (IF_MATCH, "\"1-2-a\"", &whole),
            (IF_MATCH, "W/\"1-2-a\"", &other),
            (IF_MATCH, "\"x\"", &other),
            (IF_UNMODIFIED_SINCE, BEFORE, &other),
            (IF_UNMODIFIED_SINCE, THEN, &whole),
        ] {
            assert_eq!(wanted(&[(name.clone(), value)]), *expected, "{name}: {value}");
        }
    }
}
