//! What becomes of results: assembled, and delivered to the customer.

pub(super) mod assemble;
pub(super) mod deliver;
pub(super) mod zip;
