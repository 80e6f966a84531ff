//! Attacks: what strangers, customers and operators must not be able to do, tried on the real product.

mod disk;
mod secrets;
mod tenants;
mod unreadable;
