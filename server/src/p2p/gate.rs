//! How much the server does at once, for one peer and for all: what is beyond is refused at the
//! gate, so that a flood costs only its sender.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libp2p::PeerId;

/// Counts who is inside; clones are the same gate.
#[derive(Clone)]
pub struct Gate {
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
    gate: Gate,
    peer: PeerId,
}

impl Gate {
    pub fn new(each_max: usize, all_max: usize) -> Self {
        Self { inside: Arc::default(), each_max, all_max }
    }

    /// Lets a peer in, unless it or everybody together has too much inside already.
    pub fn enter(&self, peer: PeerId) -> Option<Pass> {
        let mut inside = self.lock();
        let each = inside.each.get(&peer).copied().unwrap_or(0);
        if each >= self.each_max || inside.all >= self.all_max {
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
    fn one_peer_cannot_take_the_places_of_the_others() {
        let gate = Gate::new(2, 3);
        let (greedy, other, late) = (PeerId::random(), PeerId::random(), PeerId::random());

        let first = gate.enter(greedy);
        let second = gate.enter(greedy);

        assert!(first.is_some() && second.is_some());
        assert!(gate.enter(greedy).is_none(), "it has its two");
        let third = gate.enter(other);
        assert!(third.is_some());
        assert!(gate.enter(late).is_none(), "all three are taken");
        drop(first);
        assert!(gate.enter(late).is_some());
        drop((second, third));
        assert!(gate.lock().each.is_empty());
    }
}
