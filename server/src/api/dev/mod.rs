//! What developers and node operators bring: packages, templates, images, cached files, nodes.

mod app_tests;
mod cache;
mod image_check;
pub mod image_login;
mod images;
mod nodes;
mod package_out;
pub mod packages;
mod sharing;
pub mod templates;

use common::access::Scope;

use super::http::router::Api;
use super::info;

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
        reads: Scope::PackagesRead,
        writes: Scope::PackagesWrite,
        routes: routes.into_iter().flatten().collect(),
    }
}
