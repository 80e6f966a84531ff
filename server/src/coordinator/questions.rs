//! What the expressions of stages give: evaluated beside the writer, and told to it as a command.
//!
//! An evaluation reads nothing but what was known when its stage was opened, so it can be done
//! twice: a restart asks again for what was not answered.

use std::sync::Arc;

use common::error_chain::chain;
use common::ids::RunId;
use common::market::Frozen;
use common::run::cause::{Cause, CauseKind};
use tokio::sync::mpsc;
use tracing::Instrument as _;

use super::Command;
use super::steps::StepNews;
use crate::expressions::Evaluator;

pub(super) struct Questions {
    /// Weak, so that the coordinator ends when all its handles have gone.
    commands: mpsc::WeakSender<Command>,
    evaluator: Evaluator,
}

impl Questions {
    pub fn new(evaluator: Evaluator, commands: mpsc::WeakSender<Command>) -> Self {
        Self { commands, evaluator }
    }

    /// Evaluates the expressions of a stage that is on disk.
    pub fn ask(&self, frozen: Arc<Frozen>) {
        let (commands, evaluator) = (self.commands.clone(), self.evaluator.clone());
        let (run, stage) = (frozen.run, frozen.stage);
        let span = tracing::error_span!("expressions", %run, %stage);
        let working = async move {
            let answer = match evaluator.evaluate(move || frozen.resolve()).await {
                Ok(answer) => Box::new(answer),
                Err(error) => {
                    tracing::error!(error = %chain(&error), "expressions could not be evaluated");
                    return fail(&commands, run).await;
                }
            };
            send(&commands, Command::Resolved { run, stage, answer }).await;
        };
        tokio::spawn(working.instrument(span));
    }
}

/// A run whose question is lost would wait forever.
async fn fail(commands: &mpsc::WeakSender<Command>, run: RunId) {
    let message = "the server failed while it evaluated an expression of this run";
    let cause = Cause::new(CauseKind::Server, message);
    send(commands, Command::Step(StepNews::Failed { run, cause })).await;
}

async fn send(commands: &mpsc::WeakSender<Command>, command: Command) {
    if let Some(commands) = commands.upgrade() {
        // A coordinator that has stopped asks again when it is back.
        let _ = commands.send(command).await;
    }
}
