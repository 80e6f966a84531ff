//! The calls that are under way, counted by what limits them.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::call::{Flow, Rate};
use crate::ids::WorkspaceId;

/// What limits calls in common: their workspace, the host that they go to, and the key that their
/// customer has given them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::market) struct Lane {
    pub workspace: WorkspaceId,
    pub host: String,
    /// The key of the customer's own limits, where it has set some.
    pub key: Option<String>,
}

/// How many calls may be under way at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallLimits {
    pub all: u32,
    pub workspace: u32,
    /// To one host, of all workspaces together.
    pub host: u32,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self { all: 256, workspace: 64, host: 16 }
    }
}

/// Why a call is not begun now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallLimit {
    /// So many are under way in all.
    All(u32),
    Workspace(u32),
    Host(u32),
    /// So many with the key of the customer's own limit.
    Key(u32),
    /// The customer's own rate allows the next one then.
    Rate(DateTime<Utc>),
}

/// Limits by a customer's key are its own.
type Key = (WorkspaceId, String);

#[derive(Debug, Default)]
pub(super) struct InFlight {
    all: u32,
    workspaces: BTreeMap<WorkspaceId, u32>,
    hosts: BTreeMap<String, u32>,
    keys: BTreeMap<Key, KeyUse>,
}

#[derive(Debug)]
struct KeyUse {
    in_flight: u32,
    /// When all calls that were begun would have been, one after the other at the rate.
    used_until: DateTime<Utc>,
}

impl Lane {
    pub(super) fn limit_key(&self) -> Option<Key> {
        self.key.as_ref().map(|key| (self.workspace, key.clone()))
    }
}

impl InFlight {
    pub const fn all(&self) -> u32 {
        self.all
    }

    pub fn of_workspace(&self, workspace: WorkspaceId) -> u32 {
        self.workspaces.get(&workspace).copied().unwrap_or(0)
    }

    pub fn of_host(&self, host: &str) -> u32 {
        self.hosts.get(host).copied().unwrap_or(0)
    }

    pub fn of_key(&self, key: &Key) -> u32 {
        self.keys.get(key).map_or(0, |of| of.in_flight)
    }

    /// What keeps a call of this lane from beginning now.
    pub fn limit(
        &self,
        lane: &Lane,
        flow: &Flow,
        limits: CallLimits,
        now: DateTime<Utc>,
    ) -> Option<CallLimit> {
        if self.all >= limits.all {
            return Some(CallLimit::All(limits.all));
        }
        if self.of_workspace(lane.workspace) >= limits.workspace {
            return Some(CallLimit::Workspace(limits.workspace));
        }
        if self.of_host(&lane.host) >= limits.host {
            return Some(CallLimit::Host(limits.host));
        }
        let used = self.keys.get(&lane.limit_key()?)?;
        if let Some(most) = flow.at_once.filter(|most| used.in_flight >= most.get()) {
            return Some(CallLimit::Key(most.get()));
        }
        let next = used.used_until - reach(flow.rate?);
        (next > now).then_some(CallLimit::Rate(next))
    }

    pub fn begin(&mut self, lane: &Lane, flow: &Flow, now: DateTime<Utc>) {
        self.all += 1;
        *self.workspaces.entry(lane.workspace).or_default() += 1;
        *self.hosts.entry(lane.host.clone()).or_default() += 1;
        if let Some(key) = lane.limit_key() {
            let used = self.keys.entry(key).or_insert(KeyUse { in_flight: 0, used_until: now });
            used.in_flight += 1;
            if let Some(rate) = flow.rate {
                used.used_until = used.used_until.max(now) + interval(rate);
            }
        }
    }

    pub fn end(&mut self, lane: &Lane) {
        self.all = self.all.saturating_sub(1);
        uncount(&mut self.workspaces, &lane.workspace);
        uncount(&mut self.hosts, &lane.host);
        if let Some(used) = lane.limit_key().and_then(|key| self.keys.get_mut(&key)) {
            used.in_flight = used.in_flight.saturating_sub(1);
        }
    }

    /// Forgets keys that limit nothing any more.
    pub fn forget_unused(&mut self, now: DateTime<Utc>) {
        self.keys.retain(|_, used| used.in_flight > 0 || used.used_until > now);
    }

