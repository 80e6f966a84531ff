//! What one connection does, and when it has taken too long over it.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::pace::{Limits, Pace};

/// Deadlines may come nearer while one is waited for, so they are looked at this often.
const LOOK_MAX: Duration = Duration::from_secs(5);
const LOOK_MIN: Duration = Duration::from_millis(50);

/// One connection, shared by its stream, its requests and the table of connections.
#[derive(Debug)]
pub struct Connection {
    pub remote: SocketAddr,
    pub limits: Limits,
    /// Cancelled where the connection must make room.
    pub evicted: CancellationToken,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// The start of the phase, or the last progress in it.
    since: Instant,
    writes: Pace,
    /// Since when the other end has taken no byte of what there is to write.
    blocked: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Reads the head of a request.
    Head,
    /// Between two requests.
    Idle,
    /// From the end of the head to the end of the answer.
    Request,
}

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overdue {
    Head,
    Idle,
    Write,
}

impl Connection {
    pub fn new(remote: SocketAddr, limits: Limits) -> Self {
        let state = State {
            phase: Phase::Head,
            since: Instant::now(),
            writes: limits.pace(),
            blocked: None,
        };
        let evicted = CancellationToken::new();
        Self { remote, limits, evicted, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a request is under way.
    pub fn is_busy(&self) -> bool {
        self.state().phase == Phase::Request
    }

    /// Bytes have come in.
    pub fn read(&self) {
        let mut state = self.state();
        if state.phase == Phase::Idle {
            state.phase = Phase::Head;
            state.since = Instant::now();
        }
    }

    /// There is something to write, and the other end takes nothing.
    pub fn write_blocked(&self) {
        self.state().blocked.get_or_insert_with(Instant::now);
    }

    pub fn wrote(&self, bytes: usize) {
        let mut state = self.state();
        if let Some(since) = state.blocked.take() {
            state.writes.waited(since.elapsed());
        }
        state.writes.moved(bytes);
        if state.phase == Phase::Idle {
            state.since = Instant::now();
        }
    }

    /// The head of a request is complete.
    pub fn begin_request(&self) {
        self.enter(Phase::Request);
    }

    /// A part of a request's body was taken in.
    pub fn progress(&self) {
        self.state().since = Instant::now();
    }

    /// When the request under way made progress last.
    pub fn last_progress(&self) -> Instant {
        self.state().since
    }

    /// The answer is complete.
    pub fn end_request(&self) {
        self.enter(Phase::Idle);
    }

    fn enter(&self, phase: Phase) {
        let mut state = self.state();
        state.phase = phase;
        state.since = Instant::now();
    }

    /// Waits until the connection has to be closed.
    pub async fn overdue(&self) -> Overdue {
        let limits = &self.limits;
        let shortest = limits.head.min(limits.idle).min(limits.stall);
        let look = (shortest / 4).clamp(LOOK_MIN, LOOK_MAX);
        loop {
            let now = Instant::now();
            let due = self.due();
            match due {
                Some((at, overdue)) if at <= now => return overdue,
                Some(_) | None => {}
            }
            let next = due.map_or(now + LOOK_MAX, |(at, _)| at);
            tokio::time::sleep_until(next.min(now + look)).await;
        }
    }

    /// What ends first, unless something happens. A request has a limit of its own, which gives an
    /// answer.
    fn due(&self) -> Option<(Instant, Overdue)> {
        let state = self.state();
        let phase = match state.phase {
            Phase::Head => Some((state.since + self.limits.head, Overdue::Head)),
            Phase::Idle => Some((state.since + self.limits.idle, Overdue::Idle)),
            Phase::Request => None,
        };
        // The end of an answer may still be on its way: the speed of writing limits that.
        let phase = phase.filter(|_| state.phase != Phase::Idle || state.blocked.is_none());
        let write = state.blocked.map(|since| (since + state.writes.left(), Overdue::Write));
        phase.into_iter().chain(write).min_by_key(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEC: Duration = Duration::from_secs(1);

    fn connection() -> Connection {
        let limits = Limits {
            head: 15 * SEC,
            idle: 75 * SEC,
            request: 300 * SEC,
            stall: 30 * SEC,
            bytes_per_sec: 8192,
        };
        Connection::new("192.0.2.1:1".parse().unwrap(), limits)
    }

    fn due_in(connection: &Connection) -> Option<(u64, Overdue)> {
        let (at, overdue) = connection.due()?;
        // Less than a second has passed since.
        Some((at.duration_since(Instant::now()).as_secs() + 1, overdue))
    }

    #[test]
    fn connection_has_a_limit_for_its_head_and_for_being_idle() {
        let connection = connection();
        assert_eq!(due_in(&connection), Some((15, Overdue::Head)));

        connection.begin_request();
        assert_eq!(due_in(&connection), None);
        connection.end_request();
        assert_eq!(due_in(&connection), Some((75, Overdue::Idle)));
        connection.read();

        assert_eq!(due_in(&connection), Some((15, Overdue::Head)));
        let before = connection.due();
        connection.read();
        assert_eq!(connection.due(), before, "a trickle of bytes gains no time");
    }

    #[test]
    fn connection_that_takes_no_answer_is_overdue() {
        let connection = connection();
        connection.begin_request();

        connection.write_blocked();

        assert_eq!(due_in(&connection), Some((30, Overdue::Write)));
        connection.end_request();
        assert_eq!(due_in(&connection), Some((30, Overdue::Write)), "and not idle");
        connection.wrote(1);
        assert_eq!(due_in(&connection), Some((75, Overdue::Idle)));
    }
}
