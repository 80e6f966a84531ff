//! What every answer of this API is wrapped in: whether it is well, and data or a message.

use serde::Serialize;
use utoipa::{PartialSchema as _, ToSchema};
use warp::http::StatusCode;

use crate::api::Answer;
use crate::api::http::problem::{ErrorShape, Problem};
use crate::api::http::reply;
use crate::error::Result;
use crate::field::Field;

pub const JSON: &str = "application/json";

pub const ERRORS: ErrorShape = ErrorShape {
    media: JSON,
    body,
    field,
    conflicts: &[],
    name: "DaestroFailure",
    schema: Failure::schema,
    parts: Failure::schemas,
};

/// What was asked for.
#[derive(Serialize, ToSchema)]
#[schema(as = DaestroAnswer)]
pub struct Envelope<T> {
    /// Always true.
    ok: bool,
    data: T,
}

/// Why something was refused or failed.
#[derive(Serialize, ToSchema)]
#[schema(as = DaestroFailure)]
struct Failure<'a> {
    /// Always false.
    ok: bool,
    /// What is wrong, and what to do about it.
    message: &'a str,
}

/// A part of a list.
#[derive(Serialize, ToSchema)]
#[schema(as = DaestroPage)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Asks for what follows, where there is more.
    pub next_cursor: Option<String>,
}

/// What has only an id to tell.
#[derive(Serialize, ToSchema)]
#[schema(as = DaestroId)]
pub struct Id {
    pub id: String,
}

/// An answer with this status.
pub fn answer<T: Serialize>(status: StatusCode, data: T) -> Result<Answer> {
    let mut answer = reply::json(&Envelope { ok: true, data })?;
    *answer.status_mut() = status;
    Ok(answer)
}

/// An answer of what was found, or changed.
pub fn found<T: Serialize>(data: T) -> Result<Answer> {
    answer(StatusCode::OK, data)
}

/// A refusal with a status that the kinds of failures do not have.
pub fn refused(status: StatusCode, message: &str) -> Result<Answer> {
    let mut answer = reply::json(&Failure { ok: false, message })?;
    *answer.status_mut() = status;
    Ok(answer)
}

fn body(problem: &Problem, _request_id: &str) -> Vec<u8> {
    let failure = Failure { ok: false, message: &problem.message };
    serde_json::to_vec(&failure).expect("texts are JSON")
}

/// What this API calls a field.
fn field(field: &Field) -> String {
    let name = field.to_string();
    match name.as_str() {
        "parameters" => "container_cmd_parameter".to_owned(),
        "variables" => "container_env".to_owned(),
        "pools" => "compute_environments".to_owned(),
        _ => name,
    }
}
