//! Results and rejections as answers: every failure in one JSON shape.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use warp::Reply as _;
use warp::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use warp::http::{Response, StatusCode};

use super::error::{Error, Result};
use crate::api::Answer;

/// What most changes answer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = commonGenericResponse)]
pub struct Done {
    ok: bool,
    request_id: &'static str,
    message: String,
    #[schema(value_type = Option<Object>)]
    #[schema(value_type = Option<Object>)]
    error: Option<Value>,
}

/// Every failure.
#[derive(Serialize, ToSchema)]
#[schema(as = rpcStatus)]
pub struct Failure {
    /// As gRPC numbers them.
    code: i32,
    message: String,
    details: Vec<Detail>,
}

/// What went wrong, for programs.
#[derive(Serialize, ToSchema)]
#[schema(as = ErrorInfo)]
struct Detail {
    #[serde(rename = "@type")]
    kind: &'static str,
    /// A word that never changes, such as `WALLET_TOO_LOW`.
    reason: &'static str,
    domain: &'static str,
    metadata: BTreeMap<&'static str, String>,
}

impl Failure {
    fn new(error: &Error) -> Self {
        let field = error.wrong_field().map(|field| ("field", field.to_owned()));
        let detail = Detail {
            kind: "type.googleapis.com/google.rpc.ErrorInfo",
            reason: error.problem(),
            domain: "fanfold",
            metadata: field.into_iter().collect(),
        };
        Self { code: error.rpc_code(), message: error.to_string(), details: vec![detail] }
    }
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
    let body = serde_json::to_vec(&Failure::new(error)).expect("a number and texts are JSON");
    let mut answer = json_answer(error.status(), body);
    if let Some(secs) = error.retry_after() {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(secs));
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
