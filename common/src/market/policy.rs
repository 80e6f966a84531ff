//! The numbers that the market's owner may turn.

use chrono::TimeDelta;

use super::calls::CallLimits;
use super::trust::checks::Checks;
use crate::money::price::TASK_TIMEOUT_SECS;

/// The numbers that the market's owner may turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The tasks of a node that is silent for this long are offered to others.
    pub lease: TimeDelta,
    /// The time for which a task without a shorter timeout is reserved when it is handed out; the
    /// reservation grows with a task that takes longer.
    pub estimate: TimeDelta,
    /// A task that has not begun to run on its node for this long goes elsewhere.
    pub start: TimeDelta,
    /// The same on a node of an operator that is not proven.
    pub start_unproven: TimeDelta,
    /// A task of an operator that is not proven goes elsewhere when it runs longer than this, and
    /// than eight times what the run's tasks take on average.
    pub straggler: TimeDelta,
    /// The same where it has not begun, once its run has nothing else to hand out.
    pub straggler_start: TimeDelta,
    /// The task timeout of jobs that give none, in seconds.
    pub task_timeout_secs: u32,
    pub checks: Checks,
    /// A task that this many nodes have lost is given up.
    pub losses_max: u32,
    /// This many faults in a row with one customer's tasks set a node aside for this customer; so
    /// many with several customers' make the server ask the node for a probe.
    pub strikes_max: u32,
    /// How long a node is set aside.
    pub aside: TimeDelta,
    /// A node that does not answer a probe within this time has failed it.
    pub probe: TimeDelta,
    /// A node that goes on to hold tasks of a cancelled run is waited for no longer.
    pub stop: TimeDelta,
    /// How many calls may be under way at once.
    pub calls: CallLimits,
    /// A call that the server itself has lost so often is given up: a few restarts are not enough.
    pub call_losses_max: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            lease: TimeDelta::seconds(30),
            estimate: TimeDelta::seconds(60),
            start: TimeDelta::hours(2),
            start_unproven: TimeDelta::minutes(10),
            straggler: TimeDelta::seconds(5),
            straggler_start: TimeDelta::seconds(60),
            task_timeout_secs: TASK_TIMEOUT_SECS,
            checks: Checks { percent: 2, key: [0; 32] },
            losses_max: 8,
            strikes_max: 3,
            aside: TimeDelta::seconds(60),
            probe: TimeDelta::seconds(60),
            stop: TimeDelta::minutes(10),
            calls: CallLimits::default(),
            call_losses_max: 32,
        }
    }
}
