//! Runs that cannot go on after a restart, because what is stored of them cannot be read: each
//! ends as failed, and everything else goes on.

use chrono::{DateTime, Utc};

use super::{Market, Run, SetAside};
use crate::credits::Credits;
use crate::ids::{JobId, RunId, WorkspaceId};
use crate::ledger::{Account, Kind, Posting};
use crate::run::RunState;
use crate::statement::{LineKind, Related};

/// The start of what a customer is told. What exactly is wrong is for the server's owner.
const REASON: &str = "the server cannot read what it stored of this run; run the job again, or \
                      make it anew if that fails too";
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
    /// Its customer's statement has its line: it had failed, and was delivered again.
    pub has_line: bool,
}

impl Market {
    /// Ends a run that is known by its id alone: gives back its hold, and writes its line.
    pub(super) fn set_aside(&mut self, unreadable: &Unreadable, now: DateTime<Utc>) {
        let Unreadable { run, workspace, job, held, captured, has_line } = *unreadable;
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
            if !captured.is_zero() && !has_line {
                let related = Related { id: job.map(JobId::uuid), ..Related::default() };
                self.write_line(owner, LineKind::Payment, captured, Some(run), related, LINE, now);
            }
        }
        let error = REASON.to_owned();
        self.outbox.set_aside.push(SetAside { run, captured, error, at: now });
    }

    /// Ends the loaded runs whose parts contradict each other: they would never end by
    /// themselves.
    pub(super) fn end_contradictory(&mut self, now: DateTime<Utc>) {
        let broken: Vec<RunId> =
            self.runs.values().filter(|run| !is_whole(run)).map(|run| run.id).collect();
        for run in broken {
            self.give_up(run, REASON.to_owned(), now);
        }
    }
}

fn is_whole(run: &Run) -> bool {
    let has_tables = match run.state {
        RunState::Started | RunState::Fetching => true,
        RunState::Partitioning => run.stage().is_none() || run.source.is_some(),
        RunState::Processing
        | RunState::Processed
        | RunState::Assembling
        | RunState::Assembled
        | RunState::Delivering
        | RunState::Complete
        | RunState::Failed
        | RunState::Aborted => run.chunks.is_some(),
    };
    has_tables && run.check().is_ok() && run.next <= run.total()
}
