//! Failures as this API has them: `{"error": {"code", "message", "field"}}`.

use serde::Serialize;
use utoipa::{PartialSchema as _, ToSchema};

use crate::api::http::problem::{ErrorShape, Problem};
use crate::error::Kind;
use crate::field::Field;

pub const ERRORS: ErrorShape = ErrorShape {
    media: "application/json",
    body,
    field,
    conflicts: &["JOB_NAME_TAKEN", "JOB_ALREADY_STARTED", "IDEMPOTENCY_KEY_REUSED"],
    name: "QuedUpError",
    schema: Failure::schema,
    parts: Failure::schemas,
};

/// Every failure.
#[derive(Serialize, ToSchema)]
#[schema(as = QuedUpError)]
struct Failure<'a> {
    error: Detail<'a>,
}

/// What went wrong.
#[derive(Serialize, ToSchema)]
#[schema(as = QuedUpErrorDetail)]
struct Detail<'a> {
    /// For programs.
    code: String,
    /// For people.
    message: &'a str,
    /// The field that is wrong.
    field: Option<&'a str>,
}

fn body(problem: &Problem, _request_id: &str) -> Vec<u8> {
    let taken = Some("name").filter(|_| problem.reason == "JOB_NAME_TAKEN");
    let field = problem.field.as_deref().or(taken);
    let failure =
        Failure { error: Detail { code: code(problem), message: &problem.message, field } };
    serde_json::to_vec(&failure).expect("texts are JSON")
}

fn code(problem: &Problem) -> String {
    match (problem.reason, problem.kind, problem.field.as_deref()) {
        ("JOB_NAME_TAKEN", ..) => "name_taken".to_owned(),
        (_, Kind::Unauthenticated, _) => "unauthorized".to_owned(),
        (_, Kind::InvalidArgument, Some(field)) if is_word(field) => format!("invalid_{field}"),
        (_, Kind::InvalidArgument, _) => "invalid_request".to_owned(),
        (reason, ..) => reason.to_ascii_lowercase(),
    }
}

/// Whether a field is one of the request's own, and no part of one.
fn is_word(field: &str) -> bool {
    field.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

/// What this API calls a field.
fn field(field: &Field) -> String {
    let name = field.to_string();
    match name.strip_prefix("call.").unwrap_or(&name) {
        "cron" => "schedule".to_owned(),
        "at" => "run_at".to_owned(),
        other => other.to_owned(),
    }
}
