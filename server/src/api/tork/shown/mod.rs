//! Jobs and tasks as this API shows them.

pub mod blocks;
pub mod job_out;
pub mod redact;
pub mod task_out;
pub mod words;
