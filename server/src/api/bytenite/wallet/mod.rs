//! The wallet's API.

mod account;
mod amount;
mod balance;
mod coupons;
mod exchange;
mod payouts;
mod reconciliation;
mod requests;
mod sheet;
mod top_ups;
mod transactions;
mod usage;

pub use amount::Amount;
pub use balance::old_routes;

use crate::api::bytenite::wire::error::ERRORS;
use common::access::Scope;

use crate::api::http::router::Api;
use crate::api::info;

pub fn api() -> Api {
    let routes = [
        balance::routes(),
        transactions::routes(),
        sheet::routes(),
        exchange::routes(),
        coupons::routes(),
        top_ups::routes(),
        payouts::routes(),
        account::routes(),
        usage::routes(),
        reconciliation::routes(),
        info::routes("Wallet"),
    ];
    Api {
        name: "wallet",
        title: "Fanfold wallet API",
        prefixes: &["/v1/wallet"],
        errors: &ERRORS,
        reads: Scope::WalletRead,
        writes: Scope::WalletWrite,
        routes: routes.into_iter().flatten().collect(),
    }
}
