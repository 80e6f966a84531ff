//! How far a job is, in one word.

use super::RunState;
use crate::plan::Phase;

/// How far a job is, in the order of its life: what it is doing, or how it ended. No job rests at
/// `Processed` and `Assembled`; they are reached when the next phase begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Milestone {
    /// It has no run.
    Draft,
    /// Accepted, and no phase has begun.
    Started,
    Fetching,
    Partitioning,
    Processing,
    Processed,
    Assembling,
    Assembled,
    Delivering,
    Succeeded,
    /// It failed, or was cancelled.
    Failed,
}

impl Milestone {
    pub const ALL: [Self; 11] = [
        Self::Draft,
        Self::Started,
        Self::Fetching,
        Self::Partitioning,
        Self::Processing,
        Self::Processed,
        Self::Assembling,
        Self::Assembled,
        Self::Delivering,
        Self::Succeeded,
        Self::Failed,
    ];

    /// Where a run in this state and phase is.
    pub const fn of_run(state: RunState, phase: Option<Phase>) -> Self {
        match (state, phase) {
            (RunState::Running, Some(phase)) => Self::of_phase(phase),
            (RunState::Scheduled | RunState::Accepted | RunState::Running, _) => Self::Started,
            (RunState::Succeeded, _) => Self::Succeeded,
            (RunState::Ending | RunState::Failed | RunState::Cancelled, _) => Self::Failed,
        }
    }

    /// Where a run is while this phase is under way.
    pub const fn of_phase(phase: Phase) -> Self {
        match phase {
            Phase::Fetch => Self::Fetching,
            Phase::Partition => Self::Partitioning,
            Phase::Process => Self::Processing,
            Phase::Assemble => Self::Assembling,
            Phase::Deliver => Self::Delivering,
        }
    }

    /// What is reached when this phase begins.
    pub const fn reached_with(phase: Phase) -> Option<Self> {
        match phase {
            Phase::Assemble => Some(Self::Processed),
            Phase::Deliver => Some(Self::Assembled),
            Phase::Fetch | Phase::Partition | Phase::Process => None,
        }
    }

    /// Its place in [`Self::ALL`].
    pub const fn number(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milestones_are_numbered_in_the_order_of_a_jobs_life() {
        for (number, milestone) in Milestone::ALL.into_iter().enumerate() {
            assert_eq!(milestone.number(), number);
        }
        let phases = Phase::ALL.into_iter().flat_map(|phase| {
            Milestone::reached_with(phase).into_iter().chain([Milestone::of_phase(phase)])
        });
        let (running, ended) = (RunState::Running, RunState::Succeeded);
        let life: Vec<_> = [Milestone::Draft, Milestone::of_run(running, None)]
            .into_iter()
            .chain(phases)
            .chain([Milestone::of_run(ended, None), Milestone::of_run(RunState::Failed, None)])
            .collect();

        assert_eq!(life, Milestone::ALL);
    }
}
