//! Runs that cannot go on after a restart, because what is stored of them cannot be read: each
//! ends as failed, and everything else goes on.

use chrono::{DateTime, Utc};

use crate::ids::{JobId, RunId, WorkspaceId};
use crate::market::stage::Stage;
use crate::market::{Market, Run, SetAside};
use crate::money::credits::Credits;
use crate::money::ledger::{Account, Kind, Posting};
use crate::money::statement::{LineKind, Related};
use crate::plan::{BlockId, Reads};
use crate::run::cause::{Cause, CauseKind};

/// The start of what a customer is told. What exactly is wrong is for the server's owner.
const REASON: &str = "the server cannot read what it stored of this run; run the job again, or \
                      create it again if that fails too";
const LINE: &str = "a run that the server could not read";

/// An unfinished run of which something cannot be read. Its credits are known from the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    pub run: RunId,
    /// Whose run it is; `None` where not even that can be read, and nothing is held for it.
    pub workspace: Option<WorkspaceId>,
    pub job: Option<JobId>,
    pub held: Credits,
    pub captured: Credits,
    /// What lines of its customer's statement say already: it had ended, and went on.
    pub billed: Credits,
}

impl Market {
    /// Ends a run that is known by its id alone: gives back its hold, and writes its line.
    pub(in crate::market) fn set_aside(&mut self, unreadable: &Unreadable, now: DateTime<Utc>) {
        let Unreadable { run, workspace, job, held, captured, billed } = *unreadable;
        if let Some(owner) = workspace {
            let held = held.min(self.ledger.balance(Account::Held(owner)));
            if !held.is_zero() {
                let posting = Posting {
                    from: Account::Held(owner),
                    to: Account::Available(owner),
                    amount: held,
                    kind: Kind::Void,
                    run: Some(run),
                    lease: None,
                    request: None,
                };
                self.post(posting, now).expect("it was made no more than what is held");
            }
            let due = captured.saturating_sub(billed);
            if !due.is_zero() {
                let related = Related { id: job.map(JobId::uuid), ..Related::default() };
                self.write_line(owner, LineKind::Payment, due, Some(run), related, LINE, now);
            }
        }
        let cause = Cause::new(CauseKind::Server, REASON);
        self.outbox.changes.set_aside.push(SetAside { run, captured, cause, at: now });
    }

    /// Ends the loaded runs whose parts contradict each other: they would never end by
    /// themselves.
    pub(in crate::market) fn end_contradictory(&mut self, now: DateTime<Utc>) {
        let broken: Vec<RunId> =
            self.runs.values().filter(|run| !is_whole(run)).map(|run| run.id).collect();
        for run in broken {
            self.give_up(run, Cause::new(CauseKind::Server, REASON), now);
        }
    }
}

/// Whether what is stored of a run can go on: its stages are of its plan, and have what they read.
pub(super) fn is_whole(run: &Run) -> bool {
    let plan = &run.spec.plan;
    let reads = |block| match plan.container_task(block).map(|task| task.reads) {
        Some(Reads::Objects(from)) => run.table(from).is_some(),
        Some(Reads::Element) => run.chunks_of(block).is_some(),
        Some(Reads::Nothing | Reads::Results(_)) | None => true,
    };
    let fits = |stage: &Stage| {
        let parent = stage.parent.and_then(|parent| run.stage(parent));
        parent.map(|parent| parent.block) == plan.parent(stage.block)
            && reads(stage.block)
            && stage.fits(plan, run.tasks_in(stage))
            && run.has_opened(stage)
    };
    let is_begun = run.begins_at().is_some() || run.stage(BlockId::ROOT.stage()).is_some();
    is_begun && run.check().is_ok() && run.stages().all(fits)
}
