//! The table of routes, put together.

use common::access::Scope;

use super::http::router::Api;
use super::{auth, customer, dev, info, ready, storage, wallet};

/// Every API with its routes.
pub fn apis() -> Vec<Api> {
    vec![customer::api(), auth::api(), dev::api(), wallet::api(), server()]
}

/// What belongs to none of them.
fn server() -> Api {
    Api {
        name: "server",
        title: "Fanfold server",
        prefixes: &[""],
        reads: Scope::JobsRead,
        writes: Scope::JobsWrite,
        routes: [info::health(), ready::routes(), storage::routes()]
            .into_iter()
            .flatten()
            .collect(),
    }
}
