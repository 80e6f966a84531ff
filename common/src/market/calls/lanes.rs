//! The order in which calls begin.
//!
//! Calls that the same limits hold for stand in one lane, first come first. Lanes take turns within
//! their workspace; of workspaces comes the one with the fewest calls under way, and among equals
//! the one that was served longest ago. A lane that a limit stops leaves the order until the limit
//! lets something through, so that it costs nothing meanwhile.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::in_flight::{CallLimit, CallLimits, InFlight, Lane};
use crate::call::Flow;
use crate::ids::WorkspaceId;
use crate::run::task::TaskRef;

#[derive(Debug, Default)]
pub(super) struct Lanes {
    /// What stands in each lane. A lane that is here is in one of the places below.
    waiting: BTreeMap<Arc<Lane>, BTreeMap<u64, Waiting>>,
    /// Lanes that may go on.
    ready: BTreeMap<WorkspaceId, Turns>,
    /// The workspaces of them that may have more calls under way, in their order.
    order: BTreeSet<Turn>,
    /// Lanes that wait for the end of a call.
    at_host: BTreeMap<String, VecDeque<Arc<Lane>>>,
    at_key: BTreeMap<(WorkspaceId, String), VecDeque<Arc<Lane>>>,
    /// Lanes that wait for their rate.
    asleep: BTreeSet<(DateTime<Utc>, Arc<Lane>)>,
    flying: InFlight,
    /// The last number that a call or a turn got.
    last: u64,
    count: usize,
}

#[derive(Debug)]
struct Waiting {
    task: TaskRef,
    flow: Flow,
}

/// The lanes of a workspace, in the order of their turns.
#[derive(Debug, Default)]
struct Turns {
    lanes: VecDeque<Arc<Lane>>,
    turn: Option<Turn>,
}

/// Where a workspace stands: by its calls under way, then by when it was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    in_flight: u32,
    served: u64,
    workspace: WorkspaceId,
}

impl Lanes {
    /// How many calls stand in lanes.
    pub const fn count(&self) -> usize {
        self.count
    }

    pub const fn flying(&self) -> &InFlight {
        &self.flying
    }

    /// Puts a call at the end of its lane; gives the number that it has there.
    pub fn put(&mut self, lane: Lane, task: TaskRef, flow: Flow, limits: CallLimits) -> u64 {
        let number = self.number();
        let lane = Arc::new(lane);
        let is_new = !self.waiting.contains_key(&lane);
        self.waiting.entry(Arc::clone(&lane)).or_default().insert(number, Waiting { task, flow });
        self.count += 1;
        if is_new {
            self.make_ready(lane, limits);
        }
        number
    }

    /// Takes a call out of its lane. A lane that is empty then is forgotten at its turn.
    pub fn remove(&mut self, lane: &Lane, number: u64) {
        let waiting = self.waiting.get_mut(lane);
        if waiting.is_some_and(|waiting| waiting.remove(&number).is_some()) {
            self.count -= 1;
        }
    }

    /// Begins the next call that no limit stops.
    pub fn take(&mut self, limits: CallLimits, now: DateTime<Utc>) -> Option<TaskRef> {
        self.wake(limits, now);
        while self.flying.all() < limits.all {
            let workspace = self.order.first()?.workspace;
            let turns = self.ready.get_mut(&workspace)?;
            let Some(lane) = turns.lanes.pop_front() else {
                self.place(workspace, limits);
                continue;
            };
            let taken = self.take_from(&lane, limits, now);
            self.place(workspace, limits);
            // What this lane leaves is for the next one that waits for it.
            self.free(&lane, limits);
            if taken.is_some() {
                return taken;
            }
        }
        None
    }

    /// Counts a call that was under way when its server stopped.
    pub fn begin_loaded(&mut self, lane: &Lane, flow: &Flow, since: DateTime<Utc>) {
        self.flying.begin(lane, flow, since);
    }

    /// A call is no longer under way.
    pub fn end(&mut self, lane: &Lane, limits: CallLimits) {
        self.flying.end(lane);
        self.place(lane.workspace, limits);
        self.free(lane, limits);
    }

    /// When the first lane goes on that waits for its rate.
    pub fn next_due(&self) -> Option<DateTime<Utc>> {
        self.asleep.first().map(|(at, _)| *at)
    }

