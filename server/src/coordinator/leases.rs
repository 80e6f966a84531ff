//! Which node may touch what, right now: the leases as the blob door sees them.
//!
//! The coordinator writes here after each commit; the p2p hub reads for each blob request.

use std::sync::Arc;

use common::chunks::ChunkTable;
use common::ids::NodeId;
use common::spec::RunSpec;
use common::task::Lease;

/// A lease in force.
pub struct LiveLease {
    pub spec: Arc<RunSpec>,
    pub inputs: LiveInputs,
}

/// What the lease's task may read.
pub enum LiveInputs {
    /// The chunk of this number.
    Chunk { table: Arc<ChunkTable>, index: u32 },
    /// All objects of the source (a custom partitioner).
    Source { table: Arc<ChunkTable> },
    /// All accepted results of the process stage (a custom assembler), of so many tasks.
    Results { tasks: u32 },
}

/// The table of live leases; clones share it.
#[derive(Clone, Default)]
pub struct Leases {}

impl Leases {
    /// The lease, if `node` holds it at this very attempt.
    pub fn get(&self, node: NodeId, lease: Lease) -> Option<Arc<LiveLease>> {
        todo!()
    }
}
