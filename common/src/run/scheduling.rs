//! What a customer says of a run beside its work: when it may begin, how urgent it is, where it
//! may run, and whether it is only a test.

use std::num::NonZeroU32;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::compute::container::Sharing;
use crate::ids::QueueId;
use crate::run::queue::InQueue;

/// A test run processes this many chunks, the first ones: enough to see that results are folded.
pub const TEST_CHUNKS: NonZeroU32 = NonZeroU32::new(2).expect("two is not zero");

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// Its work begins no earlier; `None` is at once.
    pub start_at: Option<DateTime<Utc>>,
    pub priority: Priority,
    pub regions: Regions,
    /// Only its first `TEST_CHUNKS` chunks are processed, at the usual price.
    pub is_test: bool,
    /// `None` is no named queue: it is in no order of ranks.
    #[serde(default)]
    pub queue: Option<InQueue>,
    /// The project whose spend cap it is under, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// With which other tasks of the workspace its own may share containers.
    #[serde(default, skip_serializing_if = "Sharing::is_default")]
    pub sharing: Sharing,
}

impl Terms {
    pub fn queue_id(&self) -> Option<QueueId> {
        self.queue.as_ref().map(|queue| queue.id)
    }
}

/// How urgent a job is: how large a share of the nodes it gets while others wait too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    #[default]
    Undefined,
    Cheap,
    Balanced,
    Fast,
}

impl Priority {
    pub const ALL: [Self; 4] = [Self::Undefined, Self::Cheap, Self::Balanced, Self::Fast];
    /// The largest weight.
    pub const WEIGHT_MAX: u8 = 4;

    /// Its share beside others that wait.
    pub const fn weight(self) -> u8 {
        match self {
            Self::Fast => Self::WEIGHT_MAX,
            Self::Balanced | Self::Undefined => 2,
            Self::Cheap => 1,
        }
    }

    /// The number that stands for the priority in the database.
    pub const fn number(self) -> i16 {
        match self {
            Self::Undefined => 0,
            Self::Cheap => 1,
            Self::Balanced => 2,
            Self::Fast => 3,
        }
    }

    pub fn from_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.number() == number)
    }
}

/// Which of the open blocks of one run get nodes first: those with the larger number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct TaskPriority(u8);

/// Why a number is no priority of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be from 0 to {}", TaskPriority::MAX)]
pub struct InvalidTaskPriority;

impl TaskPriority {
    /// The largest.
    pub const MAX: u8 = 9;

    /// Whether nothing was asked for.
    pub const fn is_usual(&self) -> bool {
        self.0 == 0
    }
}

impl TryFrom<u8> for TaskPriority {
    type Error = InvalidTaskPriority;

    fn try_from(number: u8) -> Result<Self, InvalidTaskPriority> {
        if number <= Self::MAX { Ok(Self(number)) } else { Err(InvalidTaskPriority) }
    }
}

impl From<TaskPriority> for u8 {
    fn from(TaskPriority(number): TaskPriority) -> Self {
        number
    }
}

/// Where a job may run. A name stands for the region of that name and for those that begin with
/// it and a dash: `eu` for `eu-central-1` too. Upper and lower case are the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Regions {
    /// Only there; empty is everywhere.
    pub whitelist: Vec<String>,
    /// Not there.
    pub blacklist: Vec<String>,
}

impl Regions {
    /// Whether a node in this region may serve. One that says nothing (empty) is in no region.
    pub fn admit(&self, region: &str) -> bool {
        let named = |names: &[String]| names.iter().any(|name| covers(name, region));
        (self.whitelist.is_empty() || named(&self.whitelist)) && !named(&self.blacklist)
    }
}

fn covers(name: &str, region: &str) -> bool {
    let name = name.trim();
    let (head, tail) = region.split_at_checked(name.len()).unwrap_or_default();
    !name.is_empty()
        && head.eq_ignore_ascii_case(name)
        && (tail.is_empty() || tail.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priority_reads_back_from_its_number() {
        for priority in Priority::ALL {
            assert_eq!(Priority::from_number(priority.number()), Some(priority));
        }
    }

    #[test]
    fn regions_match_by_name_and_by_prefix() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let admit = |whitelist: &[&str], blacklist: &[&str], region: &str| {
            Regions { whitelist: list(whitelist), blacklist: list(blacklist) }.admit(region)
        };

        for (whitelist, blacklist, region, expected) in [
            (&[][..], &[][..], "", true),
            (&[], &[], "eu-central-1", true),
            (&["eu"], &[], "eu-central-1", true),
            (&["EU-Central-1 "], &[], "eu-central-1", true),
            (&["us", "eu-central-1"], &[], "eu-central-1", true),
            (&["eu"], &[], "europe", false),
            (&["eu-central-1"], &[], "eu", false),
            (&["eu"], &[], "", false),
            (&[""], &[], "eu", false),
            (&["é"], &[], "e", false),
            (&[], &["eu"], "eu-west-1", false),
            (&[], &["eu"], "", true),
            (&["eu"], &["eu-west"], "eu-west-1", false),
        ] {
            let found = admit(whitelist, blacklist, region);
            assert_eq!(found, expected, "{whitelist:?} {blacklist:?} {region:?}");
        }
    }
}
