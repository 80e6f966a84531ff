//! What a handler gives, as an answer.

use serde::Serialize;
use warp::Reply as _;
use warp::http::Response;
use warp::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};

use crate::api::Answer;
use crate::error::{Error, Result};

/// An answer of one JSON document.
pub fn json<T: Serialize>(out: &T) -> Result<Answer> {
    let body = serde_json::to_vec(out).map_err(|error| Error::Internal(Box::new(error)))?;
    let mut answer = Response::new(body).into_response();
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Answers carry tokens, links and balances.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}