    /// What is counted, for comparison with what there is.
    pub fn by_workspace_and_host(&self) -> (&BTreeMap<WorkspaceId, u32>, &BTreeMap<String, u32>) {
        (&self.workspaces, &self.hosts)
    }
}

/// The time from one call to the next, where they go out evenly.
fn interval(rate: Rate) -> TimeDelta {
    let micros = u64::from(rate.per_secs.get()) * 1_000_000 / u64::from(rate.calls.get());
    TimeDelta::microseconds(i64::try_from(micros).unwrap_or(i64::MAX))
}

/// How far ahead of the even pace calls can go out.
fn reach(rate: Rate) -> TimeDelta {
    let ahead = i32::try_from(rate.calls.get() - 1).unwrap_or(i32::MAX);
    interval(rate) * ahead
}

fn uncount<K: Ord>(counts: &mut BTreeMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use uuid::Uuid;

    use super::*;
    use crate::testing::at;

    fn lane(workspace: u128, host: &str, key: Option<&str>) -> Lane {
        let workspace = WorkspaceId::new(Uuid::from_u128(workspace));
        Lane { workspace, host: host.to_owned(), key: key.map(str::to_owned) }
    }

    fn number(n: u32) -> NonZeroU32 {
        NonZeroU32::new(n).unwrap()
    }

    #[test]
    fn limits_count_all_workspaces_and_hosts() {
        let limits = CallLimits { all: 4, workspace: 3, host: 2 };
        let (mut flying, none) = (InFlight::default(), Flow::default());
        let limit = |flying: &InFlight, lane: &Lane| flying.limit(lane, &none, limits, at(0));
        let (a, b) = (lane(1, "a", None), lane(1, "b", None));

        flying.begin(&a, &none, at(0));
        flying.begin(&a, &none, at(0));
        assert_eq!(limit(&flying, &lane(2, "a", None)), Some(CallLimit::Host(2)));
        assert_eq!(limit(&flying, &b), None);
        flying.begin(&b, &none, at(0));
        assert_eq!(limit(&flying, &b), Some(CallLimit::Workspace(3)));
        let other = lane(2, "b", None);
        assert_eq!(limit(&flying, &other), None);
        flying.begin(&other, &none, at(0));
        assert_eq!(limit(&flying, &lane(3, "c", None)), Some(CallLimit::All(4)));
        for lane in [&a, &a, &b, &other] {
            flying.end(lane);
        }
        assert_eq!(flying.all(), 0);
        assert_eq!(flying.by_workspace_and_host(), (&BTreeMap::new(), &BTreeMap::new()));
    }

    #[test]
    fn key_limits_calls_of_its_own_workspace_at_once() {
        let flow = Flow { at_once: Some(number(1)), ..Flow::default() };
        let mut flying = InFlight::default();
        let limit = |flying: &InFlight, lane: &Lane| {
            flying.limit(lane, &flow, CallLimits::default(), at(0))
        };
        flying.begin(&lane(1, "a", Some("k")), &flow, at(0));

        assert_eq!(limit(&flying, &lane(1, "b", Some("k"))), Some(CallLimit::Key(1)));
        assert_eq!(limit(&flying, &lane(1, "b", Some("l"))), None);
        assert_eq!(limit(&flying, &lane(2, "b", Some("k"))), None);
    }

    #[test]
    fn rate_lets_a_burst_go_and_then_an_even_pace() {
        let rate = Rate { calls: number(2), per_secs: number(10) };
        let flow = Flow { rate: Some(rate), ..Flow::default() };
        let lane = lane(1, "a", Some("k"));
        let mut flying = InFlight::default();
        let mut begun = Vec::new();
        for second in 0..20 {
            while flying.limit(&lane, &flow, CallLimits::default(), at(second)).is_none() {
                flying.begin(&lane, &flow, at(second));
                flying.end(&lane);
                begun.push(second);
            }
        }

        assert_eq!(begun, [0, 0, 5, 10, 15]);
        let until = flying.limit(&lane, &flow, CallLimits::default(), at(16));
        assert_eq!(until, Some(CallLimit::Rate(at(20))));
        flying.forget_unused(at(24));
        assert!(flying.limit(&lane, &flow, CallLimits::default(), at(16)).is_some());
        flying.forget_unused(at(30));
        assert_eq!(flying.limit(&lane, &flow, CallLimits::default(), at(16)), None);
    }
}
