//! Which network addresses strangers may send a server or a node to.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether anybody on the Internet can be meant by this address.
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => ip.to_ipv4_mapped().map_or_else(|| is_public_v6(ip), is_public_v4),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, d] = ip.octets();
    let reserved = matches!(
        (a, b, c),
        (0 | 10 | 127, _, _)
            | (100, 64..=127, _)        // carrier-grade NAT
            | (169, 254, _)             // link-local: the clouds' metadata
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)           // protocol assignments, documentation
            | (192, 88, 99)             // 6to4 relays
            | (192, 168, _)
            | (198, 18..=19, _)         // benchmarks
            | (198, 51, 100)
            | (203, 0, 113)
            | (224.., _, _) // multicast, reserved, broadcast
    );
    // Azure's metadata lives at a public address.
    !reserved && [a, b, c, d] != [168, 63, 129, 16]
}

/// Only global unicast, without the ranges that carry an IPv4 address inside (Teredo, 6to4) or
/// are for documentation. Everything private lies outside of 2000::/3.
fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.segments();
    let global = a & 0xe000 == 0x2000;
    let special =
        (a == 0x2001 && (b < 0x0200 || b == 0x0db8)) || a == 0x2002 || a & 0xfff0 == 0x3ff0;
    global && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_ip_excludes_addresses_of_the_machine_and_its_network() {
        for (address, public) in [
            ("1.1.1.1", true),
            ("172.32.0.1", true),
            ("2606:4700::1111", true),
            ("127.0.0.1", false),
            ("10.1.2.3", false),
            ("169.254.169.254", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("fd00:ec2::254", false),
            ("2002:7f00:1::", false),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), public, "{address}");
        }
    }
}
