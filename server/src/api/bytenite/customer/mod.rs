//! What customers do with jobs: make them, run them, watch them, and fetch what came out.

mod datasource;
mod draft;
mod hold;
mod job_list;
mod job_out;
mod jobs;
pub mod monitoring;
mod quote;
pub mod results;
mod run;
mod scheduling_fields;
mod schema;
pub mod states;
mod templates;

use crate::api::bytenite::wire::error::ERRORS;
use common::access::Scope;

use super::wallet;
use crate::api::http::router::Api;
use crate::api::info;

pub fn api() -> Api {
    let routes = [
        jobs::routes(),
        draft::routes(),
        datasource::routes(),
        quote::routes(),
        run::routes(),
        monitoring::wait::routes(),
        monitoring::explain::routes(),
        templates::routes(),
        results::routes(),
        monitoring::progress::routes(),
        monitoring::tasks::routes(),
        monitoring::logs::routes(),
        monitoring::events::routes(),
        job_list::routes(),
        schema::routes(),
        monitoring::stats::routes(),
        wallet::old_routes(),
        info::routes("Customer"),
    ];
    Api {
        name: "customer",
        title: "Fanfold customer API",
        prefixes: &["/v1/customer", "/v1/computing"],
        errors: &ERRORS,
        reads: Scope::JobsRead,
        writes: Scope::JobsWrite,
        routes: routes.into_iter().flatten().collect(),
    }
}
