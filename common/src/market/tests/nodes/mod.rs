//! Which node gets which task, keeps it, loses it, and is trusted.

mod blame;
mod checks;
mod disk;
mod gpus;
mod health;
mod nodes_of;
mod order;
mod owners_rules;
mod placement;
mod samples;
mod silence;
mod trust;

use super::*;
