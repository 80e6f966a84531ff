//! What happens, and what is counted of it.

use std::sync::Arc;

use common::ids::{QueueId, RunId};
use common::market::{CheckedSync, Fire, Frozen};
use common::protocol::Orders;
use common::run::task::{Lease, StageNo};
use common::schedule::Schedule;

pub(super) enum Event {
    Ask(usize),
    Cancel(RunId),
    Grant,
    /// Customers set what their projects may spend.
    SetCaps,
    Rich,
    Heard {
        node: u32,
        heard: Box<CheckedSync>,
    },
    Told {
        node: u32,
        incarnation: u64,
        orders: Orders,
    },
    Timer {
        node: u32,
        timer: u64,
    },
    Ends {
        node: u32,
        incarnation: u64,
        lease: Lease,
    },
    Dies(u32),
    Returns(u32),
    Silence(u32),
    /// All nodes are cut off for this many milliseconds.
    Blackout(u32),
    Step {
        starts: u32,
        run: RunId,
        no: StageNo,
        part: u32,
    },
    /// The expressions of a stage have been evaluated.
    Answer {
        starts: u32,
        frozen: Arc<Frozen>,
    },
    /// An attempt of a call ends.
    CallEnds {
        starts: u32,
        lease: Lease,
    },
    /// A customer asks for the results once more.
    Deliver(RunId),
    /// A customer wants a run to go on that has ended.
    Retry(RunId),
    SetSchedule(usize),
    PauseSchedule(usize),
    ResumeSchedule(usize),
    RemoveSchedule(usize),
    ChangeQueue(QueueId),
    Fire {
        starts: u32,
        fire: Fire,
    },
    Fired {
        starts: u32,
        schedule: Box<Schedule>,
    },
    Tick {
        starts: u32,
    },
    Commit {
        starts: u32,
    },
    Kill,
    Start,
    Heal,
}

/// What has happened, to see that a simulation is worth its name.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub events: u64,
    pub kills: u64,
    pub complete: u64,
    pub failed: u64,
    pub cancelled: u64,
    /// How often what is stored was compared with what is in memory.
    pub restarts_compared: u64,
    /// How often an operator was found to have given false results.
    pub convicted: u64,
    /// How often results were delivered again.
    pub again: u64,
    /// How often a run went on that had failed or was cancelled.
    pub retried: u64,
    /// Nominal times of schedules that made runs, and that made none.
    pub fired: u64,
    pub skipped: u64,
    /// Containers that ended while their node was cut off.
    pub unheard: u64,
    /// Attempts that were given up because their node went silent.
    pub losses: u64,
    /// Blocks whose conditions were false, and values of blocks that were kept.
    pub omitted: u64,
    pub values: u64,
    /// Requests that receivers got, and those of them whose answers the server never got.
    pub calls: u64,
    pub calls_lost: u64,
}
