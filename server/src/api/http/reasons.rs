//! The words with which failures tell programs what is wrong, and what each means.

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::problem::status;
use crate::error::Kind;

/// A word, the kind of its failures, and what it means.
pub struct Reason {
    pub word: &'static str,
    pub kind: Kind,
    pub meaning: &'static str,
}

const fn reason(kind: Kind, meaning: &'static str) -> Reason {
    Reason { word: kind.reason(), kind, meaning }
}

/// One that says more than its kind: the request is right in itself, and something blocks it.
const fn blocked(word: &'static str, meaning: &'static str) -> Reason {
    Reason { word, kind: Kind::FailedPrecondition, meaning }
}

/// In the order of their statuses.
pub const REASONS: &[Reason] = &[
    reason(
        Kind::InvalidArgument,
        "a field of the request, or its target, is wrong: the message names it",
    ),
    reason(
        Kind::FailedPrecondition,
        "the request is right, but not now: the message says what must be so first",
    ),
    blocked("COUPON_EXISTS", "there is a coupon with this code"),
    blocked("COUPON_REDEEMED", "this workspace has redeemed the coupon before"),
    blocked("COUPON_REFUSED", "there is no such coupon, or it cannot be redeemed any more"),
    blocked(
        "IDEMPOTENCY_KEY_REUSED",
        "the `Idempotency-Key` was used with another request: take a new one",
    ),
    blocked("INSUFFICIENT_CREDITS", "the wallet has too little for this: top up, or ask for less"),
    blocked("JOB_ALREADY_STARTED", "the job has been started and cannot be changed or run again"),
    blocked("JOB_NAME_TAKEN", "another job has this name"),
    blocked("POOL_NAME_TAKEN", "another pool of the project has this name"),
    blocked("QUEUE_NAME_TAKEN", "another queue of the project has this name"),
    blocked("JOB_FAILED", "the job has failed or was cancelled, and has no results as a whole"),
    blocked("JOB_NOT_COMPLETED", "the job has not ended: there are no results yet"),
    blocked("LAST_ADMIN", "the workspace would have no admin any more"),
    blocked(
        "SHOWN_ALREADY",
        "this `Idempotency-Key` has made a key or token, whose text is shown once: use a new one",
    ),
    blocked(
        "SPEND_CAP_REACHED",
        "the spend cap of the job's project leaves too little: raise it, or wait for its next period",
    ),
    blocked("TOO_MANY_NODES", "the workspace has as many nodes and unused tokens as it may have"),
    blocked("TOO_MANY_TOP_UPS", "the workspace has as many open top-up requests as it may have"),
    blocked("WRONG_STATE", "the request is in a state from which it cannot take this step"),
    reason(Kind::Unauthenticated, "no valid access token or API key"),
    reason(Kind::Forbidden, "the caller's role, or the key's scopes, do not allow it"),
    reason(Kind::NotFound, "there is no such path, or no such thing in the caller's workspace"),
    reason(Kind::MethodNotAllowed, "the path has no such method: the header `Allow` lists them"),
    reason(Kind::Timeout, "the body arrived too slowly, or stopped before its end"),
    reason(Kind::TooLarge, "the body is larger than it may be"),
    reason(
        Kind::StorageFull,
        "the workspace keeps as much as it may: delete something, or ask the server's owner",
    ),
    reason(Kind::RateLimited, "too many requests: the header `Retry-After` says when to try again"),
    reason(Kind::TooManyConcurrent, "too many of these at the same time: try again in a moment"),
    reason(Kind::Internal, "a fault of the server, which its log explains"),
    reason(Kind::DataLoss, "stored data is damaged: the server's owner has to look at its log"),
    reason(Kind::Unavailable, "the server, its database or its bucket is away: try again"),
    reason(Kind::DiskFull, "a disk of the server is full: nothing was stored"),
];

/// Stands for a reason in the schemas of failures. It is no closed set: others may follow.
pub struct ErrorReason;

impl PartialSchema for ErrorReason {
    fn schema() -> RefOr<Schema> {
        let each = REASONS.iter().map(|Reason { word, kind, meaning }| {
            format!("- `{word}` ({}): {meaning}", status(*kind).as_u16())
        });
        let about = format!(
            "What is wrong, as a word for programs that never changes. Others may be added.\n\n{}",
            each.collect::<Vec<_>>().join("\n")
        );
        let object = ObjectBuilder::new().schema_type(Type::String).description(Some(about));
        RefOr::T(Schema::Object(object.build()))
    }
}

impl ToSchema for ErrorReason {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    /// The word in capitals that the code begins with, as a literal.
    fn word(code: &str) -> Option<&str> {
        let (text, _) = code.trim_start().strip_prefix('"')?.split_once('"')?;
        let is_word = text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
        (is_word && !text.is_empty()).then_some(text)
    }

    fn words_behind(mark: &str, code: &str) -> BTreeSet<String> {
        code.split(mark).skip(1).filter_map(word).map(str::to_owned).collect()
    }

    fn sources(folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                found.push(fs::read_to_string(path).unwrap());
            }
        }
    }

    #[test]
    fn reasons_are_those_of_all_refusals() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut code = Vec::new();
        sources(&root, &mut code);
        let mut used: BTreeSet<String> =
            code.iter().flat_map(|code| words_behind("Blocked(", code)).collect();
        // Here each kind has its word, and each refusal of the coordinator.
        let errors = fs::read_to_string(root.join("error.rs")).unwrap();
        used.extend(words_behind("=>", &errors));

        let documented: BTreeSet<String> = REASONS.iter().map(|one| one.word.to_owned()).collect();

        assert_eq!(documented, used);
        assert_eq!(documented.len(), REASONS.len(), "a word is there twice");
    }
}
