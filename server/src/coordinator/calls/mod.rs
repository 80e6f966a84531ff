//! The calls that the server makes: each attempt begins after its lease is on disk, and its answer
//! goes to the coordinator.

mod client;
mod request;
mod signature;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use common::call::{CallTask, Report};
use common::ids::RunId;
use common::market::{Frozen, Run};
use common::plan::BlockId;
use common::run::spec::RunSpec;
use common::run::task::{Lease, StageNo, TaskRef};
use futures::FutureExt as _;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tracing::Instrument as _;

use super::Command;
use crate::data::Data;
use crate::expressions::Evaluator;
use client::Client;

/// Begins and cancels attempts of calls.
pub(super) struct Calls {
    client: Arc<Client>,
    /// Weak, so that the coordinator ends when all its handles have gone.
    commands: mpsc::WeakSender<Command>,
    under_way: BTreeMap<Lease, AbortHandle>,
}

/// An attempt of a call.
struct Attempt {
    lease: Lease,
    spec: Arc<RunSpec>,
    block: BlockId,
    /// What its texts read, where some are known only now, and its address where that is one.
    late: Option<(Arc<Frozen>, Option<String>)>,
}

impl Attempt {
    fn new(run: &Run, lease: Lease) -> Option<Self> {
        run.call_under_way(lease)?;
        let stage = run.stage(lease.task.stage)?;
        let work = run.spec.plan.call_task(stage.block)?;
        let late = (!work.late.is_empty()).then(|| run.frozen(stage.no)).flatten();
        let late = late.map(|frozen| (Arc::clone(frozen), stage.url().map(str::to_owned)));
        Some(Self { lease, spec: Arc::clone(&run.spec), block: stage.block, late })
    }

    fn work(&self) -> Option<&CallTask> {
        self.spec.plan.call_task(self.block)
    }
}

impl Calls {
    pub fn new(data: &Data, evaluator: Evaluator, commands: mpsc::WeakSender<Command>) -> Self {
        let client = Client::new(data.guard(), data.secrets().clone(), evaluator);
        Self { client: Arc::new(client), commands, under_way: BTreeMap::new() }
    }

    /// Begins an attempt whose lease is on disk.
    pub fn begin(&mut self, run: &Run, lease: Lease) {
        let Some(attempt) = Attempt::new(run, lease) else { return };
        let (client, commands) = (Arc::clone(&self.client), self.commands.clone());
        let task = lease.task.id();
        let span = tracing::error_span!("call", run = %run.id, %task, attempt = lease.attempt);
        let working = async move {
            let report = AssertUnwindSafe(client.make(&attempt)).catch_unwind().await;
            let report = report.unwrap_or_else(|_| {
                tracing::error!("a call panicked");
                Report::Lost("the server failed during this request".to_owned())
            });
            if let Some(commands) = commands.upgrade() {
                // A coordinator that has stopped makes the call again when it is back.
                let _ = commands.send(Command::CallEnded { lease, report }).await;
            }
        };
        let task = tokio::spawn(working.instrument(span));
        self.under_way.insert(lease, task.abort_handle());
    }

    /// An attempt has reported its end.
    pub fn ended(&mut self, lease: Lease) {
        self.under_way.remove(&lease);
    }

    /// Ends the requests of a run that has ended.
    pub fn cancel(&mut self, run: RunId) {
        let at = |stage, index, attempt| Lease { task: TaskRef { run, stage, index }, attempt };
        let all = at(StageNo::new(0), 0, 0)..=at(StageNo::MAX, u32::MAX, u32::MAX);
        let leases: Vec<Lease> = self.under_way.range(all).map(|(lease, _)| *lease).collect();
        for lease in leases {
            if let Some(task) = self.under_way.remove(&lease) {
                task.abort();
            }
        }
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        for task in self.under_way.values() {
            task.abort();
        }
    }
}
