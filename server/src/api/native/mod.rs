//! Fanfold's own API: jobs with their runs, stages, tasks and attempts, and everything that they
//! need: packages and templates, nodes, the wallet, members, keys and secrets.
//!
//! It translates requests into use cases and what they give into answers, and decides nothing.
//! Times are RFC 3339, credits are decimal texts, and failures are problem details (RFC 9457).

mod cursor;
mod definitions;
mod fields;
mod jobs;
mod nodes;
mod page;
mod people;
mod queues;
mod runs;
mod schedules;
#[cfg(test)]
mod tests;
mod wallet;
mod words;

use common::access::Scope;

use super::http::problem::ErrorShape;
use super::http::problem_json;
use super::http::router::Api;

/// Problem details with this API's names of fields, and 409 where the state of a thing contradicts
/// what was asked for.
const ERRORS: ErrorShape = ErrorShape {
    field: fields::name,
    conflicts: &[
        "JOB_ALREADY_STARTED",
        "COUPON_EXISTS",
        "JOB_NAME_TAKEN",
        "QUEUE_NAME_TAKEN",
        "POOL_NAME_TAKEN",
    ],
    ..problem_json::ERRORS
};

pub fn api() -> Api {
    let routes = [
        jobs::routes(),
        runs::routes(),
        schedules::routes(),
        queues::routes(),
        definitions::routes(),
        nodes::routes(),
        wallet::routes(),
        people::routes(),
    ];
    Api {
        name: "fanfold",
        title: "Fanfold's own API",
        prefixes: &["/v1"],
        errors: &ERRORS,
        reads: Scope::JobsRead,
        writes: Scope::JobsWrite,
        routes: routes.into_iter().flatten().collect(),
    }
}
