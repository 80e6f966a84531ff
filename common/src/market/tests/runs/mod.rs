//! How runs of every shape begin, go on and end.

mod again;
mod callbacks;
mod callbacks_of_blocks;
mod calls;
mod cancel;
mod flow;
mod flow_values;
mod lives;
mod queues;
mod schedules;
mod set_aside;
mod terms;

use super::*;
