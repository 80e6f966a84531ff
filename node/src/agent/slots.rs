//! What runs, what waits, and what is held: the node's own decision, with no clock and no IO.

use std::collections::BTreeMap;

use common::compute::resources::Resources;
use common::protocol::Held;
use common::run::task::Lease;

use crate::machine::device::Gpu;

/// The most attempts a node holds, whatever the server assigns.
pub const HELD_MAX: usize = 4096;

/// The attempts of a node and the machine they share.
#[derive(Debug)]
pub struct Slots {
    free: Resources,
    capacity: Resources,
    /// Every GPU that is lent, and those of them that no task has.
    gpus: Vec<Gpu>,
    free_gpus: Vec<Gpu>,
    arrivals: u64,
    slots: BTreeMap<Lease, Slot>,
}

#[derive(Debug)]
struct Slot {
    /// Counts up: who came first runs first.
    arrival: u64,
    needs: Needs,
    /// The GPU that it has while it has its share of the machine.
    gpu: Option<Gpu>,
    phase: Phase,
}

/// What an attempt takes of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    pub resources: Resources,
    /// The name of the GPU that it needs, if it needs one.
    pub gpu: Option<String>,
}

/// An attempt's share of the machine is its own from now on.
#[derive(Debug, PartialEq, Eq)]
pub struct Admission {
    pub lease: Lease,
    pub gpu: Option<Gpu>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Its data is on the way.
    Preparing,
    /// It waits for its share of the machine.
    Ready,
    /// It has its share, and its container is being made.
    Admitted,
    Running {
        since_ms: u64,
    },
    /// Its container has ended; results are on the way out.
    Leaving {
        ran_ms: Option<u64>,
    },
}

/// Why an attempt is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("already held")]
    Held,
    #[error("the node holds as many attempts as it can")]
    Full,
    #[error("the task needs more than this node lends, or another GPU")]
    TooLarge,
}

impl Slots {
    pub fn new(capacity: Resources, gpus: Vec<Gpu>) -> Self {
        let free_gpus = gpus.clone();
        Self { free: capacity, capacity, gpus, free_gpus, arrivals: 0, slots: BTreeMap::new() }
    }

    /// Takes an attempt, whose data can be prepared from now on.
    pub fn add(&mut self, lease: Lease, needs: Needs) -> Result<(), Refused> {
        if self.slots.contains_key(&lease) {
            return Err(Refused::Held);
        }
        if self.slots.len() >= HELD_MAX {
            return Err(Refused::Full);
        }
        let lacks_gpu = needs.gpu.as_ref().is_some_and(|name| find(&self.gpus, name).is_none());
        if !needs.resources.fits_in(self.capacity) || lacks_gpu {
            return Err(Refused::TooLarge);
        }
        self.arrivals += 1;
        let slot = Slot { arrival: self.arrivals, needs, gpu: None, phase: Phase::Preparing };
        self.slots.insert(lease, slot);
        Ok(())
    }

    /// The attempt's data is there.
    pub fn prepared(&mut self, lease: &Lease) {
        if let Some(slot) = self.slots.get_mut(lease)
            && slot.phase == Phase::Preparing
        {
            slot.phase = Phase::Ready;
        }
    }

    /// The attempts whose turn it is; each has its share of the machine from now on. In order of
    /// arrival, and none overtakes one that is ready but does not fit: large tasks do not starve.
    pub fn admit(&mut self) -> Vec<Admission> {
        let mut ready: Vec<_> =
            self.slots.iter_mut().filter(|(_, slot)| slot.phase == Phase::Ready).collect();
        ready.sort_by_key(|(_, slot)| slot.arrival);
        let mut admitted = Vec::new();
        for (lease, slot) in ready {
            let gpu = slot.needs.gpu.as_ref().map(|name| find(&self.free_gpus, name));
            if !slot.needs.resources.fits_in(self.free) || gpu == Some(None) {
                break;
            }
            self.free = self.free.minus(slot.needs.resources);
            slot.gpu = gpu.flatten().map(|at| self.free_gpus.remove(at));
            slot.phase = Phase::Admitted;
            admitted.push(Admission { lease: *lease, gpu: slot.gpu.clone() });
        }
        admitted
    }

