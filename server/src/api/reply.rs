//! Results and rejections as answers: every failure in one JSON shape.

use std::convert::Infallible;

use serde::Serialize;
use serde_json::{Value, json};
use warp::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use warp::http::{Response, StatusCode};
use warp::reject::{
    InvalidHeader, InvalidQuery, LengthRequired, MethodNotAllowed, PayloadTooLarge,
    UnsupportedMediaType,
};
use warp::{Rejection, Reply as _};

use super::Answer;
use super::error::{Error, Result};

/// What most changes answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Done {
    ok: bool,
    request_id: &'static str,
    message: String,
    error: Option<Value>,
}

/// The answer of a change that needs no words.
pub fn done() -> Done {
    done_with(String::new())
}

pub const fn done_with(message: String) -> Done {
    Done { ok: true, request_id: "", message, error: None }
}

/// A handler's result as JSON.
pub fn json_reply<T: Serialize>(result: Result<T>) -> Answer {
    match result
        .and_then(|out| serde_json::to_vec(&out).map_err(|error| Error::Internal(Box::new(error))))
    {
        Ok(body) => json_answer(StatusCode::OK, body),
        Err(error) => refusal(&error),
    }
}

/// A handler's result that is an answer already.
pub fn raw_reply(result: Result<Answer>) -> Answer {
    result.unwrap_or_else(|error| refusal(&error))
}

/// A refusal as the documented `rpcStatus`.
pub fn refusal(error: &Error) -> Answer {
    if let Error::Internal(source) = error {
        let source: &dyn std::error::Error = source.as_ref();
        tracing::error!(error = source, cause = source.source(), "request failed");
    }
    let body = json!({"code": error.rpc_code(), "message": error.to_string(), "details": []});
    let mut answer = json_answer(error.status(), body.to_string().into_bytes());
    if let Error::TooOften(secs) = error {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(*secs));
    }
    answer
}

fn json_answer(status: StatusCode, body: Vec<u8>) -> Answer {
    let mut answer = Response::new(body).into_response();
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Answers carry tokens, links and balances.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// What warp itself refused.
pub async fn recover(rejection: Rejection) -> std::result::Result<Answer, Infallible> {
    let error = if rejection.is_not_found() {
        Error::NotFound("path".to_owned())
    } else if rejection.find::<MethodNotAllowed>().is_some() {
        Error::Method
    } else if rejection.find::<PayloadTooLarge>().is_some() {
        Error::TooLarge(0)
    } else if let Some(header) = rejection.find::<InvalidHeader>() {
        Error::Invalid(header.to_string())
    } else if rejection.find::<InvalidQuery>().is_some()
        || rejection.find::<LengthRequired>().is_some()
        || rejection.find::<UnsupportedMediaType>().is_some()
    {
        Error::Invalid("the request is malformed".to_owned())
    } else {
        Error::Internal(format!("{rejection:?}").into())
    };
    Ok(refusal(&error))
}