    /// Forgets what has no meaning any more.
    pub fn tidy(&mut self, now: DateTime<Utc>) {
        self.flying.forget_unused(now);
    }

    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Begins the first call of a lane, or puts the lane where it waits.
    fn take_from(
        &mut self,
        lane: &Arc<Lane>,
        limits: CallLimits,
        now: DateTime<Utc>,
    ) -> Option<TaskRef> {
        let waiting = self.waiting.get_mut(lane)?;
        let Some(first) = waiting.first_entry() else {
            self.waiting.remove(lane);
            return None;
        };
        let stopped = self.flying.limit(lane, &first.get().flow, limits, now);
        let again = Arc::clone(lane);
        match stopped {
            None => {
                let Waiting { task, flow } = first.remove();
                self.count -= 1;
                self.flying.begin(lane, &flow, now);
                let served = self.number();
                let turns = self.ready.entry(lane.workspace).or_default();
                turns.lanes.push_back(again);
                if let Some(turn) = turns.turn.take() {
                    self.order.remove(&turn);
                }
                let in_flight = self.flying.of_workspace(lane.workspace);
                let turn = Turn { in_flight, served, workspace: lane.workspace };
                turns.turn = Some(turn);
                self.order.insert(turn);
                return Some(task);
            }
            Some(CallLimit::Host(_)) => {
                self.at_host.entry(lane.host.clone()).or_default().push_back(again);
            }
            Some(CallLimit::Key(_)) => {
                let key = lane.limit_key().unwrap_or((lane.workspace, String::new()));
                self.at_key.entry(key).or_default().push_back(again);
            }
            Some(CallLimit::Rate(at)) => {
                self.asleep.insert((at, again));
            }
            // It stays where it is: its whole workspace, or everybody, has to wait.
            Some(CallLimit::All(_) | CallLimit::Workspace(_)) => {
                self.ready.entry(lane.workspace).or_default().lanes.push_front(again);
            }
        }
        None
    }

    /// Puts a workspace where it stands in the order now.
    fn place(&mut self, workspace: WorkspaceId, limits: CallLimits) {
        let Some(turns) = self.ready.get_mut(&workspace) else { return };
        let before = turns.turn.take();
        if let Some(turn) = &before {
            self.order.remove(turn);
        }
        if turns.lanes.is_empty() {
            self.ready.remove(&workspace);
            return;
        }
        let in_flight = self.flying.of_workspace(workspace);
        let served = match before {
            Some(turn) => turn.served,
            None => self.last,
        };
        let turn = Turn { in_flight, served, workspace };
        if in_flight < limits.workspace {
            turns.turn = Some(turn);
            self.order.insert(turn);
        }
    }

    fn make_ready(&mut self, lane: Arc<Lane>, limits: CallLimits) {
        let workspace = lane.workspace;
        self.ready.entry(workspace).or_default().lanes.push_back(lane);
        self.place(workspace, limits);
    }

    /// Lets lanes go on whose rate allows it.
    fn wake(&mut self, limits: CallLimits, now: DateTime<Utc>) {
        while self.asleep.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, lane)) = self.asleep.pop_first() else { return };
            self.make_ready(lane, limits);
        }
    }

    /// Lets a lane go on that waits for the host or the key of this one, where they have room.
    fn free(&mut self, lane: &Lane, limits: CallLimits) {
        if self.flying.of_host(&lane.host) < limits.host
            && let Some(next) = pop(&mut self.at_host, &lane.host)
        {
            self.make_ready(next, limits);
        }
        if let Some(key) = lane.limit_key()
            && let Some(next) = self.at_key.get(&key).and_then(|lanes| lanes.front())
            && self.has_room(next, &key)
            && let Some(next) = pop(&mut self.at_key, &key)
        {
            self.make_ready(next, limits);
        }
    }

    fn has_room(&self, lane: &Arc<Lane>, key: &(WorkspaceId, String)) -> bool {
        let first = self.waiting.get(lane).and_then(|waiting| waiting.values().next());
        let most = first.and_then(|first| first.flow.at_once);
        most.is_none_or(|most| self.flying.of_key(key) < most.get())
    }

    /// Each lane is in one place, and none waits for what has room.
    pub fn check(&self, limits: CallLimits) -> Result<(), String> {
        let mut places: BTreeMap<&Lane, usize> = BTreeMap::new();
        let ready = self.ready.values().flat_map(|turns| &turns.lanes);
        let stopped = self.at_host.values().chain(self.at_key.values()).flatten();
        let asleep = self.asleep.iter().map(|(_, lane)| lane);
        for lane in ready.chain(stopped).chain(asleep) {
            *places.entry(lane).or_default() += 1;
        }
        if places.len() != self.waiting.len() || places.values().any(|count| *count != 1) {
            return Err(format!("lanes stand in {places:?}, known are {:?}", self.waiting.keys()));
        }
        for host in self.at_host.keys() {
            let has_room = self.flying.of_host(host) < limits.host;
            let mut ready = self.ready.values().flat_map(|turns| &turns.lanes);
            if has_room && !ready.any(|lane| lane.host == *host) {
                return Err(format!("lanes wait for {host}, which has room"));
            }
        }
        let counted: usize = self.waiting.values().map(BTreeMap::len).sum();
        if counted == self.count {
            Ok(())
        } else {
            Err(format!("{counted} calls wait, counted {}", self.count))
        }
    }
}

