//! Named queues: the order in which a workspace wants its own runs to be served, how many of their
//! tasks may run at once, and on which nodes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{QueueId, WorkspaceId};
use crate::run::scheduling::Regions;

/// The place of a queue among those of its workspace: the lower one is served first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Rank(u16);

/// The number cannot be a rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be between {} and {}, and the lower one is served first", Rank::FIRST.0, Rank::LAST.0)]
pub struct NotARank;

impl Rank {
    pub const FIRST: Self = Self(1);
    pub const LAST: Self = Self(1000);
    /// That of a queue which is given none.
    pub const MIDDLE: Self = Self(500);

    pub const fn new(number: u16) -> Option<Self> {
        if number >= Self::FIRST.0 && number <= Self::LAST.0 { Some(Self(number)) } else { None }
    }

    pub const fn number(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for Rank {
    type Error = NotARank;

    fn try_from(number: u16) -> Result<Self, NotARank> {
        Self::new(number).ok_or(NotARank)
    }
}

impl From<Rank> for u16 {
    fn from(rank: Rank) -> Self {
        rank.0
    }
}

/// A name of a queue, a pool or a definition: letters, digits, hyphens and underscores.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(String);

/// The text cannot be a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to {} letters, digits, hyphens and underscores", Label::CHARS_MAX)]
pub struct NotALabel;

impl Label {
    pub const CHARS_MAX: usize = 64;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Label {
    type Error = NotALabel;

    fn try_from(text: String) -> Result<Self, NotALabel> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let fits = (1..=Self::CHARS_MAX).contains(&text.len()) && text.bytes().all(is_plain);
        if fits { Ok(Self(text)) } else { Err(NotALabel) }
    }
}

impl FromStr for Label {
    type Err = NotALabel;

    fn from_str(text: &str) -> Result<Self, NotALabel> {
        text.to_owned().try_into()
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What decides when the runs of a queue are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueRules {
    pub workspace: WorkspaceId,
    pub rank: Rank,
    /// The most of its tasks that nodes may hold at once; 0 is no limit.
    pub max_running: u32,
    /// A queue that is not enabled takes no new runs and hands out nothing.
    pub is_enabled: bool,
    /// A paused queue takes runs and hands out nothing.
    pub is_paused: bool,
}

/// Why a queue hands out nothing now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueStop {
    Disabled,
    Paused,
    /// As many of its tasks are under lease as its limit, this number, allows.
    Full(u32),
}

impl QueueRules {
    /// Why nothing is handed out while this many of its tasks are under lease.
    pub const fn stop(&self, running: u32) -> Option<QueueStop> {
        if !self.is_enabled {
            Some(QueueStop::Disabled)
        } else if self.is_paused {
            Some(QueueStop::Paused)
        } else if self.max_running > 0 && running >= self.max_running {
            Some(QueueStop::Full(self.max_running))
        } else {
            None
        }
    }
}

/// The queue of a run, and what of it is pinned when the run starts: later changes of these touch
/// the next run only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InQueue {
    pub id: QueueId,
    /// A run that has not begun so long after it was accepted fails.
    #[serde(default)]
    pub timeout_secs: Option<u32>,
    /// Its tasks go to nodes of any of these; none is all nodes.
    #[serde(default)]
    pub pools: Vec<Pool>,
}

/// Which nodes are in a pool.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// Only the workspace's own.
    #[serde(default)]
    pub own_nodes: bool,
    #[serde(default)]
    pub regions: Regions,
}

impl Pool {
    /// Whether a node of this operator, in this region, is in the pool of this workspace.
    pub fn has(&self, workspace: WorkspaceId, operator: WorkspaceId, region: &str) -> bool {
        (!self.own_nodes || operator == workspace) && self.regions.admit(region)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn labels_are_short_and_plain() {
        for text in ["a", "my-queue", "A_1", &"x".repeat(64)] {
            assert_eq!(text.parse::<Label>().map(String::from), Ok(text.to_owned()));
        }
        for text in ["", "a b", "a:b", "ä", &"x".repeat(65)] {
            assert_eq!(text.parse::<Label>(), Err(NotALabel), "{text}");
        }
    }

    #[test]
    fn ranks_are_bounded_and_lower_comes_first() {
        assert_eq!(Rank::try_from(0), Err(NotARank));
        assert_eq!(Rank::try_from(1001), Err(NotARank));
        assert!(Rank::new(1) < Rank::new(1000));
    }

    #[test]
    fn queue_stops_for_the_first_reason() {
        let workspace = WorkspaceId::new(Uuid::nil());
        let rank = Rank::FIRST;
        let rules = |max_running, is_enabled, is_paused| QueueRules {
            workspace,
            rank,
            max_running,
            is_enabled,
            is_paused,
        };

        for (rules, running, expected) in [
            (rules(0, true, false), u32::MAX, None),
            (rules(2, true, false), 1, None),
            (rules(2, true, false), 2, Some(QueueStop::Full(2))),
            (rules(2, true, true), 2, Some(QueueStop::Paused)),
            (rules(2, false, true), 2, Some(QueueStop::Disabled)),
        ] {
            assert_eq!(rules.stop(running), expected, "{rules:?} {running}");
        }
    }
}
