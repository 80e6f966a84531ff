//! Failures as problem details (RFC 9457): the shape of what belongs to no product.

use serde::Serialize;
use utoipa::{PartialSchema as _, ToSchema};

use super::problem::{ErrorShape, Problem as Failed};
use super::reasons::ErrorReason;
use crate::field::Field;

pub const ERRORS: ErrorShape = ErrorShape {
    media: "application/problem+json",
    body,
    field: Field::to_string,
    conflicts: &[],
    name: "Problem",
    schema: Problem::schema,
    parts: Problem::schemas,
};

/// Why a request was refused or failed (RFC 9457).
#[derive(Serialize, ToSchema)]
struct Problem<'a> {
    /// The HTTP status.
    status: u16,
    /// The HTTP status in words.
    title: &'a str,
    /// What is wrong, and what to do about it.
    detail: &'a str,
    /// What is wrong, for programs.
    #[schema(value_type = ErrorReason)]
    code: &'a str,
    /// The field of the request that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    /// The id of the request, as in the header X-Request-Id and in the server's log.
    request_id: &'a str,
}

fn body(failed: &Failed, request_id: &str) -> Vec<u8> {
    let problem = Problem {
        status: failed.status.as_u16(),
        title: failed.status.canonical_reason().unwrap_or_default(),
        detail: &failed.message,
        code: failed.reason,
        field: failed.field.as_deref(),
        request_id,
    };
    serde_json::to_vec(&problem).expect("numbers and texts are JSON")
}