fn pop<K: Ord>(places: &mut BTreeMap<K, VecDeque<Arc<Lane>>>, key: &K) -> Option<Arc<Lane>> {
    let lanes = places.get_mut(key)?;
    let lane = lanes.pop_front();
    if lanes.is_empty() {
        places.remove(key);
    }
    lane
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use uuid::Uuid;

    use super::*;
    use crate::call::Rate;
    use crate::ids::RunId;
    use crate::run::task::StageNo;
    use crate::testing::at;

    const LIMITS: CallLimits = CallLimits { all: 8, workspace: 4, host: 2 };

    fn task(n: u32) -> TaskRef {
        TaskRef { run: RunId::new(Uuid::nil()), stage: StageNo::new(0), index: n }
    }

    fn lane(workspace: u128, host: &str, key: Option<&str>) -> Lane {
        let workspace = WorkspaceId::new(Uuid::from_u128(workspace));
        Lane { workspace, host: host.to_owned(), key: key.map(str::to_owned) }
    }

    fn put(lanes: &mut Lanes, lane: Lane, n: u32) -> u64 {
        lanes.put(lane, task(n), Flow::default(), LIMITS)
    }

    fn all(lanes: &mut Lanes, now: i64) -> Vec<u32> {
        let taken: Vec<u32> =
            std::iter::from_fn(|| lanes.take(LIMITS, at(now))).map(|task| task.index).collect();
        assert_eq!(lanes.check(LIMITS), Ok(()));
        taken
    }

    #[test]
    fn lanes_serve_workspaces_in_turn() {
        let mut lanes = Lanes::default();
        for n in 0..4 {
            put(&mut lanes, lane(1, &format!("a{n}"), None), n);
        }
        for n in 10..14 {
            put(&mut lanes, lane(2, &format!("b{n}"), None), n);
        }

        assert_eq!(all(&mut lanes, 0), [0, 10, 1, 11, 2, 12, 3, 13]);
    }

    #[test]
    fn lane_that_its_host_stops_keeps_nobody_waiting() {
        let mut lanes = Lanes::default();
        for n in 0..3 {
            put(&mut lanes, lane(1, "full", None), n);
        }
        put(&mut lanes, lane(2, "full", None), 3);
        put(&mut lanes, lane(1, "other", None), 4);

        assert_eq!(all(&mut lanes, 0), [0, 3, 4]);
        lanes.end(&lane(2, "full", None), LIMITS);
        assert_eq!(all(&mut lanes, 0), [1]);
        lanes.end(&lane(1, "full", None), LIMITS);
        assert_eq!(all(&mut lanes, 0), [2]);
        assert_eq!(lanes.count(), 0);
    }

    #[test]
    fn lane_that_its_rate_stops_goes_on_in_time() {
        let number = |n| NonZeroU32::new(n).unwrap();
        let rate = Rate { calls: number(1), per_secs: number(10) };
        let flow = Flow { rate: Some(rate), ..Flow::default() };
        let mut lanes = Lanes::default();
        for n in 0..3 {
            lanes.put(lane(1, "a", Some("k")), task(n), flow.clone(), LIMITS);
        }

        assert_eq!(all(&mut lanes, 0), [0]);
        assert_eq!(lanes.next_due(), Some(at(10)));
        assert_eq!(all(&mut lanes, 9), [0; 0]);
        assert_eq!(all(&mut lanes, 10), [1]);
        lanes.end(&lane(1, "a", Some("k")), LIMITS);
        assert_eq!(all(&mut lanes, 19), [0; 0]);
        assert_eq!(all(&mut lanes, 40), [2]);
    }

    #[test]
    fn lane_that_its_key_stops_goes_on_when_a_call_ends() {
        let flow = Flow { at_once: NonZeroU32::new(1), ..Flow::default() };
        let mut lanes = Lanes::default();
        for (n, host) in ["a", "b", "c"].into_iter().enumerate() {
            let n = u32::try_from(n).unwrap();
            lanes.put(lane(1, host, Some("k")), task(n), flow.clone(), LIMITS);
        }

        assert_eq!(all(&mut lanes, 0), [0]);
        lanes.end(&lane(1, "a", Some("k")), LIMITS);
        assert_eq!(all(&mut lanes, 0), [1]);
        lanes.end(&lane(1, "b", Some("k")), LIMITS);
        assert_eq!(all(&mut lanes, 0), [2]);
    }

    #[test]
    fn call_that_is_removed_is_not_begun() {
        let mut lanes = Lanes::default();
        let first = put(&mut lanes, lane(1, "a", None), 0);
        put(&mut lanes, lane(1, "a", None), 1);
        lanes.remove(&lane(1, "a", None), first);
        lanes.remove(&lane(1, "a", None), first);

        assert_eq!((lanes.count(), all(&mut lanes, 0)), (1, vec![1]));
        put(&mut lanes, lane(1, "a", None), 2);
        assert_eq!(all(&mut lanes, 0), [2]);
    }
}
