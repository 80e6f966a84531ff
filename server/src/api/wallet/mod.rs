//! The wallet: what is in it, what moved, and how credits come in and go out.

mod account;
mod amount;
mod balance;
mod coupons;
mod exchange;
mod owner;
mod payouts;
mod reconciliation;
mod top_ups;
mod transactions;
mod usage;

pub use amount::Amount;
pub use balance::old_routes;

use super::route::Route;

pub fn routes() -> Vec<Route> {
    [
        balance::routes(),
        transactions::routes(),
        exchange::routes(),
        coupons::routes(),
        top_ups::routes(),
        payouts::routes(),
        account::routes(),
        usage::routes(),
        reconciliation::routes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
