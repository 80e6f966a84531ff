//! Tork's API: jobs that are documents in YAML or JSON, run now or by a cron pattern.
//!
//! It translates requests into use cases and what they give into answers, and decides nothing.

mod answers;
mod blocks;
mod compile;
mod document;
mod figures;
mod ids;
mod job_out;
mod jobs;
mod logs;
mod operations;
mod read;
mod redact;
mod scheduled;
mod search;
mod task_out;
mod validate;
mod words;

use common::access::Scope;

use super::http::router::Api;

/// The project of the jobs that this API makes and shows.
const PROJECT: &str = "tork";

pub fn api() -> Api {
    Api {
        name: "tork",
        title: "Tork-compatible API",
        prefixes: &["/compat/tork"],
        errors: &answers::ERRORS,
        reads: Scope::JobsRead,
        writes: Scope::JobsWrite,
        routes: [jobs::routes(), scheduled::routes(), logs::routes(), operations::routes()]
            .into_iter()
            .flatten()
            .collect(),
    }
}