    /// Whether one waits for its share of the machine: no part of it is idle.
    pub fn has_ready(&self) -> bool {
        self.slots.values().any(|slot| slot.phase == Phase::Ready)
    }

    /// The attempt's container runs.
    pub fn started(&mut self, lease: &Lease, now_ms: u64) {
        if let Some(slot) = self.slots.get_mut(lease)
            && slot.phase == Phase::Admitted
        {
            slot.phase = Phase::Running { since_ms: now_ms };
        }
    }

    /// The attempt's container has ended: its share is free again.
    pub fn ended(&mut self, lease: &Lease, now_ms: u64) {
        let Some(slot) = self.slots.get_mut(lease) else { return };
        if slot.occupies() {
            self.free = self.free.plus(slot.needs.resources);
            self.free_gpus.extend(slot.gpu.take());
        }
        slot.phase = Phase::Leaving { ran_ms: slot.phase.running_ms(now_ms) };
    }

    /// The attempt is over, or no longer the node's.
    pub fn remove(&mut self, lease: &Lease) {
        if let Some(slot) = self.slots.remove(lease)
            && slot.occupies()
        {
            self.free = self.free.plus(slot.needs.resources);
            self.free_gpus.extend(slot.gpu);
        }
    }

    /// How many attempts are held.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// How many of them have their share of the machine.
    pub fn running(&self) -> usize {
        self.slots.values().filter(|slot| slot.occupies()).count()
    }

    /// What these have of it.
    pub fn busy(&self) -> Resources {
        self.capacity.minus(self.free)
    }

    pub fn busy_gpus(&self) -> usize {
        self.gpus.len() - self.free_gpus.len()
    }

    /// Every attempt here, as the server is told of it.
    pub fn held(&self, now_ms: u64, is_bucket_away: bool) -> Vec<Held> {
        let held = self.slots.iter().map(|(lease, slot)| Held {
            lease: *lease,
            running_ms: slot.phase.running_ms(now_ms),
            waits_for_bucket: is_bucket_away && slot.phase.moves_data(),
            progress: None,
        });
        held.collect()
    }
}

fn find(gpus: &[Gpu], name: &str) -> Option<usize> {
    gpus.iter().position(|gpu| gpu.name.eq_ignore_ascii_case(name))
}

impl Slot {
    const fn occupies(&self) -> bool {
        matches!(self.phase, Phase::Admitted | Phase::Running { .. })
    }
}

impl Phase {
    const fn moves_data(self) -> bool {
        matches!(self, Self::Preparing | Self::Leaving { .. })
    }

