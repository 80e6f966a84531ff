//! The wallet: what is in it, what moved, and how credits come in and go out.

mod account;
mod amount;
mod balance;
mod coupons;
mod exchange;
mod owner;
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
use crate::coordinator::{self, BookingRefused};
use crate::error::Error;

/// A booking's failure, with the field that it is about.
fn booking_failed(error: coordinator::Error) -> Error {
    let coordinator::Error::Booking(refused) = &error else { return error.into() };
    let field = match refused {
        BookingRefused::NoRequest(_) => return error.into(),
        BookingRefused::Coupon | BookingRefused::Redeemed => "couponCode",
        BookingRefused::Step { .. } => "state",
        BookingRefused::Payout { .. } | BookingRefused::Insufficient(_) => "amount",
    };
    match error.into() {
        Error::Blocked(reason, text) => Error::Blocked(reason, format!("{field}: {text}")),
        other => other,
    }
}

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
