//! The parts that the ledger is divided into.

use crate::ids::WorkspaceId;

/// One of 256 parts of the ledger. Each numbers its transfers by itself, and nobody but its writer
/// takes credits from its accounts, so that each may have a writer of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(u8);

impl Shard {
    pub const fn new(number: u8) -> Self {
        Self(number)
    }

    /// Where a workspace's wallet is. Rows are stored by it: it must never change.
    pub fn of(workspace: WorkspaceId) -> Self {
        // Most bytes of an id are random.
        Self(workspace.uuid().as_bytes().iter().fold(0, |sum, byte| sum ^ byte))
    }

    pub const fn number(self) -> u8 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use uuid::Uuid;

    use super::*;
    use crate::digest::Digest;

    #[test]
    fn shards_of_workspaces_are_stable_and_of_similar_sizes() {
        let known = "0192e4a0-7c1e-7b60-a1a5-0b2f3c4d5e6f".parse().unwrap();
        assert_eq!(Shard::of(known), Shard::new(0xce));

        let mut sizes: BTreeMap<Shard, u32> = BTreeMap::new();
        for n in 0..256 * 64_u32 {
            let random = Digest::of(&n.to_be_bytes());
            let id = Uuid::from_slice(&random.bytes()[..16]).unwrap();
            *sizes.entry(Shard::of(WorkspaceId::new(id))).or_default() += 1;
        }
        assert_eq!(sizes.len(), 256);
        assert!(sizes.values().all(|size| (16..160).contains(size)), "{sizes:?}");
    }
}
