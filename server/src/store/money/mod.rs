//! The ledger, and what is made of it: statements, requests, coupons, reports.

pub mod booking_effects;
pub mod coupons;
pub mod credit_grants;
pub(super) mod ledger;
pub mod reconciliation;
pub mod releases;
mod shards;
pub mod spend_caps;
pub mod statement;
pub mod usage;
pub mod wallet_requests;
