//! Runs and all that belongs to them, as the market keeps them: read by use cases, written by the coordinator.

pub mod attempts;
pub mod batch_number;
pub mod call_answers;
pub(super) mod chunk_tables;
pub mod commit;
pub mod interrupted;
pub mod plan_runs;
pub(super) mod plans;
pub mod resolutions;
pub mod results;
pub mod runs;
pub mod samples;
pub(super) mod set_aside;
pub(super) mod snapshot;
pub mod stages;
pub mod tasks;
pub mod usages;
pub mod values;
