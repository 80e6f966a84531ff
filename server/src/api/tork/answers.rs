//! What answers look like: pages, `{"status": "OK"}`, and failures as `{"message"}`.

use serde::Serialize;
use utoipa::{PartialSchema as _, ToSchema};
use warp::http::StatusCode;

use crate::api::Answer;
use crate::api::http::call::Call;
use crate::api::http::problem::{ErrorShape, Problem};
use crate::api::http::reply;
use crate::api::http::shape::{Field, integer, text};
use crate::error::{Error, Kind, Result};
use crate::field;

pub const JSON: &str = "application/json";
/// The query of a list.
pub const PAGE: [Field; 2] = [
    integer("page", "From 1; 1 where it is left out"),
    integer(
        "size",
        "How many a page has; lower and higher numbers count as the least and the most",
    ),
];
pub const WORDS: Field = text("q", "Words that must all be found");

pub const ERRORS: ErrorShape = ErrorShape {
    media: JSON,
    body,
    field: field::Field::to_string,
    conflicts: &[],
    name: "TorkFailure",
    schema: Failure::schema,
    parts: Failure::schemas,
};

/// Why something was refused or failed.
#[derive(Serialize, ToSchema)]
#[schema(as = TorkFailure)]
struct Failure<'a> {
    /// What is wrong.
    message: &'a str,
}

/// What was asked for has been done.
#[derive(Serialize, ToSchema)]
#[schema(as = TorkDone)]
pub struct Done {
    /// Always OK.
    status: &'static str,
}

impl Done {
    pub const OK: Self = Self { status: "OK" };
}

/// A part of a list.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TorkPage)]
pub struct Page<T> {
    /// What is in it.
    pub items: Vec<T>,
    /// The page that was asked for.
    number: u64,
    /// How many are in it.
    size: usize,
    /// How many pages the list has.
    total_pages: u64,
    /// How many the list has in all.
    total_items: u64,
}

/// Which part of a list is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub number: u64,
    pub size: u64,
}

impl Part {
    /// How many come before it.
    pub const fn skipped(self) -> u64 {
        (self.number - 1).saturating_mul(self.size)
    }

    /// This part of a list of so many in all.
    pub fn page<T>(self, items: Vec<T>, total: u64) -> Page<T> {
        Page {
            number: self.number,
            size: items.len(),
            total_pages: total.div_ceil(self.size),
            total_items: total,
            items,
        }
    }

    /// The page of a whole list.
    pub fn cut<T>(self, all: Vec<T>) -> Page<T> {
        let total = all.len() as u64;
        let cut = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let items = all.into_iter().skip(cut(self.skipped())).take(cut(self.size)).collect();
        self.page(items, total)
    }
}

/// A value of the query. What the query has beside is passed over.
pub fn query(call: &Call, name: &str) -> Option<String> {
    let mut all = url::form_urlencoded::parse(call.raw_query.as_bytes());
    all.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// Which part is asked for, where a page has `usual` and at most `most`.
pub fn part(call: &Call, usual: u64, most: u64) -> Result<Part> {
    let read = |name: &str, what: &str, usual: u64| -> Result<u64> {
        let Some(text) = query(call, name).filter(|text| !text.is_empty()) else {
            return Ok(usual);
        };
        let number: i64 =
            text.parse().map_err(|_| not_found(&format!("invalid {what}: {text}")))?;
        Ok(number.max(1).unsigned_abs())
    };
    let number = read("page", "page number", 1)?;
    Ok(Part { number, size: read("size", "size", usual)?.min(most) })
}

/// A refusal of what is not there, in this API's words.
pub fn missing(what: &str) -> Error {
    Error::NotFound(what.to_owned())
}

/// A refusal with the status of what is not there, and a text of its own.
fn not_found(message: &str) -> Error {
    // The text of such a refusal ends so, which `body` takes away again.
    Error::NotFound(format!("{message}{UNSAID}"))
}

const UNSAID: &str = "\u{1}";

/// A refusal of what is right in itself, but not now.
pub fn not_now(message: impl Into<String>) -> Error {
    Error::NotNow(message.into())
}

/// An answer of one JSON document with this status.
pub fn with_status<T: Serialize>(status: StatusCode, document: &T) -> Result<Answer> {
    let mut answer = reply::json(document)?;
    *answer.status_mut() = status;
    Ok(answer)
}

/// A refusal with a status that the kinds of failures do not have.
pub fn refused(status: StatusCode, message: &str) -> Result<Answer> {
    with_status(status, &Failure { message })
}

fn body(problem: &Problem, _request_id: &str) -> Vec<u8> {
    let message = match problem.kind {
        Kind::NotFound if problem.message == "path not found" => "Not Found",
        Kind::MethodNotAllowed => "Method Not Allowed",
        Kind::Unauthenticated => "Unauthorized",
        Kind::InvalidArgument
        | Kind::FailedPrecondition
        | Kind::Forbidden
        | Kind::NotFound
        | Kind::TooLarge
        | Kind::StorageFull
        | Kind::RateLimited
        | Kind::TooManyConcurrent
        | Kind::Timeout
        | Kind::Unavailable
        | Kind::DiskFull
        | Kind::DataLoss
        | Kind::Internal => {
            let said = problem.message.split_once(UNSAID).map(|(said, _)| said);
            said.unwrap_or(&problem.message)
        }
    };
    serde_json::to_vec(&Failure { message }).expect("texts are JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tork_page_tells_what_is_in_it() {
        let part = Part { number: 2, size: 2 };

        let page = part.cut(vec![1, 2, 3]);

        assert_eq!(
            serde_json::to_value(&page).unwrap(),
            serde_json::json!(
                {"items": [3], "number": 2, "size": 1, "totalPages": 2, "totalItems": 3}
            )
        );
        assert_eq!(Part { number: 9, size: 2 }.cut(vec![1]).items.len(), 0);
    }
}
