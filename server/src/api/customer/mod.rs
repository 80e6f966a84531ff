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
mod params;
mod partial;
pub mod plan;
mod quote;
pub mod run;
mod stats;
mod tasks;
pub mod view;
mod why;

use common::rights::Scope;

use super::http::router::Api;
use super::{info, wallet};

pub fn api() -> Api {
    let routes = [
        info::routes("Customer"),
        jobs::routes(),
        draft::routes(),
        run::routes(),
        job_list::routes(),
        follow::routes(),
        view::routes(),
        tasks::routes(),
        quote::routes(),
        stats::routes(),
        logs::routes(),
        params::routes(),
        events::routes(),
        datasource::routes(),
        wallet::old_routes(),
    ];
    Api {
        name: "customer",
        title: "Fanfold customer API",
        prefixes: &["/v1/customer", "/v1/computing"],
        reads: Scope::JobsRead,
        writes: Scope::JobsWrite,
        routes: routes.into_iter().flatten().collect(),
    }
}
