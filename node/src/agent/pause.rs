//! When the agent speaks again.

use std::time::Duration;

use tokio::time::Instant;

use crate::net::backoff::Backoff;

/// How long after the last message log lines, and starts of short tasks, wait for company.
const COMPANY_PAUSE: Duration = Duration::from_secs(1);
/// The least time between two messages, so that a server in a hurry makes no busy loop.
const GAP: Duration = Duration::from_millis(2);
/// The same while short tasks end one after the other and the next ones are here: their receipts come
/// together, and no slot waits for the answer. What waits for such a receipt waits that much longer.
const BUSY_GAP: Duration = Duration::from_millis(25);
/// The same where the server can only repeat itself: what it wants ended takes time to end.
pub(super) const NO_CHANGE_GAP: Duration = Duration::from_millis(200);

/// When the next message may go.
pub(super) struct Pause {
    backoff: Backoff,
    /// As the last answer has it.
    until: Instant,
    last: Instant,
}

impl Pause {
    pub fn new() -> Self {
        let backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        let now = Instant::now();
        Self { backoff, until: now, last: now }
    }

    /// When it is over: later where receipts can wait for one another.
    pub fn until(&self, is_busy: bool) -> Instant {
        self.until.max(self.last + if is_busy { BUSY_GAP } else { GAP })
    }

    pub fn company(&self) -> Instant {
        self.last + COMPANY_PAUSE
    }

    pub fn sent(&mut self) {
        self.last = Instant::now();
    }

    pub fn after(&mut self, reply: Reply) {
        match reply {
            Reply::Orders => self.backoff.reset(),
            Reply::NoChange => {
                self.backoff.reset();
                self.until = Instant::now() + NO_CHANGE_GAP;
            }
            Reply::Nothing => self.until = Instant::now() + self.backoff.step(),
        }
    }
}

/// What came of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    Orders,
    /// Only what is being done already.
    NoChange,
    Nothing,
}
