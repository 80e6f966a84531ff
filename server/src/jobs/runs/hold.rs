//! What is reserved of a wallet for a run.

use common::money::credits::Credits;
use common::money::price;
use common::plan::Plan;

use crate::app::App;
use crate::jobs::RunView;

/// What is held for a run: a reservation for each task that runs, which grows with a task that
/// runs longer. What a task does not use serves the next one or is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// All of it.
    pub amount: Credits,
    /// What a task is reserved when it is handed out: the price of all that it may use, for
    /// `task_secs`.
    pub per_task: Credits,
    /// Its timeout or a minute, whichever is shorter.
    pub task_secs: u32,
    /// The tasks that are reserved for.
    pub tasks: u32,
}

impl Hold {
    /// For the first task, and for those whose reservation is kept from the start.
    pub(in crate::jobs) fn at_start(app: &App, plan: &Plan) -> Self {
        let task = plan.typical_task();
        let task_secs = app.coordinator.reserved_secs(task.map_or(0, |task| task.timeout_secs));
        let per_task = task.map_or(Credits::ZERO, |task| task.reservation(task_secs));
        Self { amount: plan.first_hold(task_secs), per_task, task_secs, tasks: 1 }
    }

    /// For the tasks that run now.
    pub(in crate::jobs) fn of_run(app: &App, run: &RunView) -> Self {
        let task_secs = app.coordinator.reserved_secs(run.task_timeout_secs);
        let tasks = app.coordinator.progress(run.id).map_or(0, |live| live.tasks_running);
        let per_task = price::most(run.needs, task_secs);
        Self { amount: run.held, per_task, task_secs, tasks }
    }
}
