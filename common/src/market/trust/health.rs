//! Whether a node works: its faults with customers' tasks, and what a probe of our own says.
//!
//! A customer's image or data can make a node fail, so faults with customers' tasks set a node
//! aside for these customers alone. Only a failed probe sets it aside for everybody.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::ids::{NodeId, WorkspaceId};
use crate::market::{Market, Policy};
use crate::protocol::Probe;

/// Faults with one customer's tasks are in a row if no more than this many times the time for which
/// a node is set aside has passed since the last.
const MEMORY: i32 = 10;

#[derive(Debug, Default)]
pub(in crate::market) struct Health {
    /// Since the last success with the customer's tasks.
    strikes: BTreeMap<WorkspaceId, Strikes>,
    /// Faults since the last success or probe, whosever tasks they were.
    faults: u32,
    /// Whose task the first of them was.
    first: Option<WorkspaceId>,
    /// They were of several customers.
    several: bool,
    probe: State,
}

#[derive(Debug, Clone, Copy)]
struct Strikes {
    in_a_row: u32,
    last: DateTime<Utc>,
    /// The node gets no tasks of this customer until then.
    aside: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Copy, Default)]
enum State {
    #[default]
    NotAsked,
    /// The node has time until then. It goes on serving, unless it failed its last probe.
    Asked { until: DateTime<Utc>, failed_before: bool },
    /// It is asked again then.
    Failed { again: DateTime<Utc> },
    /// It passed, and is not asked again before then.
    Passed { rest: DateTime<Utc> },
}

impl Health {
    pub fn is_aside(&self, customer: WorkspaceId, now: DateTime<Utc>) -> bool {
        self.has_failed_probe()
            || self.strikes.get(&customer).is_some_and(|strikes| strikes.is_aside(now))
    }

    /// When it gets the tasks of all customers again, where it gets those of some not now.
    pub fn aside_until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.strikes.values().filter_map(|strikes| strikes.aside).filter(|until| *until > now).max()
    }

    /// Whether there are customers whose tasks the node does not get.
    pub fn is_aside_for_some(&self, now: DateTime<Utc>) -> bool {
        self.has_failed_probe() || self.strikes.values().any(|strikes| strikes.is_aside(now))
    }

    /// Whether the node is set aside for everybody.
    pub const fn has_failed_probe(&self) -> bool {
        matches!(self.probe, State::Failed { .. } | State::Asked { failed_before: true, .. })
    }

    /// Whether the node owes the result of a probe.
    pub const fn wants_probe(&self) -> bool {
        matches!(self.probe, State::Asked { .. })
    }

    /// The node has done a task of this customer: it works.
    pub fn succeed(&mut self, customer: WorkspaceId) {
        self.strikes.remove(&customer);
        self.forget_faults();
    }

    /// Counts a fault with a task of this customer.
    fn strike(&mut self, customer: WorkspaceId, policy: Policy, now: DateTime<Utc>) {
        let memory = now - policy.aside * MEMORY;
        self.strikes.retain(|_, strikes| strikes.last > memory);
        let fresh = Strikes { in_a_row: 0, last: now, aside: None };
        let strikes = self.strikes.entry(customer).or_insert(fresh);
        strikes.last = now;
        strikes.in_a_row += 1;
        if strikes.in_a_row >= policy.strikes_max {
            *strikes = Strikes { aside: Some(now + policy.aside), ..fresh };
        }
        self.faults = self.faults.saturating_add(1);
        self.several |= *self.first.get_or_insert(customer) != customer;
        let may_ask = match self.probe {
            State::NotAsked => true,
            State::Passed { rest } => rest <= now,
            State::Asked { .. } | State::Failed { .. } => false,
        };
        if may_ask && self.several && self.faults >= policy.strikes_max {
            self.probe = State::Asked { until: now + policy.probe, failed_before: false };
        }
    }

    /// Takes what the node says of its probe. What was not asked for changes nothing.
    pub fn take_probe(&mut self, probe: &Probe, policy: Policy, now: DateTime<Utc>) {
        if !self.wants_probe() {
            return;
        }
        match probe {
            Probe::Running => {}
            Probe::Passed => {
                self.forget_faults();
                self.probe = State::Passed { rest: now + policy.aside };
            }
            Probe::Failed { .. } => self.probe = State::Failed { again: now + policy.aside },
        }
    }

    /// Ends the patience with a probe, and asks again a node that failed one.
    fn tick(&mut self, policy: Policy, now: DateTime<Utc>) {
        match self.probe {
            State::Asked { until, .. } if until <= now => {
                self.probe = State::Failed { again: now + policy.aside };
            }
            State::Failed { again } if again <= now => {
                self.probe = State::Asked { until: now + policy.probe, failed_before: true };
            }
            State::NotAsked | State::Asked { .. } | State::Failed { .. } | State::Passed { .. } => {
            }
        }
    }

    /// Gives the node more time for its probe, up to `most`.
    pub fn extend_probe(&mut self, gap: TimeDelta, most: DateTime<Utc>) {
        if let State::Asked { until, .. } = &mut self.probe {
            *until = (*until + gap).min(most);
        }
    }

    fn forget_faults(&mut self) {
        (self.faults, self.first, self.several) = (0, None, false);
    }
}

impl Strikes {
    fn is_aside(&self, now: DateTime<Utc>) -> bool {
        self.aside.is_some_and(|until| until > now)
    }
}

impl Market {
    /// Counts a fault of the node's own with a customer's task.
    pub(in crate::market) fn strike(
        &mut self,
        id: NodeId,
        customer: WorkspaceId,
        now: DateTime<Utc>,
    ) {
        let policy = self.policy;
        if let Some(node) = self.nodes.get_mut(&id) {
            node.health.strike(customer, policy, now);
        }
    }

    pub(in crate::market) fn follow_probes(&mut self, now: DateTime<Utc>) {
        for node in self.nodes.values_mut() {
            node.health.tick(self.policy, now);
        }
    }
}