    fn running_ms(self, now_ms: u64) -> Option<u64> {
        match self {
            Self::Preparing | Self::Ready | Self::Admitted => None,
            Self::Running { since_ms } => Some(now_ms.saturating_sub(since_ms)),
            Self::Leaving { ran_ms } => ran_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use common::ids::RunId;
    use common::run::task::TaskRef;
    use common::testing::PROCESS;

    use super::*;

    fn lease(index: u32) -> Lease {
        let run = RunId::new(uuid::Uuid::from_u128(1));
        Lease { task: TaskRef { run, stage: PROCESS, index }, attempt: 1 }
    }

    fn plain(resources: Resources) -> Needs {
        Needs { resources, gpu: None }
    }

    fn admitted(slots: &mut Slots) -> Vec<Lease> {
        slots.admit().into_iter().map(|seat| seat.lease).collect()
    }

    fn slots(needs: &[u32]) -> Slots {
        let mut slots = Slots::new(Resources::new(4000, 4096), Vec::new());
        for (i, cpu) in (0..).zip(needs) {
            slots.add(lease(i), plain(Resources::new(*cpu, 256))).unwrap();
        }
        slots
    }

    #[test]
    fn slots_run_as_many_tasks_as_fit() {
        let mut slots = slots(&[2000, 2000, 2000]);
        (0..3).for_each(|i| slots.prepared(&lease(i)));

        assert_eq!(admitted(&mut slots), [lease(0), lease(1)]);
        assert_eq!((slots.len(), slots.running(), slots.busy().cpu_millis), (3, 2, 4000));
        assert_eq!(admitted(&mut slots), []);
        assert!(slots.has_ready());
        slots.ended(&lease(0), 5);
        assert_eq!(admitted(&mut slots), [lease(2)]);
        assert!(!slots.has_ready());
    }

    #[test]
    fn slots_are_not_held_up_by_late_data() {
        let mut slots = slots(&[2000, 4000]);
        slots.prepared(&lease(1));

        assert_eq!(admitted(&mut slots), [lease(1)]);
    }

    #[test]
    fn large_task_is_not_overtaken() {
        let mut slots = slots(&[2000, 4000, 1000]);
        (0..3).for_each(|i| slots.prepared(&lease(i)));

        assert_eq!(admitted(&mut slots), [lease(0)]);
        slots.remove(&lease(0));
        assert_eq!(admitted(&mut slots), [lease(1)]);
    }

    #[test]
    fn task_that_is_held_too_large_or_too_many_is_refused() {
        let mut slots = slots(&[1000]);

        assert_eq!(slots.add(lease(0), plain(Resources::NONE)), Err(Refused::Held));
        assert_eq!(slots.add(lease(9), plain(Resources::new(1, 5000))), Err(Refused::TooLarge));
        for i in 1..u32::try_from(HELD_MAX).unwrap() {
            slots.add(lease(i), plain(Resources::NONE)).unwrap();
        }
        assert_eq!(slots.add(lease(5000), plain(Resources::NONE)), Err(Refused::Full));
    }

    #[test]
    fn share_is_given_back_once() {
        let mut slots = slots(&[4000, 4000, 4000]);
        (0..3).for_each(|i| slots.prepared(&lease(i)));

        assert_eq!(admitted(&mut slots), [lease(0)]);
        slots.started(&lease(0), 0);
        slots.ended(&lease(0), 1);
        slots.ended(&lease(0), 2);
        slots.remove(&lease(0));
        assert_eq!(admitted(&mut slots), [lease(1)]);
        assert_eq!(admitted(&mut slots), []);
    }

    #[test]
    fn task_has_a_gpu_of_its_own_while_it_runs() {
        let gpu = |id: &str| Gpu { name: "Tesla T4".into(), id: id.into() };
        let mut slots = Slots::new(Resources::new(4000, 4096), vec![gpu("a"), gpu("b")]);
        let needs = |name: &str| Needs { resources: Resources::NONE, gpu: Some(name.into()) };
        for i in 0..3 {
            slots.add(lease(i), needs("tesla t4")).unwrap();
            slots.prepared(&lease(i));
        }
        assert_eq!(slots.add(lease(3), needs("a100")), Err(Refused::TooLarge));

        let ids =
            |seats: Vec<Admission>| seats.into_iter().filter_map(|seat| seat.gpu).map(|gpu| gpu.id);
        assert_eq!(ids(slots.admit()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((slots.admit(), slots.busy_gpus()), (vec![], 2));
        slots.ended(&lease(1), 1);
        slots.remove(&lease(1));

        assert_eq!(ids(slots.admit()).collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn running_time_stops_when_the_container_has_ended() {
        let mut slots = slots(&[1000]);
        let ran = |slots: &Slots, now| slots.held(now, false)[0].running_ms;
        slots.prepared(&lease(0));
        slots.admit();

        assert_eq!(ran(&slots, 5), None);
        slots.started(&lease(0), 10);
        assert_eq!(ran(&slots, 25), Some(15));
        slots.ended(&lease(0), 30);
        assert_eq!(ran(&slots, 90), Some(20));
    }
}
