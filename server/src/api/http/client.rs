//! Where a request comes from, as far as that can be known.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use warp::http::HeaderMap;

const FORWARDED: &str = "x-forwarded-for";

/// The client's name for limits: its address, or the network of it that is one person's.
///
/// What a proxy says is believed only of the proxies that the owner of the server names, and of
/// what they say only the last address that is not one of them: all before it can be made up.
pub fn name(remote: Option<SocketAddr>, headers: &HeaderMap, proxies: &[IpAddr]) -> String {
    let Some(peer) = remote.map(|address| address.ip().to_canonical()) else {
        return String::new();
    };
    if !proxies.contains(&peer) {
        return network(peer).to_string();
    }
    let said = headers.get_all(FORWARDED).iter().filter_map(|value| value.to_str().ok());
    let mut said: Vec<&str> = said.flat_map(|value| value.split(',')).map(str::trim).collect();
    while let Some(last) = said.pop() {
        match last.parse::<IpAddr>() {
            Ok(address) if proxies.contains(&address.to_canonical()) => {}
            Ok(address) => return network(address.to_canonical()).to_string(),
            Err(_) => break,
        }
    }
    network(peer).to_string()
}

/// What a request carries that came through a proxy, whether or not the owner names it, or that a
/// page of another site makes a browser send.
const INDIRECT: [&str; 4] = [FORWARDED, "forwarded", "via", "origin"];

/// Whether a request comes straight from a program on this machine.
pub fn is_local(remote: Option<SocketAddr>, headers: &HeaderMap, proxies: &[IpAddr]) -> bool {
    let peer = remote.map(|address| address.ip().to_canonical());
    peer.is_some_and(|peer| peer.is_loopback() && !proxies.contains(&peer))
        && !INDIRECT.iter().any(|name| headers.contains_key(*name))
}

/// Who has one IPv6 address has all of its /64.
pub fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(peer: &str, forwarded: &[&str], proxies: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED, value.parse().unwrap());
        }
        let proxies: Vec<IpAddr> = proxies.iter().map(|text| text.parse().unwrap()).collect();
        name(Some(SocketAddr::new(peer.parse().unwrap(), 1)), &headers, &proxies)
    }

    #[test]
    fn proxies_are_trusted_only_if_configured() {
        assert_eq!(named("9.9.9.9", &["1.2.3.4"], &[]), "9.9.9.9");
        assert_eq!(named("9.9.9.9", &["1.2.3.4"], &["10.0.0.1"]), "9.9.9.9");
        assert_eq!(named("10.0.0.1", &["1.2.3.4"], &["10.0.0.1"]), "1.2.3.4");
    }

    #[test]
    fn forwarded_addresses_added_by_the_client_are_ignored() {
        let proxies = ["10.0.0.1", "10.0.0.2"];

        assert_eq!(named("10.0.0.1", &["6.6.6.6, 1.2.3.4, 10.0.0.2"], &proxies), "1.2.3.4");
        assert_eq!(named("10.0.0.1", &["6.6.6.6", "1.2.3.4"], &proxies), "1.2.3.4");
        assert_eq!(named("10.0.0.1", &["6.6.6.6, nonsense"], &proxies), "10.0.0.1");
        assert_eq!(named("10.0.0.1", &[], &proxies), "10.0.0.1");
    }

    #[test]
    fn request_is_local_only_if_nothing_stands_between() {
        let local = |peer: &str, header: Option<&'static str>, proxies: &[&str]| {
            let header = header.map(|name| (name.parse().unwrap(), "x".parse().unwrap()));
            let proxies: Vec<IpAddr> = proxies.iter().map(|text| text.parse().unwrap()).collect();
            let remote = SocketAddr::new(peer.parse().unwrap(), 1);
            is_local(Some(remote), &header.into_iter().collect(), &proxies)
        };

        for peer in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
            assert!(local(peer, None, &["10.0.0.1"]), "{peer}");
        }
        assert!(!local("10.0.0.1", None, &[]));
        assert!(!local("127.0.0.1", None, &["127.0.0.1"]));
        for header in INDIRECT {
            assert!(!local("127.0.0.1", Some(header), &[]), "{header}");
        }
        assert!(!is_local(None, &HeaderMap::new(), &[]));
    }

    #[test]
    fn client_address_counts_with_its_network_and_in_one_spelling() {
        assert_eq!(named("2001:db8:1:2:3:4:5:6", &[], &[]), "2001:db8:1:2::");
        assert_eq!(named("::ffff:9.9.9.9", &[], &[]), "9.9.9.9");
        assert_eq!(name(None, &HeaderMap::new(), &[]), "");
    }
}
