//! What a step of the server tells the market.

use chrono::{DateTime, Utc};
use common::data::chunk_table::ChunkTable;
use common::ids::RunId;
use common::market::Market;
use common::plan::Phase;
use common::run::cause::Cause;
use common::run::task::StageNo;

pub(in crate::coordinator) enum StepNews {
    /// It has come to another phase of its run.
    Enters { run: RunId, stage: StageNo, phase: Phase },
    /// It goes on without something that its customer should know of.
    Warns { run: RunId, stage: StageNo, warning: String },
    /// It is done, and has found or cut something where it does.
    Done {
        run: RunId,
        stage: StageNo,
        /// The phase in which it ended, where that may not have been told before.
        entered: Option<Phase>,
        table: Option<ChunkTable>,
    },
    /// It cannot be done, or the expressions of a stage cannot be evaluated.
    Failed { run: RunId, cause: Cause },
}

impl StepNews {
    pub fn apply(self, market: &mut Market, now: DateTime<Utc>) {
        match self {
            Self::Enters { run, stage, phase } => market.step_enters(run, stage, phase, now),
            Self::Warns { run, stage, warning } => market.step_warns(run, stage, warning),
            Self::Done { run, stage, entered, table } => {
                if let Some(phase) = entered {
                    market.step_enters(run, stage, phase, now);
                }
                market.step_done(run, stage, table, now);
            }
            Self::Failed { run, cause } => {
                if market.break_off(run, cause, now).is_err() {
                    tracing::debug!(%run, "a step failed after its run had ended");
                }
            }
        }
    }
}
