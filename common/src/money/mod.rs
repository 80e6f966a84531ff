//! Credits, prices, currencies, and the ledger that moves them.

pub mod credits;
pub mod currency;
pub mod ledger;
pub mod price;
pub mod shard;
pub mod spend_cap;
pub mod statement;
pub mod wallet_request;
