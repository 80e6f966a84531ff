//! What customers order beside jobs of templates. An order is a document that is stored with its
//! job, is checked when it is made, and compiles to a plan.

pub mod call;
pub mod callback;
pub mod container;
pub mod ordered_plan;
pub mod parameters;
pub mod workflow;
