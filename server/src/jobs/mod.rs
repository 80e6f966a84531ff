//! Jobs: what customers and their developers do with them, whichever API asks.
//!
//! A use case takes the app, the caller and typed arguments, and gives plain types: it knows no
//! HTTP and no API's words. It may use the store, the coordinator, the data plane, secrets and the
//! registries. APIs use it, and nothing below does.
//!
//! A job of another workspace is not found. A job of a template is a draft until it is started;
//! from then on nothing of what its run is made of changes. What a run needs is resolved and checked once,
//! before it is started, under the caller's own rights.

pub mod app_test;
pub mod auto_delete;
pub mod containers;
pub mod draft;
pub mod history;
pub mod list;
pub mod monitoring;
pub mod ordered;
pub mod plans;
pub mod queues;
pub mod quote;
pub mod resolve;
pub mod runs;
pub mod schedules;
pub mod secret_use;
pub mod workflows;

pub use crate::store::jobs::{ApiName, Job, JobKind, JobScope, TemplateWork};
pub use crate::store::market::runs::RunView;
