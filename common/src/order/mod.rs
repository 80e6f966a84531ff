//! What a customer orders, beside the packages of a template: documents that compile to plans.

pub mod call;
