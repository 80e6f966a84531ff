//! Fanfold's own API: jobs with their runs, and runs with their stages, tasks and attempts.
//!
//! It translates requests into use cases and what they give into answers, and decides nothing.
//! Times are RFC 3339, credits are decimal texts, and failures are problem details (RFC 9457).

mod fields;
mod job_out;
mod jobs;
mod locations;
mod page;
mod quote;
mod results;
mod run_out;
mod runs;
mod stages;
mod tasks;
#[cfg(test)]
mod tests;
mod words;

use common::access::Scope;

use super::http::problem_json::ERRORS;
use super::http::router::Api;

pub fn api() -> Api {
    let routes =
        [jobs::routes(), runs::routes(), stages::routes(), tasks::routes(), results::routes()];
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
