//! Daestro's API: jobs made of definitions, in queues that name compute environments.
//!
//! It translates requests into use cases and what they give into answers, and decides nothing. The
//! routes of jobs are published; those of what jobs are made of are this server's, in the same
//! words.

mod cron_jobs;
mod definition_in;
mod definitions;
mod envelope;
mod environments;
mod history;
mod job_out;
mod jobs;
mod keys;
mod names;
mod queues;
mod registries;
mod submit_in;
mod words;

use common::access::Scope;

use super::http::router::Api;
use crate::jobs::ApiName;

const NAME: &str = "daestro";
/// Whose jobs it shows.
const API: ApiName = ApiName::new(NAME);

pub fn api() -> Api {
    let routes = [
        jobs::routes(),
        cron_jobs::routes(),
        history::routes(),
        definitions::routes(),
        queues::routes(),
        environments::routes(),
        registries::routes(),
        keys::routes(),
    ];
    Api {
        name: NAME,
        title: "Daestro's API",
        prefixes: &["/compat/daestro"],
        errors: &envelope::ERRORS,
        reads: Scope::JobsRead,
        writes: Scope::JobsWrite,
        routes: routes.into_iter().flatten().collect(),
    }
}
