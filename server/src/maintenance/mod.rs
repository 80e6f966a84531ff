//! What a server does by itself from time to time.

pub(super) mod daily_checks;
pub(super) mod earnings;
pub(super) mod purge;
pub(super) mod storage_fees;
