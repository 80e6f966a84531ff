//! The table of routes, put together.

use common::rights::Scope;

use super::router::Api;
use super::{
    app_tests, auth, cache, datasource, draft, events, follow, images, info, job_list, jobs, keys,
    logs, members, nodes, packages, params, quote, run, secrets, sharing, sign_in, stats, storage,
    tasks, templates, view, wallet,
};

/// Every API with its routes.
pub fn apis() -> Vec<Api> {
    vec![
        Api {
            name: "customer",
            title: "Fanfold customer API",
            prefixes: &["/v1/customer", "/v1/computing"],
            reads: Scope::JobsRead,
            writes: Scope::JobsWrite,
            routes: [
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
            ]
            .into_iter()
            .flatten()
            .collect(),
        },
        auth(),
        Api {
            name: "dev",
            title: "Fanfold developer API",
            prefixes: &["/v1/dev"],
            reads: Scope::PackagesRead,
            writes: Scope::PackagesWrite,
            routes: [
                info::routes("Developer"),
                packages::routes(),
                sharing::routes(),
                templates::routes(),
                app_tests::routes(),
                images::routes(),
                cache::routes(),
                nodes::routes(),
            ]
            .into_iter()
            .flatten()
            .collect(),
        },
        Api {
            name: "wallet",
            title: "Fanfold wallet API",
            prefixes: &["/v1/wallet"],
            reads: Scope::WalletRead,
            writes: Scope::WalletWrite,
            routes: [info::routes("Wallet"), wallet::routes()].into_iter().flatten().collect(),
        },
        Api {
            name: "server",
            title: "Fanfold server",
            prefixes: &[""],
            reads: Scope::JobsRead,
            writes: Scope::JobsWrite,
            routes: [info::health(), storage::routes()].into_iter().flatten().collect(),
        },
    ]
}

fn auth() -> Api {
    Api {
        name: "auth",
        title: "Fanfold auth API",
        prefixes: &["/v1/auth"],
        reads: Scope::MembersRead,
        writes: Scope::MembersWrite,
        routes: [
            info::routes("Auth"),
            auth::routes(),
            sign_in::routes(),
            keys::routes(),
            members::routes(),
            secrets::routes(),
        ]
        .into_iter()
        .flatten()
        .collect(),
    }
}
