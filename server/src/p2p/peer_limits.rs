//! How much the server does at once, for one peer and for all: what is beyond is refused at the
//! gate, so that a flood costs only its sender.
//!
//! While more than half of as many are under way as the server allows, a peer that is inside already gets only a quarter
//! of what it may have otherwise: the last places are for those who have few.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libp2p::PeerId;

/// Counts who is inside; clones are the same gate.
#[derive(Clone)]
pub struct PeerLimit {
    inside: Arc<Mutex<Inside>>,
    each_max: usize,
    all_max: usize,
}

#[derive(Default)]
struct Inside {
    all: usize,
    /// Only peers that are inside now.
    each: HashMap<PeerId, usize>,
}

/// A place inside, given back when it is dropped.
pub struct Pass {
    gate: PeerLimit,
    peer: PeerId,
}

impl PeerLimit {
    pub fn new(each_max: usize, all_max: usize) -> Self {
        Self { inside: Arc::default(), each_max, all_max }
    }

    /// Lets a peer in, unless it or everybody together has too much inside already.
    pub fn enter(&self, peer: PeerId) -> Option<Pass> {
        let mut inside = self.lock();
        let each = inside.each.get(&peer).copied().unwrap_or(0);
        let crowded = inside.all > self.all_max / 2;
        let each_max = if crowded { (self.each_max / 4).max(1) } else { self.each_max };
        if each >= each_max || inside.all >= self.all_max {
            return None;
        }
        inside.all += 1;
        inside.each.insert(peer, each + 1);
        Some(Pass { gate: self.clone(), peer })
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        // Nothing here can panic half-way through a change.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut inside = self.gate.lock();
        inside.all -= 1;
        if let Some(each) = inside.each.get_mut(&self.peer) {
            *each -= 1;
            if *each == 0 {
                inside.each.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_leaves_places_for_others() {
        let gate = PeerLimit::new(2, 4);
        let (greedy, other, late) = (PeerId::random(), PeerId::random(), PeerId::random());

        let mut inside = vec![gate.enter(greedy), gate.enter(greedy)];
        assert!(gate.enter(greedy).is_none(), "it has its two");
        inside.extend([gate.enter(other), gate.enter(late)]);

        assert!(inside.iter().all(Option::is_some));
        assert!(gate.enter(PeerId::random()).is_none(), "all four are taken");
        inside.remove(0);
        assert!(gate.enter(PeerId::random()).is_some());
        inside.clear();
        assert!(gate.lock().each.is_empty());
    }

    #[test]
    fn peers_with_few_places_are_preferred_under_load() {
        let gate = PeerLimit::new(8, 16);
        let (first, second, late) = (PeerId::random(), PeerId::random(), PeerId::random());
        let mut inside: Vec<Pass> = (0..8).filter_map(|_| gate.enter(first)).collect();
        inside.extend((0..8).filter_map(|_| gate.enter(second)));

        assert_eq!(inside.len(), 8 + 2, "the second came when half of the places were taken");
        assert!(gate.enter(second).is_none());
        assert!(gate.enter(late).is_some());
    }
}
