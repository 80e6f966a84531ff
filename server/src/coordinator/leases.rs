//! Which node may touch what, right now: the leases as blob requests are checked against.
//!
//! The coordinator writes here after each commit; the p2p hub reads for each blob request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use common::data::chunk_table::ChunkTable;
use common::data::location::Source;
use common::digest::Digest;
use common::ids::NodeId;
use common::market::{Frozen, LeaseChange, Market};
use common::plan::{BlockId, Container, Phase, Reads};
use common::run::spec::RunSpec;
use common::run::task::{Lease, StageNo};

/// The most links that one attempt gets; the files of more pass through the server.
const LINKS_MAX: usize = 64;

/// A lease in force.
pub struct LiveLease {
    pub spec: Arc<RunSpec>,
    /// The block of the plan that its task is of.
    pub block: BlockId,
    pub inputs: LiveInputs,
    /// What the texts of its container read, where some are known only now.
    pub late: Option<Late>,
    pub stored: Stored,
    /// Its last lines can come when it has ended.
    pub log: Arc<AttemptLog>,
}

/// What the texts of a container read that are known only when its task begins.
pub struct Late {
    pub frozen: Arc<Frozen>,
    pub index: u32,
}

impl LiveLease {
    /// The container that its task runs in.
    pub fn container(&self) -> Option<&Container> {
        self.spec.plan.container_task(self.block).map(|task| &task.container)
    }

    /// The phase that its task is of.
    pub fn phase(&self) -> Option<Phase> {
        self.spec.plan.block(self.block).phase
    }

    /// Where the objects are from that its task reads.
    pub fn source(&self) -> &Source {
        let plan = &self.spec.plan;
        let reads = plan.container_task(self.block).map(|task| task.reads);
        let from = match reads {
            Some(Reads::Objects(from)) => Some(from),
            Some(Reads::Element) => plan.chunks_of(self.block),
            Some(Reads::Results(_) | Reads::Nothing) | None => None,
        };
        // What is cut from results lies in our own bucket.
        from.and_then(|from| plan.source_of(from)).unwrap_or(&Source::Bypass)
    }
}

/// How much of an attempt's log is stored; unknown where it may have been written to before the
/// server started.
#[derive(Debug)]
pub struct AttemptLog(Mutex<Option<LogEnd>>);

/// How long a log is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct LogEnd {
    /// The number of the line after the last.
    pub lines: u32,
    /// Of text.
    pub bytes: u64,
}

impl Default for AttemptLog {
    fn default() -> Self {
        Self(Mutex::new(Some(LogEnd::default())))
    }
}

impl AttemptLog {
    pub fn end(&self) -> Option<LogEnd> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set_end(&self, end: Option<LogEnd>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = end;
    }
}

/// How much has been stored under a lease, or is on its way. It goes with the lease.
#[derive(Debug, Default)]
pub struct Stored(Mutex<Amount>);

#[derive(Debug, Default, Clone)]
struct Amount {
    files: usize,
    bytes: u64,
    /// Of results that came with a receipt.
    small: u64,
    /// Files for which a link was given, by which they may come at any time; and whether they have
    /// come and are counted against the workspace's quota. How long they are is the node's word
    /// until then.
    linked: HashMap<Digest, bool>,
}

/// Whether a file may be stored by a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linked {
    Yes,
    /// There are enough links.
    Many,
    /// There is no room for it.
    Full,
}

impl Stored {
    /// Makes room for one more file, unless that would be too many or too much.
    pub fn reserve(&self, bytes: u64, files_max: usize, bytes_max: u64) -> bool {
        let mut amount = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = amount.bytes.saturating_add(bytes);
        if amount.files >= files_max || sum > bytes_max {
            return false;
        }
        (amount.files, amount.bytes) = (amount.files + 1, sum);
        true
    }

    /// Makes room for one more file, for which a link is given. It keeps its room, whether it comes
    /// or not.
    pub fn link(&self, file: Digest, bytes: u64, files_max: usize, bytes_max: u64) -> Linked {
        let mut amount = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if amount.linked.contains_key(&file) {
            return Linked::Yes;
        }
        let sum = amount.bytes.saturating_add(bytes);
        if amount.files >= files_max || sum > bytes_max {
            return Linked::Full;
        }
        if amount.linked.len() == LINKS_MAX {
            return Linked::Many;
        }
        amount.linked.insert(file, false);
        (amount.files, amount.bytes) = (amount.files + 1, sum);
        Linked::Yes
    }

