//! Peers that were refused: what they ask again costs no look-up and no log line.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use common::digest::Digest;
use libp2p::PeerId;

use super::Network;

/// A peer that comes back with the same token is not looked up for this long, doubled each time.
const PAUSE_FIRST: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// Refusals looked up for one network in each window.
const PER_NETWORK_MAX: u32 = 60;
const WINDOW: Duration = Duration::from_secs(60);
/// The most peers, and networks, remembered; beyond, the memory starts from nothing.
const REMEMBERED_MAX: usize = 16_384;

/// What a peer shows to be let in: a digest of its token, or nothing.
pub type Shown = Option<Digest>;

#[derive(Debug)]
struct Refused {
    shown: Shown,
    pause: Duration,
    until: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    began: Instant,
    refusals: u32,
}

/// Why a peer is refused without a look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It has been refused with the same token a short time ago.
    Peer,
    /// Too many peers of its network have been.
    Network,
}

#[derive(Debug, Default)]
pub struct Refusals {
    peers: HashMap<PeerId, Refused>,
    networks: HashMap<Network, Window>,
}

impl Refusals {
    /// Whether a peer must be refused without a look-up.
    pub fn known(
        &self,
        peer: PeerId,
        network: Network,
        shown: Shown,
        now: Instant,
    ) -> Option<Known> {
        let refused = self.peers.get(&peer);
        if refused.is_some_and(|refused| refused.shown == shown && refused.until > now) {
            return Some(Known::Peer);
        }
        let window = self.networks.get(&network).filter(|window| now < window.began + WINDOW)?;
        (window.refusals >= PER_NETWORK_MAX).then_some(Known::Network)
    }

    /// Remembers that a look-up ended in a refusal.
    pub fn remember(&mut self, peer: PeerId, network: Network, shown: Shown, now: Instant) {
        let before = self.peers.get(&peer).filter(|refused| refused.shown == shown);
        let pause = before.map_or(PAUSE_FIRST, |refused| (refused.pause * 2).min(PAUSE_MAX));
        if self.peers.len() >= REMEMBERED_MAX {
            self.peers.clear();
        }
        self.peers.insert(peer, Refused { shown, pause, until: now + pause });
        if self.networks.len() >= REMEMBERED_MAX {
            self.networks.clear();
        }
        let window = self.networks.entry(network).or_insert(Window { began: now, refusals: 0 });
        if now >= window.began + WINDOW {
            *window = Window { began: now, refusals: 0 };
        }
        window.refusals = window.refusals.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(n: u8) -> Network {
        Network::of([192, 0, 2, n].into())
    }

    #[test]
    fn refused_peer_is_not_looked_up_again_until_its_pause_is_over_or_its_token_is_another() {
        let (mut refusals, now, peer) = (Refusals::default(), Instant::now(), PeerId::random());
        let token = Some(Digest::of(b"wrong"));

        refusals.remember(peer, network(1), token, now);

        assert_eq!(refusals.known(peer, network(1), token, now), Some(Known::Peer));
        assert_eq!(refusals.known(peer, network(1), Some(Digest::of(b"new")), now), None);
        assert_eq!(refusals.known(peer, network(1), token, now + PAUSE_FIRST), None);
        refusals.remember(peer, network(1), token, now + PAUSE_FIRST);
        let later = now + PAUSE_FIRST * 2;
        assert_eq!(refusals.known(peer, network(1), token, later), Some(Known::Peer));
    }

    #[test]
    fn network_of_many_refused_peers_waits_while_others_are_looked_up() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        for _ in 0..PER_NETWORK_MAX {
            refusals.remember(PeerId::random(), network(1), None, now);
        }

        let ask = |network, at| refusals.known(PeerId::random(), network, None, at);

        assert_eq!(ask(network(1), now), Some(Known::Network));
        assert_eq!(ask(network(2), now), None);
        assert_eq!(ask(network(1), now + WINDOW), None);
    }

    #[test]
    fn memory_of_refusals_is_bounded() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        for _ in 0..REMEMBERED_MAX * 2 {
            refusals.remember(PeerId::random(), network(1), None, now);
        }

        assert!(refusals.peers.len() <= REMEMBERED_MAX);
    }
}
