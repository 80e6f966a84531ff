//! QuedUp's API: jobs that are HTTP requests, made once or by a cron pattern.
//!
//! It translates requests into use cases and what they give into answers, and decides nothing.

mod compile;
mod errors;
mod ids;
mod jobs;
mod render;
mod runs;

use common::access::Scope;

use super::http::router::Api;

pub fn api() -> Api {
    Api {
        name: "quedup",
        title: "QuedUp-compatible API",
        prefixes: &["/compat/quedup"],
        errors: &errors::ERRORS,
        reads: Scope::JobsRead,
        writes: Scope::JobsWrite,
        routes: [jobs::routes(), runs::routes()].into_iter().flatten().collect(),
    }
}
