//! The server's turns: ticks, commits, and what follows from them.

use std::collections::BTreeMap;

use common::market::{StageOutcome, StageRecord, TaskRecord};

use super::{Event, SILENCE, World};

impl World {
    pub(super) fn tick(&mut self, starts: u32) -> Result<(), String> {
        let now = self.now;
        let Some(server) = self.server.as_mut().filter(|_| starts == self.starts) else {
            return Ok(());
        };
        server.market.tick(now);
        server.market.fire_due(2, now);
        self.touch();
        self.at(1_000, Event::Tick { starts });
        self.check_silence()
    }

    /// A run that waits although a node could take its task must not do so for long.
    pub(super) fn check_silence(&mut self) -> Result<(), String> {
        let Some(server) = &self.server else { return Ok(()) };
        let mut silent = BTreeMap::new();
        for id in server.runs() {
            let waiting = server.market.waiting(id, self.now);
            if waiting.is_none_or(|waiting| waiting.is_explained()) {
                continue;
            }
            let since = self.silent.get(&id).copied().unwrap_or(self.now);
            if self.now - since > SILENCE {
                return Err(format!("{id:?} waits without a reason: {waiting:?}"));
            }
            silent.insert(id, since);
        }
        self.silent = silent;
        Ok(())
    }

    pub(super) fn commit(&mut self, starts: u32) -> Result<(), String> {
        let now = self.now;
        let Some(server) = self.server.as_mut().filter(|_| starts == self.starts) else {
            return Ok(());
        };
        if !server.dirty && !server.is_late(now) {
            return Ok(());
        }
        let changes = server.commit(&mut self.store, now)?;
        self.receiver.note(&changes);
        let is_silent = |task: &&TaskRecord| {
            task.error.as_deref().is_some_and(|error| error.contains("went silent"))
        };
        self.tally.losses += changes.attempts.iter().filter(is_silent).count() as u64;
        if !self.healed && self.random.chance(2) {
            // Stored, but nobody has been told.
            self.kill();
            return Ok(());
        }
        if self.random.chance(10) {
            server.compare_restart(&self.store, now)?;
            self.tally.restarts_compared += 1;
        }
        let answers = server.answers(&self.store, now)?;
        self.plan_retries(&changes);
        let is_omitted =
            |stage: &&StageRecord| stage.ended.is_some_and(|end| end.how == StageOutcome::Skipped);
        self.tally.omitted += changes.stages.iter().filter(is_omitted).count() as u64;
        self.tally.values += changes.values.len() as u64;
        self.tally.fired += changes.fired.len() as u64;
        self.tally.skipped += changes.skips.len() as u64;
        for fire in changes.fires {
            let delay = self.random.between(0, 1_000);
            self.at(delay, Event::Fire { starts, fire });
        }
        for (run, no) in changes.steps {
            let delay = self.random.between(1, 3_000);
            self.at(delay, Event::Step { starts, run, no, part: 0 });
        }
        for (run, no) in changes.questions {
            self.ask_for(run, no);
        }
        for lease in changes.calls {
            self.call(lease)?;
        }
        for answer in answers {
            let (node, incarnation) = (answer.node, answer.incarnation);
            self.send(|| Event::Told { node, incarnation, orders: answer.orders.clone() });
        }
        Ok(())
    }
}
