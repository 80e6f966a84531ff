//! What happens to a workspace's jobs, as it happens.

use std::collections::{HashMap, VecDeque};

use common::error_chain::chain;
use common::ids::{JobId, RunId, WorkspaceId};
use common::market::Progress;
use common::plan::Phase;
use common::run::RunState;
use common::run::cause::Cause;
use common::run::task::{Lease, TaskRef};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::status::JobState;
use crate::app::App;
pub use crate::coordinator::EventId;
use crate::coordinator::{Change, RunEvent};
use crate::error::Result;
use crate::jobs::{Job, RunView};
use crate::logs::reader::Logs;
use crate::people::caller::Caller;
use crate::store::jobs::{self, JobField};
use crate::store::logs::Batch;
pub use crate::store::logs::LogView;
use crate::store::market::runs;
use crate::store::query::selection::{Comparison, Operand, Rest, Selection, Start, Test};

/// The most jobs of a fresh start, newest first.
const RESET_JOBS_MAX: u64 = 1_000;

/// Where a listener begins.
#[derive(Debug, Clone, Copy)]
pub enum Since {
    /// With what happens next.
    Now,
    /// After an event that it has heard.
    After(EventId),
    /// With the states of its jobs: what it has heard is not known.
    States,
}

/// Hears what happens to the jobs of a workspace, or to one of them.
pub struct Listener {
    app: App,
    events: Receiver<RunEvent>,
    workspace: WorkspaceId,
    job: Option<JobId>,
    /// What is to be heard before anything new.
    first: VecDeque<RunEvent>,
    /// Events are lost: the states of the jobs stand in their place.
    reset: bool,
}

/// Something that a listener is to hear of, as it comes.
pub enum Signal {
    Reset,
    Event(RunEvent),
}

/// What a listener is given.
pub enum Report {
    /// Events were lost: these are the states of all jobs in their place. A listener forgets what
    /// it knew.
    Reset(Vec<Summary>),
    Event(Event),
}

/// A job's state among others.
pub struct Summary {
    pub job: JobId,
    pub run: Option<RunId>,
    pub state: JobState,
    pub cause: Option<Cause>,
}

/// One thing that happened to a job.
pub struct Event {
    pub id: EventId,
    pub job: JobId,
    pub run: RunId,
    pub what: What,
}

pub enum What {
    State {
        state: RunState,
        phase: Option<Phase>,
        cause: Option<Cause>,
    },
    Task {
        task: TaskRef,
        phase: Option<Phase>,
        attempt: u32,
        state: common::market::TaskState,
        /// How far the run is by now; `None` where it has ended.
        progress: Option<Progress>,
    },
    Log {
        lease: Lease,
        phase: Option<Phase>,
        lines: Vec<LogView>,
    },
}

/// Listens to the caller's jobs, or to one of them.
pub fn listen(app: &App, caller: &Caller, job: Option<JobId>, since: Since) -> Listener {
    let (missed, events) = match since {
        Since::Now => (Some(Vec::new()), app.coordinator.events()),
        Since::After(last) => app.coordinator.events_after(last),
        Since::States => (None, app.coordinator.events()),
    };
    Listener {
        app: app.clone(),
        events,
        workspace: caller.workspace,
        job,
        reset: missed.is_none(),
        first: missed.unwrap_or_default().into(),
    }
}

impl Listener {
    /// Waits for the next thing to report; `None` where the server ends. Dropping the future
    /// loses nothing.
    pub async fn next(&mut self) -> Option<Signal> {
        if std::mem::take(&mut self.reset) {
            return Some(Signal::Reset);
        }
        while let Some(event) = self.first.pop_front() {
            if self.hears(&event) {
                return Some(Signal::Event(event));
            }
        }
        loop {
            match self.events.recv().await {
                Ok(event) if self.hears(&event) => return Some(Signal::Event(event)),
                Ok(_) => {}
                Err(RecvError::Closed) => return None,
                Err(RecvError::Lagged(_)) => return Some(Signal::Reset),
            }
        }
    }

    /// All that is known of it.
    pub async fn report(&self, signal: Signal) -> Result<Report> {
        match signal {
            Signal::Reset => Ok(Report::Reset(self.summaries().await?)),
            Signal::Event(event) => Ok(Report::Event(self.describe(event).await)),
        }
    }

    fn hears(&self, event: &RunEvent) -> bool {
        let is_theirs =
            event.workspace == self.workspace && self.job.is_none_or(|job| job == event.job);
        is_theirs && event.is_of_job()
    }

    /// Lines of logs are read where somebody listens.
    async fn describe(&self, event: RunEvent) -> Event {
        let RunEvent { id, job, run, change, .. } = event;
        let what = match change {
            Change::State { state, phase, cause } => What::State { state, phase, cause },
            Change::Task { task, phase, attempt, state } => {
                let progress = self.app.coordinator.progress(run);
                What::Task { task, phase, attempt, state, progress }
            }
            Change::Log { lease, phase, number } => {
                let logs = Logs { db: &self.app.db, data: &self.app.data };
                let found = logs.find(run, number).await.unwrap_or_else(|error| {
                    // The lines can still be asked for; the listener goes on.
                    tracing::error!(error = %chain(&error), "lines were not read");
                    None
                });
                let lines = found.into_iter().flat_map(Batch::into_views).collect();
                What::Log { lease, phase, lines }
            }
        };
        Event { id, job, run, what }
    }

    /// The states of the workspace's jobs, or of the one that is listened to.
    async fn summaries(&self) -> Result<Vec<Summary>> {
        let id = |job: JobId| Test::Compare(Comparison::Equal, Operand::Uuid(job.uuid()));
        let mut selection = Selection {
            tests: self.job.map(|job| (JobField::Id, id(job))).into_iter().collect(),
            order: vec![(JobField::CreatedAt, true)],
            start: Start::Place(None),
            limit: RESET_JOBS_MAX,
        };
        let mut summaries = Vec::new();
        // Jobs with large documents come on pages of few.
        loop {
            let found = jobs::list(&self.app.db, self.workspace, None, None, &selection).await?;
            summaries.extend(self.summaries_of(&found.rows).await?);
            selection.limit = selection.limit.saturating_sub(found.rows.len() as u64);
            match found.rest {
                Rest::After(Some(place)) if selection.limit > 0 => {
                    selection.start = Start::Place(Some(place));
                }
                Rest::After(_) | Rest::Total(_) => return Ok(summaries),
            }
        }
    }

    async fn summaries_of(&self, found: &[Job]) -> Result<Vec<Summary>> {
        let latest: Vec<_> = found.iter().filter_map(|job| job.run).collect();
        let runs = runs::find_many(&self.app.db, self.workspace, &latest).await?;
        let by_job: HashMap<_, _> = runs.iter().map(|run| (run.job, run)).collect();
        let summary = |job: &Job| {
            let run: Option<&RunView> = by_job.get(&job.id).copied();
            Summary {
                job: job.id,
                run: run.map(|run| run.id),
                state: JobState::of(run),
                cause: run.and_then(|run| run.cause.clone()),
            }
        };
        Ok(found.iter().map(summary).collect())
    }
}
