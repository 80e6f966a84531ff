//! Tork's API: jobs that are documents in YAML or JSON, run now or by a cron pattern.
//!
//! It translates requests into use cases and what they give into answers, and decides nothing.

mod answers;
mod compile;
mod document;
mod figures;
mod ids;
mod jobs;
mod logs;
mod operations;
mod queues;
mod read;
mod scheduled;
mod search;
mod shown;
mod validate;

use common::access::Scope;

use super::http::router::Api;
use crate::jobs::ApiName;

const NAME: &str = "tork";
/// Whose jobs it shows.
const API: ApiName = ApiName::new(NAME);

pub fn api() -> Api {
    let routes = [
        jobs::routes(),
        scheduled::routes(),
        logs::routes(),
        queues::routes(),
        operations::routes(),
    ];
    Api {
        name: NAME,
        title: "Tork-compatible API",
        prefixes: &["/compat/tork"],
        errors: &answers::ERRORS,
        reads: Scope::JobsRead,
        writes: Scope::JobsWrite,
        routes: routes.into_iter().flatten().collect(),
    }
}
