//! The table of routes, put together.

use common::access::Scope;

use super::http::problem_json::ERRORS;
use super::http::router::Api;
use super::{bytenite, ejjy, health, info, metrics, native, quedup, storage, tork};

/// Every API with its routes.
pub fn apis() -> Vec<Api> {
    let others = vec![native::api(), quedup::api(), ejjy::api(), tork::api(), server()];
    bytenite::apis().into_iter().chain(others).collect()
}

/// What belongs to none of them.
fn server() -> Api {
    Api {
        name: "server",
        title: "Fanfold server",
        prefixes: &[""],
        errors: &ERRORS,
        reads: Scope::JobsRead,
        writes: Scope::JobsWrite,
        routes: [info::start_page(), health::routes(), metrics::routes(), storage::routes()]
            .into_iter()
            .flatten()
            .collect(),
    }
}
