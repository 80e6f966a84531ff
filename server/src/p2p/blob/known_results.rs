//! What this process has just seen stored, so that a receipt for it costs no look at the bucket.
//! Only a memory: what it has forgotten is looked up.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::digest::Digest;
use common::run::task::Lease;

/// The most files remembered; the leases that came first are forgotten first.
const FILES_MAX: usize = 200_000;

/// Clones share the memory.
#[derive(Clone)]
pub struct Stored {
    memory: Arc<Mutex<Memory>>,
    files_max: usize,
}

#[derive(Default)]
struct Memory {
    leases: HashMap<Lease, HashMap<Digest, u64>>,
    order: VecDeque<Lease>,
    files: usize,
}

impl Default for Stored {
    fn default() -> Self {
        Self { memory: Arc::default(), files_max: FILES_MAX }
    }
}

impl Stored {
    /// Whether it is known that this file of this size is stored.
    pub fn has(&self, lease: Lease, digest: Digest, size: u64) -> bool {
        self.lock().leases.get(&lease).and_then(|files| files.get(&digest)) == Some(&size)
    }

    pub fn remember(&self, lease: Lease, digest: Digest, size: u64) {
        let mut memory = self.lock();
        let Memory { leases, order, files } = &mut *memory;
        let of_lease = leases.entry(lease).or_insert_with(|| {
            order.push_back(lease);
            HashMap::new()
        });
        if of_lease.insert(digest, size).is_none() {
            *files += 1;
        }
        while *files > self.files_max
            && let Some(first) = order.pop_front()
        {
            *files -= leases.remove(&first).map_or(0, |forgotten| forgotten.len());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        // A half-made change at worst forgets.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use common::ids::RunId;
    use common::run::task::TaskRef;
    use common::testing::PROCESS;
    use uuid::Uuid;

    use super::*;

    fn lease(index: u32) -> Lease {
        let run = RunId::new(Uuid::from_u128(1));
        Lease { task: TaskRef { run, stage: PROCESS, index }, attempt: 1 }
    }

    #[test]
    fn known_results_match_by_lease_digest_and_size() {
        let stored = Stored::default();
        let digest = Digest::of(b"result");

        stored.remember(lease(0), digest, 6);
        stored.remember(lease(0), digest, 6);

        assert!(stored.has(lease(0), digest, 6));
        assert!(!stored.has(lease(0), digest, 7));
        assert!(!stored.has(lease(1), digest, 6));
        assert_eq!(stored.lock().files, 1);
    }

    #[test]
    fn known_results_forget_the_oldest_and_stay_small() {
        let stored = Stored { files_max: 3, ..Stored::default() };
        let digest = Digest::of(b"result");

        for index in 0..=3 {
            stored.remember(lease(index), digest, 6);
        }

        assert!(!stored.has(lease(0), digest, 6));
        assert!(stored.has(lease(3), digest, 6));
        let memory = stored.lock();
        assert_eq!((memory.files, memory.leases.len(), memory.order.len()), (3, 3, 3));
    }
}
