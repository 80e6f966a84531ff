//! What customers do with jobs: make them, run them, watch them, and fetch what came out.

mod datasource;
mod described;
pub mod draft;
mod event_out;
mod events;
mod follow;
mod hold;
mod job_list;
pub mod job_out;
pub mod jobs;
mod logs;
pub mod params;
mod partial;
pub mod plan;
mod quote;
pub mod run;
pub mod states;
mod stats;
mod tasks;
pub mod view;
mod why;

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
        follow::routes(),
        view::routes(),
        tasks::routes(),
        logs::routes(),
        events::routes(),
        job_list::routes(),
        params::routes(),
        stats::routes(),
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
