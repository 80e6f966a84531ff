//! ejjy's API: jobs of one container, their runs, logs and metrics, below a workspace and a
//! project.
//!
//! It translates requests into use cases and what they give into answers, and decides nothing.

mod envelope;
mod job_in;
mod job_out;
mod jobs;
mod logs;
mod metrics;
mod run_out;
mod runs;
mod schedule;
mod scope;
mod status;
mod window;
mod words;

use common::access::Scope;

use super::http::router::Api;
use crate::jobs::ApiName;

const NAME: &str = "ejjy";
/// Whose jobs it shows.
const API: ApiName = ApiName::new(NAME);

pub fn api() -> Api {
    let routes =
        [jobs::routes(), runs::routes(), status::routes(), logs::routes(), metrics::routes()];
    Api {
        name: NAME,
        title: "ejjy's API",
        prefixes: &["/compat/ejjy"],
        errors: &envelope::ERRORS,
        reads: Scope::JobsRead,
        writes: Scope::JobsWrite,
        routes: routes.into_iter().flatten().collect(),
    }
}
