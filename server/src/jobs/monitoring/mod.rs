//! How a job's run goes on: status, events, logs, tasks, and why it waits.

pub mod call_attempts;
pub mod events;
pub mod explain;
pub mod logs;
pub mod status;
pub mod tasks;
pub mod wait;
pub mod whole_log;
