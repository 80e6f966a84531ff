//! Failures as problem details (RFC 9457): the shape of what belongs to no product.

use serde::Serialize;
use utoipa::{PartialSchema as _, ToSchema};

use super::problem::{ErrorShape, Problem as Failed};
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
    /// A word for programs that never changes, such as `INSUFFICIENT_CREDITS`.
    code: &'a str,
    /// The field of the request that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
}

fn body(failed: &Failed) -> Vec<u8> {
    let problem = Problem {
        status: failed.status.as_u16(),
        title: failed.status.canonical_reason().unwrap_or_default(),
        detail: &failed.message,
        code: failed.reason,
        field: failed.field.as_deref(),
    };
    serde_json::to_vec(&problem).expect("numbers and texts are JSON")
}
