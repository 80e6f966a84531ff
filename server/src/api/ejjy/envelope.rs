//! What every answer of this API is wrapped in: a status, a message and data.

use serde::Serialize;
use utoipa::{PartialSchema as _, ToSchema};
use warp::http::StatusCode;

use crate::api::Answer;
use crate::api::http::problem::{ErrorShape, Problem};
use crate::api::http::reply;
use crate::error::Result;
use crate::field::Field;

pub const ERRORS: ErrorShape = ErrorShape {
    media: "application/json",
    body,
    field: Field::to_string,
    conflicts: &[],
    name: "EjjyFailure",
    schema: Failure::schema,
    parts: Failure::schemas,
};

/// What was asked for.
#[derive(Serialize, ToSchema)]
#[schema(as = EjjyAnswer)]
pub struct Envelope<T> {
    #[schema(value_type = Status)]
    status: &'static str,
    message: &'static str,
    data: T,
}

/// How a request ended.
#[derive(ToSchema)]
#[schema(as = EjjyStatus, rename_all = "snake_case")]
#[expect(dead_code, reason = "it only describes the texts")]
enum Status {
    Success,
    Error,
}

/// Why something was refused or failed.
#[derive(Serialize, ToSchema)]
#[schema(as = EjjyFailure)]
struct Failure<'a> {
    #[schema(value_type = Status)]
    status: &'static str,
    /// What is wrong, and what to do about it.
    message: &'a str,
}

/// An answer with this status.
pub fn success<T: Serialize>(status: StatusCode, message: &'static str, data: T) -> Result<Answer> {
    let mut answer = reply::json(&Envelope { status: "success", message, data })?;
    *answer.status_mut() = status;
    Ok(answer)
}

/// An answer of what was found.
pub fn found<T: Serialize>(message: &'static str, data: T) -> Result<Answer> {
    success(StatusCode::OK, message, data)
}

/// A refusal with a status that the kinds of failures do not have.
pub fn refused(status: StatusCode, message: &str) -> Result<Answer> {
    let mut answer = reply::json(&Failure { status: "error", message })?;
    *answer.status_mut() = status;
    Ok(answer)
}

fn body(problem: &Problem, _request_id: &str) -> Vec<u8> {
    let failure = Failure { status: "error", message: &problem.message };
    serde_json::to_vec(&failure).expect("texts are JSON")
}
