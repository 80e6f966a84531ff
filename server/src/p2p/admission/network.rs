//! From where a connection comes, as far as limits are concerned.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// One IPv4 address, or the /64 of IPv6 addresses that one customer of a provider has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network(IpAddr);

impl Network {
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.into()),
            IpAddr::V6(address) => {
                let prefix = address.to_bits() >> 64 << 64;
                Self(Ipv6Addr::from_bits(prefix).into())
            }
        }
    }

    /// The network of a peer's address; all without an IP address count as one.
    #[expect(clippy::wildcard_enum_match_arm, reason = "only two of all parts are IP addresses")]
    pub fn of_multiaddr(address: &Multiaddr) -> Self {
        let found = address.iter().find_map(|part| match part {
            Protocol::Ip4(ip) => Some(IpAddr::from(ip)),
            Protocol::Ip6(ip) => Some(IpAddr::from(ip)),
            _ => None,
        });
        Self::of(found.unwrap_or(Ipv4Addr::UNSPECIFIED.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_is_an_ipv4_address_or_an_ipv6_prefix() {
        let of = |text: &str| Network::of(text.parse().unwrap());

        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1:2:3"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        let address: Multiaddr = "/ip4/192.0.2.1/tcp/4000".parse().unwrap();
        assert_eq!(Network::of_multiaddr(&address), of("192.0.2.1"));
    }
}
