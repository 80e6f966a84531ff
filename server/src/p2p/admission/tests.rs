use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits {
    pending: 6,
    pending_per_network: 2,
    pending_per_known_network: 4,
    strangers: 5,
    strangers_per_network: 2,
    joined: 4,
    per_peer: 2,
    patience: Duration::from_secs(15),
};

fn network(n: u8) -> Network {
    Network::of([192, 0, 2, n].into())
}

/// Lets a peer in and gives back whom it replaced.
fn establish(
    admission: &mut Admission,
    id: usize,
    peer: PeerId,
    from: u8,
    now: Instant,
) -> Vec<ConnectionId> {
    let id = ConnectionId::new_unchecked(id);
    let evicted = admission.establish(id, peer, network(from), now).unwrap();
    evicted.into_iter().map(|(_, id)| id).collect()
}

#[test]
fn oldest_stranger_of_a_crowded_network_is_replaced_and_no_other() {
    let (mut admission, now) = (Admission::new(LIMITS), Instant::now());
    establish(&mut admission, 1, PeerId::random(), 1, now);
    establish(&mut admission, 2, PeerId::random(), 2, now);
    establish(&mut admission, 3, PeerId::random(), 2, now + Duration::from_secs(1));

    let evicted = establish(&mut admission, 4, PeerId::random(), 2, now + Duration::from_secs(2));

    assert_eq!(evicted, [ConnectionId::new_unchecked(2)]);
    assert_eq!(admission.open.len(), 3);
}

#[test]
fn nodes_are_counted_once_while_they_are_connected() {
    let (mut admission, now) = (Admission::new(LIMITS), Instant::now());
    let (node, stranger) = (PeerId::random(), PeerId::random());
    establish(&mut admission, 1, node, 1, now);
    establish(&mut admission, 2, stranger, 2, now);
    assert_eq!(admission.nodes(), 0);

    admission.join(node);
    establish(&mut admission, 3, node, 1, now);
    assert_eq!(admission.nodes(), 1);
    admission.end(ConnectionId::new_unchecked(1));
    assert_eq!(admission.nodes(), 1);
    admission.end(ConnectionId::new_unchecked(3));
    assert_eq!(admission.nodes(), 0);

    establish(&mut admission, 4, node, 1, now);
    assert_eq!(admission.nodes(), 1, "it is known when it comes back");
    admission.refuse(node, now);
    assert_eq!(admission.nodes(), 0, "it was removed");
}

#[test]
fn joined_node_keeps_its_connection_and_its_place_during_a_flood_of_strangers() {
    let (mut admission, now, node) = (Admission::new(LIMITS), Instant::now(), PeerId::random());
    establish(&mut admission, 0, node, 1, now);
    admission.join(node);

    for n in 1..200_u8 {
        let evicted = establish(&mut admission, n.into(), PeerId::random(), n, now);
        assert!(!evicted.contains(&ConnectionId::new_unchecked(0)));
    }

    assert_eq!(admission.strangers.len(), LIMITS.strangers);
    assert!(admission.overdue(now + LIMITS.patience).iter().all(|(peer, _)| *peer != node));
    assert_eq!(admission.open.len(), 1, "strangers are disconnected when their time is over");
    assert!(establish(&mut admission, 500, node, 1, now).is_empty(), "it may come back");
}

#[test]
fn refused_peer_is_disconnected_a_moment_after_its_answer() {
    let (mut admission, now, peer) = (Admission::new(LIMITS), Instant::now(), PeerId::random());
    establish(&mut admission, 1, peer, 1, now);

    admission.refuse(peer, now);

    assert!(admission.overdue(now).is_empty());
    assert_eq!(admission.overdue(now + FAREWELL).len(), 1);
    assert_eq!(admission.next_deadline(), None);
}

#[test]
fn silent_connections_of_one_network_leave_the_others_their_places() {
    let mut admission = Admission::new(LIMITS);
    let id = ConnectionId::new_unchecked;
    admission.begin(id(1), network(1)).unwrap();
    admission.begin(id(2), network(1)).unwrap();

    assert_eq!(admission.begin(id(3), network(1)), Err(Denied::PendingNetwork));
    assert_eq!(admission.begin(id(4), network(2)), Ok(()));
    admission.end(id(1));
    assert_eq!(admission.begin(id(5), network(1)), Ok(()));
}

#[test]
fn network_of_a_joined_node_may_begin_more_connections() {
    let (mut admission, now, node) = (Admission::new(LIMITS), Instant::now(), PeerId::random());
    establish(&mut admission, 0, node, 1, now);
    admission.join(node);

    let begun = (1..9)
        .filter(|n| admission.begin(ConnectionId::new_unchecked(*n), network(1)).is_ok())
        .count();

    assert_eq!(begun, LIMITS.pending_per_known_network);
}

proptest! {
    #[test]
    fn counts_stay_correct_and_within_the_limits_under_any_events(
        events in prop::collection::vec((0..5_u8, 0..24_usize, 0..8_u8, 0..40_u64), 1..400),
    ) {
        let (mut admission, start) = (Admission::new(LIMITS), Instant::now());
        let peers: Vec<PeerId> = (0..12).map(|_| PeerId::random()).collect();
        for (what, id, from, seconds) in events {
            let (peer, now) = (peers[id % peers.len()], start + Duration::from_secs(seconds));
            let id = ConnectionId::new_unchecked(id);
            match what {
                0 if !admission.open.contains_key(&id) && !admission.pending.contains_key(&id) => {
                    let _ = admission.begin(id, network(from));
                }
                1 if !admission.open.contains_key(&id) => {
                    let _ = admission.establish(id, peer, network(from), now);
                }
                2 => admission.join(peer),
                3 => admission.refuse(peer, now),
                _ => {
                    admission.end(id);
                    admission.overdue(now);
                }
            }

            prop_assert!(admission.pending.len() <= LIMITS.pending);
            let pending: usize = admission.pending_of.values().sum();
            prop_assert_eq!(pending, admission.pending.len());
            let of_peers: usize = admission.of_peer.values().map(BTreeSet::len).sum();
            prop_assert_eq!(of_peers, admission.open.len());
            let timed = admission.open.values().filter(|open| open.deadline.is_some()).count();
            prop_assert_eq!(timed, admission.strangers.len());
            let of_networks: usize = admission.strangers_of.values().map(BTreeSet::len).sum();
            prop_assert_eq!(of_networks, admission.strangers.len());
            prop_assert!(admission.of_peer.values().all(|open| open.len() <= LIMITS.per_peer));
        }
    }
}
