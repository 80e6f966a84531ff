//! What expressions give: answers that may be late or come to nobody, and texts of containers.

use std::collections::BTreeMap;
use std::sync::Arc;

use common::ids::RunId;
use common::market::Frozen;
use common::plan::Name;
use common::run::task::{Lease, StageNo};

use super::{Event, World};

impl World {
    /// The server begins to evaluate what is asked for.
    pub(super) fn ask_for(&mut self, run: RunId, no: StageNo) {
        let run = self.server.as_ref().and_then(|server| server.market.run(run));
        let Some(frozen) = run.and_then(|run| run.frozen(no)).map(Arc::clone) else { return };
        let delay = self.random.between(0, 500);
        self.at(delay, Event::Answer { starts: self.starts, frozen });
    }

    /// It has evaluated it, if it is still the same process.
    pub(super) fn answer(&mut self, starts: u32, frozen: &Frozen) {
        let server = self.server.as_mut().filter(|_| starts == self.starts);
        let Some(server) = server else { return };
        server.market.resolved(frozen.run, frozen.stage, frozen.resolve(), self.now);
        self.touch();
    }

    /// Each attempt of a task gets the same texts, and none of them what a value looks like.
    pub(super) fn check_texts(&mut self, lease: Lease) -> Result<(), String> {
        let run = self.server.as_ref().and_then(|server| server.market.run(lease.task.run));
        let Some(frozen) = run.and_then(|run| run.frozen(lease.task.stage)) else { return Ok(()) };
        let work = frozen.spec.plan.container_task(frozen.block);
        if work.is_none_or(|work| work.container.late().is_empty()) {
            return Ok(());
        }
        let secrets: BTreeMap<Name, String> =
            [("s".parse().expect("a plain name"), "SECRET".to_owned())].into();
        let spec =
            frozen.container(lease.task.index, &secrets).map_err(|fault| fault.to_string())?;
        let text = format!("{:?}", spec.environment);
        if text.contains("SECRET") {
            return Err(format!("{lease} has evaluated a value: {text}"));
        }
        let before = self.texts.entry(lease.task).or_insert_with(|| text.clone());
        if *before == text { Ok(()) } else { Err(format!("{lease} got {text}, before {before}")) }
    }
}
