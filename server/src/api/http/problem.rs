//! A failure as HTTP has it. Each API writes it in its own shape.

use common::access::Denied;
use common::error_chain::chain;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use warp::Reply as _;
use warp::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use warp::http::{Response, StatusCode};

use super::serving::exchange;
use crate::api::Answer;
use crate::error::{Error, Kind};
use crate::field::Field;

/// A failure before a shape is chosen.
#[derive(Debug)]
pub struct Problem {
    pub status: StatusCode,
    pub kind: Kind,
    /// What is wrong, for programs.
    pub reason: &'static str,
    /// What is wrong, for people.
    pub message: String,
    /// The field that is wrong, in the API's words.
    pub field: Option<String>,
    /// What the caller lacks, for an API with names of its own for roles.
    pub denied: Option<Denied>,
    /// Seconds after which a program may try again, where that is all that is needed.
    pub retry_after: Option<u64>,
}

/// How an API writes failures.
pub struct ErrorShape {
    pub media: &'static str,
    /// The body of a problem, with the id of its request, as JSON.
    pub body: fn(&Problem, &str) -> Vec<u8>,
    /// What the API calls a field of its requests.
    pub field: fn(&Field) -> String,
    /// Codes that the API answers as 409: what was asked for contradicts the state of a thing.
    pub conflicts: &'static [&'static str],
    pub name: &'static str,
    pub schema: fn() -> RefOr<Schema>,
    /// The schemas that it refers to.
    pub parts: fn(&mut Vec<(String, RefOr<Schema>)>),
}

impl ErrorShape {
    /// A refusal or a failure in the API's words. Logs what is the server's own fault: the caller
    /// does not see its source.
    pub fn problem(&self, error: &Error) -> Problem {
        if let Error::Internal(source) = error {
            tracing::error!(error = %chain(source.as_ref()), "request failed");
        }
        let (kind, reason) = (error.kind(), error.reason());
        let is_conflict = self.conflicts.contains(&reason);
        Problem {
            status: if is_conflict { StatusCode::CONFLICT } else { status(kind) },
            kind,
            reason,
            message: error.message(self.field),
            field: error.wrong_field().map(self.field),
            denied: error.denied(),
            retry_after: error.retry_after(),
        }
    }

    /// The answer that says what went wrong.
    pub fn answer(&self, problem: &Problem) -> Answer {
        let body = (self.body)(problem, &exchange::request_id());
        let mut answer = Response::new(body).into_response();
        *answer.status_mut() = problem.status;
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.media));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(secs) = problem.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(secs));
        }
        answer
    }
}

/// What HTTP itself refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    #[error("path not found")]
    Path,
    #[error("this method is not allowed here")]
    Method,
    #[error("the request's target cannot be used: {0}")]
    Target(&'static str),
    #[error("the request's target is longer than {0} bytes")]
    TargetTooLong(usize),
}

impl From<Rejected> for Problem {
    fn from(rejected: Rejected) -> Self {
        let kind = match rejected {
            Rejected::Path => Kind::NotFound,
            Rejected::Method => Kind::MethodNotAllowed,
            Rejected::Target(_) | Rejected::TargetTooLong(_) => Kind::InvalidArgument,
        };
        let status = match rejected {
            Rejected::TargetTooLong(_) => StatusCode::URI_TOO_LONG,
            Rejected::Path | Rejected::Method | Rejected::Target(_) => status(kind),
        };
        let message = rejected.to_string();
        let (reason, field, denied, retry_after) = (kind.reason(), None, None, None);
        Self { status, kind, reason, message, field, denied, retry_after }
    }
}

/// The HTTP status of failures of this kind.
pub const fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::InvalidArgument | Kind::FailedPrecondition => StatusCode::BAD_REQUEST,
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Kind::TooLarge | Kind::StorageFull => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::RateLimited | Kind::TooManyConcurrent => StatusCode::TOO_MANY_REQUESTS,
        Kind::Timeout => StatusCode::REQUEST_TIMEOUT,
        Kind::Unavailable | Kind::DiskFull => StatusCode::SERVICE_UNAVAILABLE,
        Kind::DataLoss | Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
