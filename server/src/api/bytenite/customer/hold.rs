//! What is reserved of a wallet for a run, and the prices behind all amounts.

use common::money::credits::Credits;
use common::money::price;
use common::money::price::{CPU_HOUR, MEMORY_HOUR};
use common::plan::Plan;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::store::market::runs::RunView;

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

impl HoldOut {
    /// For the first task, and for those whose reservation is kept from the start.
    pub fn at_start(app: &App, plan: &Plan) -> Self {
        let task = plan.typical_task();
        let secs = app.coordinator.reserved_secs(task.map_or(0, |task| task.timeout_secs));
        let per_task = task.map_or(Credits::ZERO, |task| task.reservation(secs));
        Self { amount: plan.first_hold(secs), per_task, task_secs: secs, tasks: 1 }
    }

    pub fn of_run(app: &App, run: &RunView) -> Self {
        let secs = app.coordinator.reserved_secs(run.task_timeout_secs);
        let tasks = app.coordinator.progress(run.id).map_or(0, |live| live.tasks_running);
        let per_task = price::most(run.needs, secs);
        Self { amount: run.held, per_task, task_secs: secs, tasks }
    }

    pub fn amount(&self) -> Credits {
        self.amount
    }
}
