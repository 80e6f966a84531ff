//! Whose fault it is that an attempt gave no result, and what follows. One table decides for the
//! whole market: what counts against the task, who pays, who is set aside, and how long until the
//! next try.

use chrono::{DateTime, TimeDelta, Utc};

use crate::compute::exit;
use crate::digest::Digest;
use crate::ids::{NodeId, WorkspaceId};
use crate::market::tasks::active::Tries;
use crate::protocol::Failure;
use crate::run::task::Lease;

/// Why an attempt has ended without a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::market) enum Cause {
    /// Its node says so.
    Told(Failure),
    /// It succeeded without results, and the job asks for some.
    NoResults,
    /// Its node says that it is at fault itself.
    NodeFault,
    /// Its node held it for too long.
    Overdue,
    /// Its node is gone, has restarted, or is trusted no more.
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::market) enum Party {
    /// The customer's package: its code, its image, what it asks for.
    Package,
    /// The customer's data.
    Input,
    Node,
    Platform,
    /// It can be the customer's or the node's affair: another try tells.
    Nobody,
}

/// What counts up with the attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::market) enum Count {
    /// One of the attempts that the job allows; there are this many more, whatever it allows.
    Failure { retries_min: u32 },
    /// None of them; only very many end the run.
    Loss,
    /// The same, until nodes agree.
    LossUntilAgreed,
    /// Nothing where the node's operator is proven; else a loss, but not more than one in an hour.
    LossByTheHour,
}

/// What follows from a cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::market) struct Verdict {
    pub party: Party,
    pub count: Count,
    /// The customer pays for what the attempt used.
    pub is_paid: bool,
    /// It counts towards setting the node aside for this customer.
    pub strikes: bool,
    pub pause: Pause,
}

/// How the waits between the tries of a task grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::market) enum Pause {
    /// The second try is made at once: as a rule elsewhere.
    Short,
    /// Other nodes may be able to, if a little later.
    Medium,
    /// Something that all nodes need is in the way.
    Long,
}

/// Further attempts of a task whose image a node could not pull. The server found the image when
/// the run started, so one node's network may be the reason.
const PULL_RETRIES: u32 = 2;
/// An operator that is not proven may say for hours that the server gives nothing: so long an
/// outage may be. It cannot say so forever.
const BETWEEN_LOSSES: TimeDelta = TimeDelta::hours(1);
/// A container that was ended from outside on this many nodes ends by itself.
const NODES_TO_AGREE: usize = 2;
/// The same where no second node can try.
const TIMES_TO_AGREE: usize = 3;

impl Cause {
    /// The table.
    pub const fn verdict(self) -> Verdict {
        use Count::{Failure as Fails, Loss, LossByTheHour, LossUntilAgreed};
        use Failure as F;
        use Party::{Input, Nobody, Node, Package, Platform};
        use Pause::{Long, Medium, Short};

        const ONE: Count = Fails { retries_min: 0 };
        let (party, count, is_paid, strikes, pause) = match self {
            Self::Told(F::ExitCode(_) | F::Timeout | F::OutOfMemory | F::Results | F::Package) => {
                (Package, ONE, true, false, Short)
            }
            Self::Told(F::Input) => (Input, ONE, true, false, Short),
            Self::Told(F::Registry) => {
                (Nobody, Fails { retries_min: PULL_RETRIES }, true, false, Medium)
            }
            Self::Told(F::Source) => (Nobody, Loss, false, false, Long),
            Self::Told(F::Platform) => (Platform, LossByTheHour, false, false, Long),
            Self::Told(F::Damaged) => (Platform, ONE, false, false, Short),
            Self::Told(F::Killed) => (Nobody, LossUntilAgreed, false, false, Short),
            Self::NoResults => (Package, ONE, false, false, Short),
            Self::NodeFault | Self::Overdue => (Node, Loss, false, true, Short),
            Self::Gone => (Node, Loss, false, false, Short),
        };
        Verdict { party, count, is_paid, strikes, pause }
    }
}

impl Party {
    /// What a customer reads of it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Package => "its package is at fault",
            Self::Input => "its input is at fault",
            Self::Node => "its node is at fault, and it costs nothing",
            Self::Platform => "the server is at fault, and it costs nothing",
            Self::Nobody => "whose fault it is will show",
        }
    }
}

impl Pause {
    /// The wait after an attempt. It is drawn from the attempt's name, so that tasks which failed
    /// together do not all come back together.
    pub fn after(self, lease: Lease) -> TimeDelta {
        let (first, most, before) = match self {
            Self::Short => (1_000, 60_000, 2),
            Self::Medium => (2_000, 300_000, 1),
            Self::Long => (10_000, 600_000, 1),
        };
        let Some(doublings) = lease.attempt.checked_sub(before) else { return TimeDelta::zero() };
        let whole: u32 = 1_u32.checked_shl(doublings).map_or(most, |n| n.saturating_mul(first));
        let half = whole.min(most) / 2;
        let drawn = u32::from(Digest::of(lease.to_string().as_bytes()).bytes()[0]);
        TimeDelta::milliseconds(i64::from(half + half * drawn / 255))
    }
}

