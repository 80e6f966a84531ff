//! The table of connections: how many there may be from one address and in all, and which one has
//! to make room.
//!
//! A connection is a stranger's until a request on it has authenticated. Strangers cannot take all
//! places: a part is kept for the others.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::connection::Connection;
use super::pace::Limits;
use crate::api::http::client::network;

/// Connections that are looked at for one that can make room: bounds the work of an accept.
const LOOKED_AT_MAX: usize = 64;

/// How many connections there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    pub total: usize,
    /// Of those that have not authenticated.
    pub strangers: usize,
    /// From one IPv4 address, or from one IPv6 network of 64 bits.
    pub per_address: usize,
}

pub struct Table {
    caps: Caps,
    limits: Limits,
    /// They speak for many clients.
    proxies: Vec<IpAddr>,
    places: Mutex<Places>,
}

#[derive(Default)]
struct Places {
    next: u64,
    /// By number, so the oldest is first.
    strangers: BTreeMap<u64, Arc<Connection>>,
    known: BTreeMap<u64, Arc<Connection>>,
    networks: HashMap<IpAddr, Network>,
}

/// The connections from one network.
#[derive(Default)]
struct Network {
    strangers: BTreeSet<u64>,
    known: usize,
}

/// A connection's place in the table; dropping it frees the place.
pub struct Seat {
    table: Arc<Table>,
    number: u64,
    pub connection: Arc<Connection>,
}

/// The other end of a request's connection.
#[derive(Clone)]
pub struct Peer {
    pub remote: SocketAddr,
    seat: Weak<Seat>,
}

impl Caps {
    /// As many as the settings say, as long as they leave half of the files for the rest of the
    /// process. Strangers get three quarters, and one address at most half.
    pub fn new(total: usize, per_address: usize, files_max: usize) -> Self {
        let total = total.min(files_max / 2).max(4);
        Self { total, strangers: total / 4 * 3, per_address: per_address.min(total / 2).max(1) }
    }
}

impl Table {
    pub fn new(caps: Caps, limits: Limits, proxies: Vec<IpAddr>) -> Arc<Self> {
        Arc::new(Self { caps, limits, proxies, places: Mutex::default() })
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The network that a connection counts for; those of a trusted proxy count for none.
    fn network(&self, remote: SocketAddr) -> Option<IpAddr> {
        let address = remote.ip().to_canonical();
        (!self.proxies.contains(&address)).then(|| network(address))
    }

    /// Gives a new connection a place, and evicts another one where there is none.
    pub fn admit(self: &Arc<Self>, remote: SocketAddr) -> Option<Arc<Seat>> {
        let network = self.network(remote);
        let mut places = self.places();
        if let Some(network) = network {
            if places.count(network) >= self.caps.per_address {
                let oldest = places.idle_stranger_of(network)?;
                self.evict(&mut places, oldest);
            }
            if places.strangers.len() >= self.caps.strangers {
                let oldest = idle(&places.strangers);
                let oldest = oldest.or_else(|| places.strangers.keys().next().copied())?;
                self.evict(&mut places, oldest);
            }
        }
        if places.strangers.len() + places.known.len() >= self.caps.total {
            let oldest = idle(&places.strangers).or_else(|| idle(&places.known))?;
            self.evict(&mut places, oldest);
        }
        let number = places.next;
        places.next += 1;
        let connection = Arc::new(Connection::new(remote, self.limits));
        match network {
            None => {
                places.known.insert(number, connection.clone());
            }
            Some(network) => {
                places.strangers.insert(number, connection.clone());
                places.networks.entry(network).or_default().strangers.insert(number);
            }
        }
        Some(Arc::new(Seat { table: self.clone(), number, connection }))
    }

    /// Makes room for something else than a connection.
    pub fn evict_one(&self) {
        let mut places = self.places();
        if let Some(oldest) = idle(&places.strangers).or_else(|| idle(&places.known)) {
            self.evict(&mut places, oldest);
        }
    }

    fn evict(&self, places: &mut Places, number: u64) {
        if let Some(connection) = self.remove(places, number) {
            tracing::debug!(remote = %connection.remote, "connection closed to make room");
            connection.evicted.cancel();
        }
    }

    fn remove(&self, places: &mut Places, number: u64) -> Option<Arc<Connection>> {
        let stranger = places.strangers.remove(&number);
        let connection = match stranger {
            Some(connection) => {
                places.update(self.network(connection.remote), |network| {
                    network.strangers.remove(&number);
                });
                connection
            }
            None => {
                let connection = places.known.remove(&number)?;
                places.update(self.network(connection.remote), |network| network.known -= 1);
                connection
            }
        };
        Some(connection)
    }

    /// A stranger's connection has authenticated.
    fn promote(&self, number: u64) {
        let mut places = self.places();
        let Some(connection) = places.strangers.remove(&number) else { return };
        places.update(self.network(connection.remote), |network| {
            network.strangers.remove(&number);
            network.known += 1;
        });
        places.known.insert(number, connection);
    }
}

impl Places {
    fn count(&self, network: IpAddr) -> usize {
        self.networks.get(&network).map_or(0, |network| network.strangers.len() + network.known)
    }

