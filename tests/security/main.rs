//! Attacks: what strangers, customers and operators must not be able to do, tried on the real product.

mod changing_name;
mod disk;
mod escape;
mod hostile_market;
mod http;
mod images;
mod rogue_node;
mod secrets;
mod strangers;
mod tenants;
mod unreadable;
