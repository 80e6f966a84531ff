//! Telling receivers what becomes of a run. Each is told by a run of one call, which is stored in
//! the transaction of what it tells, so that no kill loses it.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::ids::RunId;
use crate::market::outbox::RunRecord;
use crate::market::{Market, Refused};
use crate::money::credits::Credits;
use crate::plan::Plan;
use crate::run::RunState;
use crate::run::callback::{RunEvent, ToldRun};
use crate::run::cause::{Cause, CauseKind};
use crate::run::scheduling::Terms;
use crate::run::spec::{Origin, RunScope, RunSpec};

impl Market {
    /// Starts the callbacks of a run, where it has ended.
    pub(in crate::market) fn tell_end(&mut self, record: &RunRecord, now: DateTime<Utc>) {
        let Some(event) = RunEvent::of_end(record.state) else { return };
        let times = &record.times;
        self.tell(
            &ToldRun {
                id: record.id,
                spec: &record.spec,
                event,
                at: now,
                cause: record.cause.as_ref(),
                accepted_at: times.of(RunState::Scheduled).or_else(|| times.began()),
                started_at: times.began(),
                ended_at: Some(now),
                price: record.captured,
                output: record.output.as_deref(),
            },
            now,
        );
    }

    /// Starts the callbacks of a run that is worked on from now on.
    pub(in crate::market) fn tell_running(&mut self, id: RunId, now: DateTime<Utc>) {
        let Some(run) = self.runs.get(&id).filter(|run| !run.spec.callbacks.is_empty()) else {
            return;
        };
        let (spec, times) = (Arc::clone(&run.spec), run.times().clone());
        self.tell(
            &ToldRun {
                id,
                spec: &spec,
                event: RunEvent::Running,
                at: now,
                cause: None,
                accepted_at: times.of(RunState::Scheduled).or_else(|| times.began()),
                started_at: times.began(),
                ended_at: None,
                price: Credits::ZERO,
                output: None,
            },
            now,
        );
    }

    /// Starts the callbacks that are told of this. One that the wallet cannot pay has failed.
    fn tell(&mut self, told: &ToldRun<'_>, now: DateTime<Utc>) {
        for (n, callback) in (0..).zip(&told.spec.callbacks) {
            if !callback.on.contains(&told.event) {
                continue;
            }
            let id = told.id.of_callback(told.event.number(n), now);
            let spec = Arc::new(callback_spec(told, callback.plan(told)));
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

fn callback_spec(told: &ToldRun<'_>, plan: Plan) -> RunSpec {
    let of = told.spec;
    let RunScope { inputs, secrets, .. } = of.scope.clone();
    RunSpec {
        job: of.job,
        workspace: of.workspace,
        name: of.name.clone(),
        template: String::new(),
        plan,
        scope: RunScope { inputs, secrets, event: told.scope(), ..RunScope::default() },
        timeout_secs: None,
        // No spend cap keeps an end from being told.
        terms: Terms {
            start_at: None,
            is_test: false,
            queue: None,
            project: None,
            ..of.terms.clone()
        },
        origin: Origin::Callback(told.id),
        callbacks: Vec::new(),
    }
}
