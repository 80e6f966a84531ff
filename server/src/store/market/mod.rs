//! Runs and all that belongs to them, as the market keeps them: read by use cases, written by the coordinator.

pub mod batch_number;
pub mod commit;
pub mod interrupted;
pub mod plan_runs;
pub mod plans;
pub mod results;
pub mod runs;
pub(super) mod set_aside;
pub(super) mod snapshot;
pub mod stages;
pub mod tasks;
