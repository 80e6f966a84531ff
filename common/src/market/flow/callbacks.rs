//! Telling receivers what becomes of a run. Each is told by a run of one call, which is stored in
//! the transaction of what it tells, so that no kill loses it.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::ids::RunId;
use crate::market::outbox::RunRecord;
use crate::market::run::Run;
use crate::market::stage::{Stage, StageOutcome};
use crate::market::{Market, Refused};
use crate::plan::{BlockId, Plan};
use crate::run::RunState;
use crate::run::callback::{BlockState, RunEvent};
use crate::run::cause::{Cause, CauseKind};
use crate::run::scheduling::Terms;
use crate::run::spec::{Origin, RunScope, RunSpec};
use crate::run::task::StageNo;
use crate::run::told::{ToldBlock, ToldRun};

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
                blocks: None,
                block: None,
            },
            now,
        );
    }

    /// Starts the callbacks of a run that is worked on from now on.
    pub(in crate::market) fn tell_running(&mut self, id: RunId, now: DateTime<Utc>) {
        self.tell_going_on(id, RunEvent::Running, None, now);
    }

    /// Starts the callbacks of a run of which a stage has begun.
    pub(in crate::market) fn tell_begun(&mut self, id: RunId, no: StageNo, now: DateTime<Utc>) {
        let Some(stage) = self.runs.get(&id).and_then(|run| run.stage(no)) else { return };
        let told = told_block(stage, BlockState::Running);
        self.tell_block(id, told, now);
    }

    /// Starts the callbacks of a run of which a stage has ended.
    pub(super) fn tell_ended(
        &mut self,
        id: RunId,
        stage: &Stage,
        how: StageOutcome,
        now: DateTime<Utc>,
    ) {
        let Some(run) = self.runs.get(&id).filter(|run| !run.spec.callbacks.is_empty()) else {
            return;
        };
        let output = run.value_of(stage.block).filter(|_| how == StageOutcome::Done);
        let told = ToldBlock { output, ..told_block(stage, how.into()) };
        self.tell_block(id, told.clone(), now);
        if stage.parent == Some(BlockId::ROOT.stage()) {
            self.tell_going_on(id, RunEvent::Progress, Some(told), now);
        }
    }

    /// Starts the callbacks of a run that ends before its open stages.
    pub(super) fn tell_cut_off(&mut self, id: RunId, now: DateTime<Utc>) {
        let Some(run) = self.runs.get(&id).filter(|run| run.spec.tells(RunEvent::Block)) else {
            return;
        };
        let failed: BTreeSet<BlockId> = run.failed_blocks().collect();
        let state = |stage: &Stage| {
            let has_failed = failed.contains(&stage.block);
            if has_failed { BlockState::Failed } else { BlockState::Cancelled }
        };
        let open: Vec<_> = run.stages().map(|stage| told_block(stage, state(stage))).collect();
        for told in open {
            self.tell_block(id, told, now);
        }
    }

    /// Blocks in lists are not told: there can be a million of them.
    fn tell_block(&mut self, id: RunId, told: ToldBlock, now: DateTime<Utc>) {
        let is_single =
            |run: &Run| told.block != BlockId::ROOT && !run.spec.plan.is_repeated(told.block);
        if self.runs.get(&id).is_some_and(is_single) {
            self.tell_going_on(id, RunEvent::Block, Some(told), now);
        }
    }

    /// Starts the callbacks of a run that goes on.
    fn tell_going_on(
        &mut self,
        id: RunId,
        event: RunEvent,
        block: Option<ToldBlock>,
        now: DateTime<Utc>,
    ) {
        let Some(run) = self.runs.get(&id).filter(|run| run.spec.tells(event)) else { return };
        let (spec, cause, times) = (Arc::clone(&run.spec), run.cause().cloned(), run.times());
        let told = ToldRun {
            id,
            spec: &spec,
            event,
            at: now,
            cause: cause.as_ref(),
            accepted_at: times.of(RunState::Scheduled).or_else(|| times.began()),
            started_at: times.began(),
            ended_at: None,
            price: run.captured(),
            output: None,
            blocks: run.outermost_done(),
            block,
        };
        self.tell(&told, now);
    }

    /// Starts the callbacks that are told of this. One that the wallet cannot pay has failed.
    fn tell(&mut self, told: &ToldRun<'_>, now: DateTime<Utc>) {
        for (n, callback) in (0..).zip(&told.spec.callbacks) {
            if !callback.on.contains(&told.event) {
                continue;
            }
            let id = told.callback(n);
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

fn told_block(stage: &Stage, state: BlockState) -> ToldBlock {
    ToldBlock { block: stage.block, state, opened_at: stage.opened_at, output: None }
}

impl From<StageOutcome> for BlockState {
    fn from(how: StageOutcome) -> Self {
        match how {
            StageOutcome::Done => Self::Succeeded,
            StageOutcome::Skipped => Self::Skipped,
            StageOutcome::CutOff => Self::Cancelled,
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
        scope: RunScope { inputs, secrets, event: told.scope() },
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
