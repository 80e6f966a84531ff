//! How a job's run goes on: events, logs, tasks, progress, and why it waits.

pub(super) mod event_json;
pub(super) mod events;
pub(super) mod explain;
pub(super) mod logs;
pub(super) mod progress;
pub(super) mod stats;
pub(super) mod tasks;
pub(super) mod wait;
