//! Typed ids: a UUID that remembers what it names.
//!
//! ```
//! use common::ids::{JobId, NotAnId, RunId};
//!
//! let job: JobId = "0192e4a0-7c1e-7b60-a1a5-0b2f3c4d5e6f".parse()?;
//!
//! // A run's id follows from its job and its number, so a start that is repeated changes nothing.
//! assert_eq!(RunId::of_job(job, 1), RunId::of_job(job, 1));
//! assert_ne!(RunId::of_job(job, 1), RunId::of_job(job, 2));
//! assert!("job-7".parse::<JobId>().is_err());
//! # Ok::<(), NotAnId>(())
//! ```

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::digest::Digest;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $noun:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            pub const fn new(uuid: Uuid) -> Self {
                Self(uuid)
            }

            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($noun, " {}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                Uuid::try_parse(text).map(Self).map_err(|_| NotAnId($noun))
            }
        }
    };
}

/// The text is not a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a {0} id is a UUID, such as 0192e4a0-7c1e-7b60-a1a5-0b2f3c4d5e6f")]
pub struct NotAnId(&'static str);

id!(
    /// The tenant: members, API keys, one wallet.
    WorkspaceId,
    "workspace"
);
id!(UserId, "user");
id!(ApiKeyId, "api key");
id!(InvitationId, "invitation");
id!(
    /// A workspace's named queue of runs.
    QueueId,
    "queue"
);
id!(
    /// A selection of nodes.
    PoolId,
    "pool"
);
id!(
    /// One version of a definition of jobs.
    DefinitionId,
    "definition"
);
id!(
    /// The customer's order.
    JobId,
    "job"
);
id!(
    /// One execution of a job.
    RunId,
    "run"
);
id!(
    /// A donor machine; bound to its libp2p key when it joins.
    NodeId,
    "node"
);
id!(
    /// An app or an engine at one version.
    PackageId,
    "package"
);
id!(
    /// A task, among all there ever were: see `TaskRef::id`.
    TaskId,
    "task"
);
id!(TransferId, "transfer");
id!(
    /// One redeeming of a coupon by a workspace.
    RedemptionId,
    "redemption"
);
id!(
    /// A request that brings credits in or takes them out: a top-up or a payout.
    RequestId,
    "request"
);

impl RunId {
    /// The run of this number of a job: always the same, so that it cannot be started twice. It
    /// sorts with its job.
    pub fn of_job(job: JobId, number: u32) -> Self {
        Self(derived(&format!("fanfold job {job} run {number}"), Some(time_of(job.0))))
    }

    /// The run of a job for this time of its schedule: always the same, so that it cannot be
    /// started twice. It sorts by this time.
    pub fn of_fire(job: JobId, at: DateTime<Utc>) -> Self {
        let text = format!("fanfold job {job} at {}", at.timestamp_micros());
        let mut time = [0; 6];
        time.copy_from_slice(&at.timestamp_millis().to_be_bytes()[2..]);
        Self(derived(&text, Some(time)))
    }

    /// The run that stage `stage` of this one waits for: always the same, so that it cannot be
    /// started twice. It sorts with its parent.
    pub fn of_child(self, stage: u32) -> Self {
        Self(derived(&format!("fanfold run {self} stage {stage}"), Some(time_of(self.0))))
    }

    /// The run that tells callback `n` of this one that it ended then: a run that is taken up
    /// again ends again. It sorts with the run that it tells of.
    pub fn of_callback(self, n: u32, ended_at: DateTime<Utc>) -> Self {
        let at = ended_at.timestamp_micros();
        Self(derived(&format!("fanfold run {self} callback {n} at {at}"), Some(time_of(self.0))))
    }

    /// The run that tells a receiver what has become of a block of this one.
    pub fn of_block_callback(self, n: u32, block: u16, at: DateTime<Utc>) -> Self {
        let at = at.timestamp_micros();
        let text = format!("fanfold run {self} callback {n} of block {block} at {at}");
        Self(derived(&text, Some(time_of(self.0))))
    }
}

impl NodeId {
    /// The node with this libp2p peer id: the same each time it joins, and known to the node
    /// before it does.
    pub fn of_peer(peer: &str) -> Self {
        Self(derived(&format!("fanfold node {peer}"), None))
    }
}

/// The time of a UUID of version 7.
fn time_of(id: Uuid) -> [u8; 6] {
    let mut time = [0; 6];
    time.copy_from_slice(&id.as_bytes()[..6]);
    time
}

/// A UUID that follows from a text, and sorts with those of version 7 of this time.
fn derived(text: &str, time: Option<[u8; 6]>) -> Uuid {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&Digest::of(text.as_bytes()).bytes()[..16]);
    if let Some(time) = time {
        bytes[..6].copy_from_slice(&time);
    }
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_reads_back_what_it_prints() {
        let id = JobId::new(Uuid::from_u128(7));

        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("job-7".parse::<JobId>().is_err());
    }

    #[test]
    fn run_id_follows_from_its_job_and_its_number() {
        let job = JobId::new(Uuid::from_u128(7 << 100));
        let other = JobId::new(Uuid::from_u128(8 << 100));
        let first = RunId::of_job(job, 1);

        assert_eq!(first, RunId::of_job(job, 1));
        assert_ne!(first, RunId::of_job(job, 2));
        assert_ne!(first, RunId::of_job(other, 1));
        assert!(RunId::of_job(job, 2) < RunId::of_job(other, 1));
    }

    #[test]
    fn run_id_of_a_fire_follows_from_its_time_and_sorts_by_it() {
        let job = JobId::new(Uuid::now_v7());
        let at = |secs| DateTime::from_timestamp(secs, 0).unwrap();
        let first = RunId::of_fire(job, at(1_800_000_000));

        assert_eq!(first, RunId::of_fire(job, at(1_800_000_000)));
        assert_ne!(first, RunId::of_fire(JobId::new(Uuid::now_v7()), at(1_800_000_000)));
        assert!(first < RunId::of_fire(job, at(1_800_000_060)));
    }

    #[test]
    fn node_id_follows_from_the_peer_id() {
        assert_eq!(NodeId::of_peer("12D3a"), NodeId::of_peer("12D3a"));
        assert_ne!(NodeId::of_peer("12D3a"), NodeId::of_peer("12D3b"));
        assert_eq!(NodeId::of_peer("12D3a").uuid().get_version_num(), 8);
    }
}
