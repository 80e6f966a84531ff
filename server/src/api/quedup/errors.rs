//! Failures as this API has them: `{"error": {"code", "message", "field"}}`.

use std::borrow::Cow;

use common::ids::{JobId, RunId};
use serde::Serialize;
use utoipa::{PartialSchema as _, ToSchema};
use uuid::Uuid;

use super::ids;
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
    message: Cow<'a, str>,
    /// The field that is wrong.
    field: Option<&'a str>,
}

fn body(problem: &Problem, _request_id: &str) -> Vec<u8> {
    let taken = Some("name").filter(|_| problem.reason == "JOB_NAME_TAKEN");
    let field = problem.field.as_deref().or(taken);
    let message = match problem.kind == Kind::NotFound {
        true => Cow::Owned(respelled(&problem.message)),
        false => Cow::Borrowed(problem.message.as_str()),
    };
    let failure = Failure { error: Detail { code: code(problem), message, field } };
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

/// A message with its ids as this API writes them: use cases quote their own form of an id.
fn respelled(message: &str) -> String {
    let (mut before, mut parts) = ("", Vec::new());
    for part in message.split('"') {
        parts.push(match part.parse::<Uuid>() {
            Ok(id) if before.starts_with("run") => ids::run(RunId::new(id)),
            Ok(id) => ids::job(JobId::new(id)),
            Err(_) => part.to_owned(),
        });
        before = part;
    }
    parts.join("\"")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quedup_message_names_an_id_as_it_was_asked_for() {
        let id = Uuid::from_u128(0x0192_3456_789a_7bcd_8ef0_1234_5678_9abc);
        let (job, run) = (ids::job(JobId::new(id)), ids::run(RunId::new(id)));

        for (message, expected) in [
            (format!("job \"{id}\" not found"), format!("job \"{job}\" not found")),
            (format!("run \"{id}\" not found"), format!("run \"{run}\" not found")),
            ("job \"job_xxx\" not found".to_owned(), "job \"job_xxx\" not found".to_owned()),
            ("path not found".to_owned(), "path not found".to_owned()),
        ] {
            assert_eq!(respelled(&message), expected);
        }
    }
}
