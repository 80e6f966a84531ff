//! The addresses of servers. libp2p is built without its resolver, so host names are looked up
//! here, afresh for each dial: a server may move while its nodes wait for it.

use std::io;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

use super::Error;

/// Reads the addresses and refuses those that can never be dialled.
pub fn parse(texts: &[String]) -> Result<Vec<Multiaddr>, Error> {
    let error = |text: &str, why| Error::Address { address: text.to_owned(), why };
    if texts.is_empty() {
        return Err(error("", "is missing: give at least one"));
    }
    texts
        .iter()
        .map(|text| {
            let address: Multiaddr = text.parse().map_err(|_| {
                error(text, "is no multiaddr, such as /ip4/192.0.2.1/tcp/8701 or /dns4/host/tcp/8701")
            })?;
            if can_be_dialled(&address) {
                Ok(address)
            } else {
                Err(error(text, "must be /ip4, /ip6, /dns, /dns4 or /dns6, then /tcp/<port>, then at most /p2p/<peer id>"))
            }
        })
        .collect()
}

fn can_be_dialled(address: &Multiaddr) -> bool {
    use Protocol as P;

    let mut parts = address.iter();
    matches!(parts.next(), Some(P::Ip4(_) | P::Ip6(_) | P::Dns(_) | P::Dns4(_) | P::Dns6(_)))
        && matches!(parts.next(), Some(P::Tcp(1..)))
        && matches!(parts.next(), None | Some(P::P2p(_)))
        && parts.next().is_none()
}

/// The address with its host name looked up: one for each of the host's own addresses.
pub async fn resolve(address: &Multiaddr) -> io::Result<Vec<Multiaddr>> {
    use Protocol as P;

    let mut parts = address.iter();
    let (host, v4, v6) = match parts.next() {
        Some(P::Dns(host)) => (host, true, true),
        Some(P::Dns4(host)) => (host, true, false),
        Some(P::Dns6(host)) => (host, false, true),
        Some(_) | None => return Ok(vec![address.clone()]),
    };
    let found = tokio::net::lookup_host((&*host, 0)).await?;
    let mut ips: Vec<_> =
        found.map(|found| found.ip()).filter(|ip| if ip.is_ipv4() { v4 } else { v6 }).collect();
    ips.dedup();
    let rest: Vec<_> = parts.collect();
    let with = |ip| std::iter::once(P::from(ip)).chain(rest.iter().cloned()).collect();
    Ok(ips.into_iter().map(with).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_accepted_only_if_it_can_be_dialled() {
        let peer = libp2p::PeerId::random();
        let good = format!("/dns4/fanfold.example/tcp/8701/p2p/{peer}");
        for (text, taken) in [
            ("/ip4/127.0.0.1/tcp/8701", true),
            ("/ip6/::1/tcp/8701", true),
            (&*good, true),
            ("/ip4/127.0.0.1/udp/8701", false),
            ("/ip4/127.0.0.1/tcp/0", false),
            ("/ip4/127.0.0.1/tcp/8701/ws", false),
            ("/tcp/8701", false),
            ("127.0.0.1:8701", false),
            ("", false),
        ] {
            assert_eq!(parse(&[text.to_owned()]).is_ok(), taken, "{text}");
        }
        assert!(parse(&[]).is_err());
    }

    #[tokio::test]
    async fn host_name_is_resolved_and_the_rest_stays() {
        let peer = libp2p::PeerId::random();
        let address = format!("/dns4/localhost/tcp/8701/p2p/{peer}").parse().unwrap();

        let found = resolve(&address).await.unwrap();

        assert_eq!(found, [format!("/ip4/127.0.0.1/tcp/8701/p2p/{peer}").parse().unwrap()]);
    }
}
