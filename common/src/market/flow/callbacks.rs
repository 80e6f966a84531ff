//! Telling receivers how a run has ended. Each is told by a run of one call, which is stored in the
//! transaction of the end, so that no kill loses it.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::ids::RunId;
use crate::market::outbox::RunRecord;
use crate::market::{Market, Refused};
use crate::plan::Plan;
use crate::run::callback::{EndedRun, RunEnd};
use crate::run::cause::{Cause, CauseKind};
use crate::run::scheduling::Terms;
use crate::run::spec::{Origin, RunScope, RunSpec};

impl Market {
    /// Starts the callbacks of a run, where it has ended. One that the wallet cannot pay has
    /// failed.
    pub(in crate::market) fn tell_end(&mut self, record: &RunRecord, now: DateTime<Utc>) {
        let Some(end) = RunEnd::of(record.state) else { return };
        let ended = EndedRun {
            id: record.id,
            spec: &record.spec,
            end,
            cause: record.cause.as_ref(),
            started_at: record.times.began(),
            ended_at: now,
            price: record.captured,
        };
        for (n, callback) in (0..).zip(&record.spec.callbacks) {
            if !callback.on.contains(&end) {
                continue;
            }
            let id = record.id.of_callback(n, now);
            let spec = Arc::new(callback_spec(&record.spec, callback.plan(&ended), record.id));
            match self.start_run(id, Arc::clone(&spec), now) {
                Ok(()) => {}
                Err(refused @ (Refused::Wallet { .. } | Refused::Cap { .. })) => {
                    let cause = Cause::new(CauseKind::Credits, refused.to_string());
                    self.start_failed(id, spec, cause, now);
                }
                // It can only be the same callback, and stands in no queue.
                Err(
                    Refused::AlreadyStarted
                    | Refused::NoRun
                    | Refused::NotDeliverable
                    | Refused::NotRetryable
                    | Refused::SamePlan
                    | Refused::Stopping
                    | Refused::NoQueue,
                ) => {}
            }
        }
    }
}

fn callback_spec(of: &RunSpec, plan: Plan, run: RunId) -> RunSpec {
    RunSpec {
        job: of.job,
        workspace: of.workspace,
        name: of.name.clone(),
        template: String::new(),
        plan,
        scope: RunScope::default(),
        timeout_secs: None,
        // No spend cap keeps an end from being told.
        terms: Terms {
            start_at: None,
            is_test: false,
            queue: None,
            project: None,
            ..of.terms.clone()
        },
        origin: Origin::Callback(run),
        callbacks: Vec::new(),
    }
}