impl Tries {
    /// Whether a loss counts that nobody can check, and that may last for long.
    pub fn counts_by_the_hour(&mut self, now: DateTime<Utc>) -> bool {
        let counts = self.counted_at.is_none_or(|at| now - at >= BETWEEN_LOSSES);
        if counts {
            self.counted_at = Some(now);
        }
        counts
    }

    /// Notes that the task's container was ended from outside on this node, as far as it can tell.
    /// Gives whether that must be the container's own doing: two operators' nodes say so, or,
    /// where no other operator could try, two nodes, or one again and again.
    pub fn is_killed_by_itself(
        &mut self,
        node: NodeId,
        operator: WorkspaceId,
        others_could_try: bool,
    ) -> bool {
        self.killed_on.push((node, operator));
        let (mut nodes, mut operators): (Vec<_>, Vec<_>) = self.killed_on.iter().copied().unzip();
        nodes.sort_unstable();
        nodes.dedup();
        operators.sort_unstable();
        operators.dedup();
        operators.len() >= NODES_TO_AGREE
            || !others_could_try
                && (nodes.len() >= NODES_TO_AGREE || self.killed_on.len() >= TIMES_TO_AGREE)
    }
}

/// What happened, as the customer reads it. The message is the node's.
pub(in crate::market) fn describe(failure: Failure, message: &str) -> String {
    let what = match failure {
        Failure::ExitCode(code) => format!("it {}", exit::told(code)),
        Failure::Timeout => "it ran into the task timeout".to_owned(),
        Failure::OutOfMemory => "it needed more memory than it asked for".to_owned(),
        Failure::Results => "its results cannot be taken".to_owned(),
        Failure::Package => "its package cannot be run".to_owned(),
        Failure::Registry => "its image cannot be pulled".to_owned(),
        Failure::Input => "its input cannot be read".to_owned(),
        Failure::Source => "its input does not come".to_owned(),
        Failure::Platform => "the server did not give what it needs".to_owned(),
        Failure::Damaged => "what it runs is damaged".to_owned(),
        Failure::Killed => "its container was killed from outside, or killed itself".to_owned(),
    };
    // Cut to a line's length.
    let message: String = message.chars().take(500).collect();
    if message.is_empty() { what } else { format!("{what} ({message})") }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::ids::RunId;
    use crate::run::task::{StageNo, TaskRef};

    fn lease(index: u32, attempt: u32) -> Lease {
        let run = RunId::new(Uuid::from_u128(5));
        Lease { task: TaskRef { run, stage: StageNo::new(2), index }, attempt }
    }

    #[test]
    fn waits_grow_to_a_maximum_and_differ_between_tasks() {
        let wait = |attempt| Pause::Short.after(lease(0, attempt)).num_milliseconds();
        assert_eq!(wait(1), 0);
        assert!((500..=1_000).contains(&wait(2)), "{}", wait(2));
        assert!((2_000..=4_000).contains(&wait(4)), "{}", wait(4));
        for attempt in [9, 40, u32::MAX] {
            assert!((30_000..=60_000).contains(&wait(attempt)), "{}", wait(attempt));
        }
        let long = |attempt| Pause::Long.after(lease(0, attempt)).num_milliseconds();
        assert!((5_000..=10_000).contains(&long(1)) && (300_000..=600_000).contains(&long(99)));

        let waits: std::collections::BTreeSet<_> =
            (0..100).map(|index| Pause::Short.after(lease(index, 5))).collect();
        assert!(waits.len() > 50, "{}", waits.len());
    }

    #[test]
    fn kill_is_the_containers_fault_when_nodes_agree() {
        let node = |n| NodeId::new(Uuid::from_u128(n));
        let operator = |n| WorkspaceId::new(Uuid::from_u128(n));
        let verdicts = |said: &[(u128, u128, bool)]| {
            let mut tries = Tries::default();
            said.iter()
                .map(|(n, of, others)| tries.is_killed_by_itself(node(*n), operator(*of), *others))
                .collect::<Vec<_>>()
        };

        assert_eq!(verdicts(&[(1, 1, true), (2, 2, false)]), [false, true]);
        // One operator's many nodes prove nothing while another operator could try.
        assert_eq!(verdicts(&[(1, 1, true), (2, 1, true), (3, 1, false)]), [false, false, true]);
        assert_eq!(verdicts(&[(1, 1, false); 3]), [false, false, true]);
    }

    #[test]
    fn failure_without_customer_fault_costs_no_money_and_no_attempt() {
        for cause in [
            Cause::NodeFault,
            Cause::Overdue,
            Cause::Gone,
            Cause::Told(Failure::Platform),
            Cause::Told(Failure::Source),
            Cause::Told(Failure::Killed),
        ] {
            let verdict = cause.verdict();

            assert!(!verdict.is_paid, "{cause:?}");
            assert!(!matches!(verdict.count, Count::Failure { .. }), "{cause:?}");
        }
        for failure in [Failure::ExitCode(1), Failure::Package, Failure::Input, Failure::Source] {
            assert!(!Cause::Told(failure).verdict().strikes, "{failure:?}");
        }
    }
}