    /// Marks a file that came by a link as counted. False where it is, or came in another way.
    pub fn count_linked(&self, file: Digest) -> bool {
        let mut amount = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = amount.linked.get_mut(&file);
        counted.is_some_and(|counted| !std::mem::replace(counted, true))
    }

    /// The file was not counted in the end.
    pub fn uncount_linked(&self, file: Digest) {
        let mut amount = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counted) = amount.linked.get_mut(&file) {
            *counted = false;
        }
    }

    /// How many bytes, of those that came with a receipt, are not counted yet: a receipt may come
    /// again.
    pub fn uncounted(&self, bytes: u64) -> u64 {
        let amount = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.saturating_sub(amount.small)
    }

    /// So many bytes of those that came with a receipt are counted.
    pub fn set_counted(&self, bytes: u64) {
        let mut amount = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        amount.small = amount.small.max(bytes);
    }

    /// A file that was reserved for has not come.
    pub fn give_back(&self, bytes: u64) {
        let mut amount = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        amount.files = amount.files.saturating_sub(1);
        amount.bytes = amount.bytes.saturating_sub(bytes);
    }
}

/// What the lease's task may read.
pub enum LiveInputs {
    /// The chunk of this number.
    Chunk {
        table: Arc<ChunkTable>,
        index: u32,
    },
    /// All objects of the source (a custom partitioner).
    Source {
        table: Arc<ChunkTable>,
    },
    /// All accepted results of a stage (a custom assembler), of this many tasks.
    Results {
        stage: StageNo,
        tasks: u32,
    },
    None,
}

type Live = HashMap<(NodeId, Lease), Arc<LiveLease>>;

/// The table of live leases; clones share it.
#[derive(Clone, Default)]
pub struct Leases(Arc<RwLock<Live>>);

impl Leases {
    /// The lease, if `node` holds it at this very attempt.
    pub fn get(&self, node: NodeId, lease: Lease) -> Option<Arc<LiveLease>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&(node, lease)).cloned()
    }

    /// What is stored of the logs of all these attempts has to be looked up.
    pub(super) fn forget_logs(&self) {
        let live = self.0.read().unwrap_or_else(PoisonError::into_inner);
        live.values().for_each(|lease| lease.log.set_end(None));
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Follows the market. What was granted and ended within one batch leaves nothing.
    pub(super) fn apply(&self, changes: &[LeaseChange], market: &Market) {
        if changes.is_empty() {
            return;
        }
        let mut live = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            match *change {
                LeaseChange::Granted { node, lease } => {
                    if let Some(lived) = inputs(market, lease) {
                        live.insert((node, lease), Arc::new(lived));
                    }
                }
                LeaseChange::Ended { node, lease } => {
                    live.remove(&(node, lease));
                }
            }
        }
    }
}

fn inputs(market: &Market, lease: Lease) -> Option<LiveLease> {
    let run = market.run(lease.task.run)?;
    let stage = run.stage(lease.task.stage)?;
    let work = run.spec.plan.container_task(stage.block)?;
    let inputs = match work.reads {
        Reads::Element => {
            let table = Arc::clone(stage.tasks()?.table()?);
            LiveInputs::Chunk { table, index: lease.task.index }
        }
        Reads::Objects(from) => LiveInputs::Source { table: Arc::clone(run.table(from)?) },
        Reads::Results(of) => LiveInputs::Results { stage: of.stage(), tasks: run.tasks_of(of) },
        Reads::Nothing => LiveInputs::None,
    };
    let late = (!work.container.late().is_empty()).then(|| run.frozen(stage.no)).flatten();
    let late = late.map(|frozen| Late { frozen: Arc::clone(frozen), index: lease.task.index });
    let (spec, block) = (Arc::clone(&run.spec), stage.block);
    let (stored, log) = (Stored::default(), AttemptLog::default());
    Some(LiveLease { spec, block, inputs, late, stored, log: Arc::new(log) })
}
