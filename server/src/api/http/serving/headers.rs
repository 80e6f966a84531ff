//! Headers that every answer carries, so that no browser makes more of it than it is.

use warp::http::HeaderMap;
use warp::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};

/// What a page may do that a handler gives no policy of its own: nothing.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";

/// Adds the headers; what a handler has set for caches and as its policy stays.
pub fn secure(headers: &mut HeaderMap) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    set_missing(headers, CONTENT_SECURITY_POLICY, NOTHING);
    // Most answers are for their caller only.
    set_missing(headers, CACHE_CONTROL, "no-store");
}

fn set_missing(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.entry(name).or_insert(HeaderValue::from_static(value));
}
