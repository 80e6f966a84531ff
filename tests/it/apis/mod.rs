//! Clients and APIs of other products.

mod clients;
mod compat;
