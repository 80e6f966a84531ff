//! When the agent speaks again.

use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::Backoff;

/// How long after the last message mere log lines wait for company.
const LOGS_PAUSE: Duration = Duration::from_secs(1);
/// The least time between two messages, so that a server in a hurry makes no busy loop.
const GAP: Duration = Duration::from_millis(2);
/// The same where the server can only repeat itself: what it wants ended takes time to end.
pub(super) const ECHO_GAP: Duration = Duration::from_millis(200);

/// When the next message may go.
pub(super) struct Pause {
    backoff: Backoff,
    /// A server that does not know the node does not know it a moment later either.
    refused: Backoff,
    until: Instant,
    last: Instant,
}

impl Pause {
    pub fn new() -> Self {
        let backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        let refused = Backoff::new(Duration::from_secs(1), Duration::from_secs(300));
        let now = Instant::now();
        Self { backoff, refused, until: now, last: now }
    }

    pub fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    pub const fn until(&self) -> Instant {
        self.until
    }

    pub fn logs(&self) -> Instant {
        self.last + LOGS_PAUSE
    }

    pub fn sent(&mut self) {
        self.last = Instant::now();
        self.until = self.last + GAP;
    }

    pub fn after(&mut self, heard: Heard) {
        match heard {
            Heard::Orders => self.answered(),
            Heard::Echo => {
                self.answered();
                self.until = Instant::now() + ECHO_GAP;
            }
            Heard::Refusal => self.until = Instant::now() + self.refused.step(),
            Heard::Nothing => self.until = Instant::now() + self.backoff.step(),
        }
    }

    fn answered(&mut self) {
        self.backoff.reset();
        self.refused.reset();
    }
}

/// What came of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    Orders,
    /// Only what is being done already.
    Echo,
    /// The server does not know this node.
    Refusal,
    Nothing,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pause_of_a_refused_node_grows_until_it_is_known() {
        let mut pause = Pause::new();
        let waits: Vec<Duration> = (0..12)
            .map(|_| {
                pause.after(Heard::Refusal);
                pause.until() - Instant::now()
            })
            .collect();

        assert!(waits[0] <= Duration::from_secs(1));
        assert!(waits[11] > Duration::from_secs(100), "{waits:?}");
        pause.after(Heard::Orders);
        pause.after(Heard::Refusal);
        assert!(pause.until() - Instant::now() <= Duration::from_secs(1));
    }
}
