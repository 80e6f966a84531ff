//! What developers and node operators bring: packages, templates, images, cached files, nodes.

mod app_tests;
mod cache;
mod images;
mod nodes;
mod package_out;
mod packages;
mod sharing;
pub mod templates;

use crate::api::bytenite::wire::error::ERRORS;
use common::access::Scope;

use crate::api::http::router::Api;
use crate::api::info;

pub fn api() -> Api {
    let routes = [
        packages::routes(),
        sharing::routes(),
        templates::routes(),
        app_tests::routes(),
        images::routes(),
        cache::routes(),
        nodes::routes(),
        info::routes("Developer"),
    ];
    Api {
        name: "dev",
        title: "Fanfold developer API",
        prefixes: &["/v1/dev"],
        errors: &ERRORS,
        reads: Scope::PackagesRead,
        writes: Scope::PackagesWrite,
        routes: routes.into_iter().flatten().collect(),
    }
}
