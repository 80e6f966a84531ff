//! What is held for a run, and the prices behind all amounts.

use common::money::credits::Credits;
use common::money::price::{CPU_HOUR, MEMORY_HOUR};
use serde::Serialize;
use utoipa::ToSchema;

use crate::jobs::runs::hold::Hold;

/// What everything is paid by, in credits.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PricesOut {
    /// Of one vCPU for an hour.
    #[schema(value_type = String)]
    cpu_hour: Credits,
    /// Of one GiB of memory for an hour.
    #[schema(value_type = String)]
    memory_gib_hour: Credits,
}

impl Default for PricesOut {
    fn default() -> Self {
        Self { cpu_hour: CPU_HOUR, memory_gib_hour: MEMORY_HOUR }
    }
}

/// What is held for a run: a reservation for each task that runs, which grows with a task that
/// runs longer. What a task does not use serves the next one or is given back.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HoldOut {
    /// All of it.
    #[schema(value_type = String)]
    amount: Credits,
    /// What a task is reserved when it is handed out: the price of all that it may use, for
    /// `taskSecs`.
    #[schema(value_type = String)]
    per_task: Credits,
    /// Its timeout or a minute, whichever is shorter.
    task_secs: u32,
    /// The tasks that are reserved for.
    tasks: u32,
}

impl From<Hold> for HoldOut {
    fn from(hold: Hold) -> Self {
        let Hold { amount, per_task, task_secs, tasks } = hold;
        Self { amount, per_task, task_secs, tasks }
    }
}
