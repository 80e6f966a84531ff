//! Tells the owner that the server cannot be reached: at once, and then each minute.

use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::swarm::DialError;
use tokio::time::Instant;

const PERIOD: Duration = Duration::from_secs(60);

/// Since when the server cannot be reached, and when that was said last.
#[derive(Debug, Default)]
pub struct Trouble {
    told: Option<Instant>,
}

impl Trouble {
    /// A dial has failed.
    pub fn failed(&mut self, address: &Multiaddr, why: &str) {
        if self.is_due(Instant::now()) {
            tracing::warn!("the server cannot be reached: {address}: {why}; it is tried again");
        }
    }

    /// There is a connection: the next failure is news.
    pub fn over(&mut self) {
        self.told = None;
    }

    fn is_due(&mut self, now: Instant) -> bool {
        if self.told.is_some_and(|told| now < told + PERIOD) {
            return false;
        }
        self.told = Some(now);
        true
    }
}

/// The innermost reason, which is the one that says something.
pub fn reason(error: &DialError) -> String {
    let DialError::Transport(tried) = error else { return error.to_string() };
    let Some((_, tried)) = tried.first() else { return error.to_string() };
    let mut innermost: &dyn std::error::Error = tried;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use std::io;

    use libp2p::core::transport::TransportError;

    use super::*;

    #[test]
    fn trouble_is_logged_at_once_and_then_each_minute_until_it_is_over() {
        let (mut trouble, start) = (Trouble::default(), Instant::now());

        assert!(trouble.is_due(start));
        assert!(!trouble.is_due(start + PERIOD / 2));
        assert!(trouble.is_due(start + PERIOD));
        trouble.over();
        assert!(trouble.is_due(start + PERIOD));
    }

    #[test]
    fn trouble_names_the_innermost_reason() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let expected = refused.to_string();
        let tried = vec![(Multiaddr::empty(), TransportError::Other(io::Error::other(refused)))];

        assert_eq!(reason(&DialError::Transport(tried)), expected);
        assert_eq!(reason(&DialError::Aborted), DialError::Aborted.to_string());
    }
}
