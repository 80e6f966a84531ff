//! Which task goes to which node, and when.

mod class;
pub(super) mod dispatch;
pub(super) mod gpus;
mod kind;
pub(super) mod node;
pub(super) mod node_view;
pub(super) mod queue;
pub(super) mod room;
pub(super) mod silence;
pub(super) mod waiting;
