//! Failures as `rpcStatus`, the shape of gRPC's gateway.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::{PartialSchema as _, ToSchema};

use crate::api::bytenite::{fields, names};
use crate::api::http::problem::{ErrorShape, Problem};
use crate::api::http::reasons::ErrorReason;
use crate::error::Kind;

pub const ERRORS: ErrorShape = ErrorShape {
    media: "application/json",
    body,
    field: fields::name,
    conflicts: &[],
    name: "rpcStatus",
    schema: Failure::schema,
    parts: Failure::schemas,
};

/// Every failure.
#[derive(Serialize, ToSchema)]
#[schema(as = rpcStatus)]
struct Failure<'a> {
    /// As gRPC numbers them.
    code: i32,
    message: &'a str,
    details: Vec<Detail<'a>>,
}

/// What went wrong, for programs.
#[derive(Serialize, ToSchema)]
#[schema(as = ErrorInfo)]
struct Detail<'a> {
    #[serde(rename = "@type")]
    kind: &'static str,
    /// What is wrong, for programs.
    #[schema(value_type = ErrorReason)]
    reason: &'static str,
    domain: &'static str,
    metadata: BTreeMap<&'static str, &'a str>,
}

fn body(problem: &Problem, request_id: &str) -> Vec<u8> {
    let field = problem.field.as_deref().map(|field| ("field", field));
    let request_id = Some(("requestId", request_id));
    let detail = Detail {
        kind: "type.googleapis.com/google.rpc.ErrorInfo",
        reason: problem.reason,
        domain: "fanfold",
        metadata: field.into_iter().chain(request_id).collect(),
    };
    // With this API's names of roles.
    let denial = problem
        .denied
        .map(|denied| problem.message.replace(&denied.to_string(), &names::of_denial(denied)));
    let message = denial.as_deref().unwrap_or(&problem.message);
    let failure = Failure { code: code(problem.kind), message, details: vec![detail] };
    serde_json::to_vec(&failure).expect("a number and texts are JSON")
}

/// The code of `rpcStatus`, as gRPC numbers them.
pub const fn code(kind: Kind) -> i32 {
    match kind {
        Kind::InvalidArgument => 3,
        Kind::Timeout => 4,
        Kind::NotFound => 5,
        Kind::Forbidden => 7,
        Kind::TooLarge | Kind::StorageFull | Kind::RateLimited | Kind::TooManyConcurrent => 8,
        Kind::FailedPrecondition => 9,
        Kind::MethodNotAllowed => 12,
        Kind::Internal => 13,
        Kind::Unavailable | Kind::DiskFull => 14,
        Kind::DataLoss => 15,
        Kind::Unauthenticated => 16,
    }
}
