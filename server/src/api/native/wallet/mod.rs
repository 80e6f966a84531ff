//! The wallet: what is in it, what moved, and how credits come in and go out.

mod balance;
mod coupons;
mod exchange;
mod payouts;
mod reconciliation;
mod requests;
mod spend_caps;
mod top_ups;
mod transactions;
mod usage;

use crate::api::http::route::Route;

pub fn routes() -> Vec<Route> {
    let routes = [
        balance::routes(),
        transactions::routes(),
        usage::routes(),
        spend_caps::routes(),
        exchange::routes(),
        top_ups::routes(),
        payouts::routes(),
        coupons::routes(),
        reconciliation::routes(),
    ];
    routes.into_iter().flatten().collect()
}
