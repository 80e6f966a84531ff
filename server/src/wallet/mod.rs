//! The wallet: what is in it, what moved, and how credits come in and go out.
//!
//! These are use cases for every API: they take the app, the caller and typed arguments. They may
//! use the store and the coordinator; they know neither HTTP nor the names of any API.
//!
//! Here is only read: the coordinator alone writes money, requests and coupons. What is asked of
//! it is a booking, which it decides and stores in one transaction.

pub mod balance;
pub mod coupons;
pub mod exchange;
pub mod payouts;
pub mod reconciliation;
pub mod requests;
pub mod spend_caps;
pub mod statement;
pub mod top_ups;
pub mod usage;
