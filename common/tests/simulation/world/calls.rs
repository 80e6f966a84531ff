//! What becomes of calls: some are accepted, some fail, some answers come to nobody.

use common::call::{Answer, Report};
use common::run::task::Lease;
use common::testing;

use super::{Event, World};

impl World {
    /// The server sends a request.
    pub(super) fn call(&mut self, lease: Lease) -> Result<(), String> {
        self.receiver.hear(lease, &self.store, self.now)?;
        self.tally.calls += 1;
        let delay = if self.random.chance(100) { self.random.between(1_000, 60_000) } else { 20 };
        self.at(delay, Event::CallEnds { starts: self.starts, lease });
        Ok(())
    }

    /// The server hears what became of a request, if it is still the same process.
    pub(super) fn call_ends(&mut self, starts: u32, lease: Lease) {
        let report = match self.random.between(0, 9) {
            0 => Report::Lost("the server has no socket left".to_owned()),
            1 => Report::Ended(Answer::none("connection refused", 1)),
            2 => Report::Ended(Answer {
                retry_after_secs: Some(self.random.between(0, 90)),
                ..testing::answer(429)
            }),
            3 => Report::Ended(testing::answer(503)),
            _ => Report::Ended(testing::answer(200)),
        };
        let server = self.server.as_mut().filter(|_| starts == self.starts);
        let Some(server) = server else {
            self.tally.calls_lost += 1;
            return;
        };
        server.market.call_ended(lease, report, self.now);
        self.touch();
    }
}