    fn idle_stranger_of(&self, network: IpAddr) -> Option<u64> {
        let numbers = self.networks.get(&network)?.strangers.iter().take(LOOKED_AT_MAX);
        let is_idle = |number: &&u64| self.strangers.get(number).is_some_and(|one| !one.is_busy());
        numbers.copied().find(|number| is_idle(&number))
    }

    fn update(&mut self, network: Option<IpAddr>, change: impl FnOnce(&mut Network)) {
        let Some(address) = network else { return };
        let Some(network) = self.networks.get_mut(&address) else { return };
        change(network);
        if network.strangers.is_empty() && network.known == 0 {
            self.networks.remove(&address);
        }
    }
}

/// The oldest connection without a request under way.
fn idle(connections: &BTreeMap<u64, Arc<Connection>>) -> Option<u64> {
    let mut oldest = connections.iter().take(LOOKED_AT_MAX);
    oldest.find(|(_, connection)| !connection.is_busy()).map(|(number, _)| *number)
}

impl Seat {
    /// Whether the other end is a proxy that the server's owner trusts.
    pub fn is_of_proxy(&self) -> bool {
        self.table.network(self.connection.remote).is_none()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.table.remove(&mut self.table.places(), self.number);
    }
}

impl Peer {
    pub fn new(seat: &Arc<Seat>) -> Self {
        Self { remote: seat.connection.remote, seat: Arc::downgrade(seat) }
    }

    /// A request on this connection has proven who makes it.
    pub fn authenticated(&self) {
        if let Some(seat) = self.seat.upgrade() {
            seat.table.promote(seat.number);
        }
    }

    /// A part of the body was taken in.
    pub fn progress(&self) {
        if let Some(seat) = self.seat.upgrade() {
            seat.connection.progress();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn table(total: usize, per_address: usize) -> Arc<Table> {
        let secs = Duration::from_secs(60);
        let limits =
            Limits { head: secs, idle: secs, request: secs, stall: secs, bytes_per_sec: 1 };
        let caps = Caps { total, strangers: total / 4 * 3, per_address };
        Table::new(caps, limits, vec!["10.0.0.1".parse().unwrap()])
    }

    fn from(address: &str) -> SocketAddr {
        SocketAddr::new(address.parse().unwrap(), 1)
    }

    fn is_evicted(seat: &Seat) -> bool {
        seat.connection.evicted.is_cancelled()
    }

    #[test]
    fn connections_per_address_are_limited_and_the_oldest_idle_stranger_is_replaced() {
        let table = table(100, 2);
        let (busy, idle) = (table.admit(from("9.9.9.9")).unwrap(), table.admit(from("9.9.9.9")));
        busy.connection.begin_request();

        let third = table.admit(from("::ffff:9.9.9.9")).unwrap();

        assert!(is_evicted(&idle.unwrap()) && !is_evicted(&busy) && !is_evicted(&third));
        third.connection.begin_request();
        assert!(table.admit(from("9.9.9.9")).is_none());
        assert!(table.admit(from("9.9.9.8")).is_some());
        drop(busy);
        assert!(table.admit(from("9.9.9.9")).is_some());
    }

    #[test]
    fn ipv6_network_counts_as_one_address_and_a_trusted_proxy_as_many() {
        let table = table(100, 1);
        let first = table.admit(from("2001:db8::1")).unwrap();
        first.connection.begin_request();

        assert!(table.admit(from("2001:db8::2")).is_none());
        assert!(table.admit(from("2001:db8:0:1::1")).is_some());
        let proxied: Vec<_> = (0..50).map(|_| table.admit(from("10.0.0.1"))).collect();
        assert!(proxied.iter().flatten().count() == 50);
    }

    #[test]
    fn strangers_leave_places_for_connections_that_have_authenticated() {
        let table = table(8, 8);
        let known = table.admit(from("9.9.9.1")).unwrap();
        Peer::new(&known).authenticated();
        let mut strangers = Vec::new();
        for n in 0..20 {
            strangers.push(table.admit(from(&format!("9.9.8.{n}"))).unwrap());
        }

        assert!(!is_evicted(&known));
        let open = strangers.iter().filter(|seat| !is_evicted(seat)).count();
        assert_eq!(open, 6, "three quarters of eight");
        assert!(strangers[..14].iter().all(|seat| is_evicted(seat)), "the oldest go first");
        drop(strangers);
        drop(known);
        let places = table.places();
        assert!(places.strangers.is_empty() && places.known.is_empty());
        assert!(places.networks.is_empty());
    }

    #[test]
    fn caps_leave_files_for_the_rest_of_the_process() {
        let few = Caps::new(4096, 512, 1024);
        let many = Caps::new(4096, 512, 1 << 20);

        assert_eq!(few, Caps { total: 512, strangers: 384, per_address: 256 });
        assert_eq!(many, Caps { total: 4096, strangers: 3072, per_address: 512 });
    }
}
