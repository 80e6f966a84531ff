//! Why a run ended without success: a kind that programs know, and a message for people.

/// What ended a run before its plan was followed to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    pub kind: CauseKind,
    pub message: String,
}

/// The kinds of causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CauseKind {
    /// A member of its workspace cancelled it.
    Cancelled,
    /// A task failed as often as the job allows.
    TaskFailed,
    /// Nodes lost a task too often.
    TaskLost,
    /// It took longer than the job allows.
    Timeout,
    /// It had not begun when its queue's time for that had passed.
    QueueTimeout,
    /// The wallet cannot pay for what comes next.
    Credits,
    /// The workspace may store no more.
    Storage,
    /// Its source cannot be read, or gives no chunks.
    Source,
    /// Its destination does not take the results.
    Destination,
    /// A run that is a part of it failed, or cannot start.
    Part,
    /// Its plan cannot be followed.
    Plan,
    /// The server failed.
    Server,
}

impl Cause {
    pub fn new(kind: CauseKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl CauseKind {
    pub const ALL: [Self; 12] = [
        Self::Cancelled,
        Self::TaskFailed,
        Self::TaskLost,
        Self::Timeout,
        Self::QueueTimeout,
        Self::Credits,
        Self::Storage,
        Self::Source,
        Self::Destination,
        Self::Part,
        Self::Plan,
        Self::Server,
    ];

    /// The name under which it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::TaskFailed => "task_failed",
            Self::TaskLost => "task_lost",
            Self::Timeout => "timeout",
            Self::QueueTimeout => "queue_timeout",
            Self::Credits => "credits",
            Self::Storage => "storage",
            Self::Source => "source",
            Self::Destination => "destination",
            Self::Part => "part",
            Self::Plan => "plan",
            Self::Server => "server",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cause_names_are_unique_and_read_back() {
        for kind in CauseKind::ALL {
            assert_eq!(CauseKind::from_name(kind.as_str()), Some(kind));
        }
        assert_eq!(CauseKind::from_name(""), None);
    }
}
