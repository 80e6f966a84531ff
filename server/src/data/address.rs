//! The guard at the way out: customers choose the URLs that the server reads, and must not reach
//! what only the server can see.
//!
//! Names are resolved here and the connection is made to the very addresses that were checked, so
//! that a name cannot change its meaning in between. Hosts written as numbers never reach a
//! resolver: whoever makes a request or follows a redirect calls [`Guard::check`] first.

use std::error::Error as StdError;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use common::address::is_public;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest silence of a server in the middle of an answer, and before its first byte.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
const REDIRECTS_MAX: usize = 5;

/// Says where customers may send the server.
#[derive(Debug, Clone, Copy)]
pub struct Guard {
    allow_private: bool,
}

/// Why an address is not connected to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("only http and https addresses can be used, not {0:?}")]
    Scheme(String),
    #[error("the address names no host")]
    NoHost,
    #[error("{0} is or leads to a private address, which cannot be reached from here")]
    Private(String),
    #[error("there is no host {0}")]
    Unknown(String),
    #[error("it redirects more than {REDIRECTS_MAX} times")]
    Redirects,
}

impl Guard {
    pub const fn new(allow_private: bool) -> Self {
        Self { allow_private }
    }

    /// Checks what can be told without resolving: the scheme, and a host written as a number.
    pub fn check(self, url: &Url) -> Result<(), Refused> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refused::Scheme(url.scheme().to_owned()));
        }
        let ip = match url.host() {
            None | Some(Host::Domain("")) => return Err(Refused::NoHost),
            Some(Host::Domain(_)) => return Ok(()),
            Some(Host::Ipv4(ip)) => IpAddr::V4(ip),
            Some(Host::Ipv6(ip)) => IpAddr::V6(ip),
        };
        if self.allows(ip) { Ok(()) } else { Err(Refused::Private(ip.to_string())) }
    }

    /// A client for whole URLs of customers; each hop of a redirect is checked.
    pub fn web_client(self) -> reqwest::Result<reqwest::Client> {
        let policy = reqwest::redirect::Policy::custom(move |attempt| {
            if attempt.previous().len() > REDIRECTS_MAX {
                return attempt.error(Refused::Redirects);
            }
            match self.check(attempt.url()) {
                Ok(()) => attempt.follow(),
                Err(refused) => attempt.error(refused),
            }
        });
        self.client(policy)
    }

    /// A client for customers' object stores, whose protocol needs no redirects.
    pub fn store_client(self) -> reqwest::Result<reqwest::Client> {
        self.client(reqwest::redirect::Policy::none())
    }

    fn client(self, policy: reqwest::redirect::Policy) -> reqwest::Result<reqwest::Client> {
        builder().redirect(policy).dns_resolver(Arc::new(self)).build()
    }

    fn allows(self, ip: IpAddr) -> bool {
        self.allow_private || is_public(ip)
    }
}

/// A client for Fanfold's own bucket, whose address the server's owner chose.
pub fn own_client() -> reqwest::Result<reqwest::Client> {
    builder().redirect(reqwest::redirect::Policy::none()).build()
}

/// The environment's proxies are not used: they would resolve names beyond the guard.
fn builder() -> reqwest::ClientBuilder {
    // Whoever installed another TLS provider first chose it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .user_agent(concat!("fanfold/", env!("CARGO_PKG_VERSION")))
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = *self;
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found = tokio::net::lookup_host((host.as_str(), 0)).await;
            let found: Vec<SocketAddr> = match found.map(Iterator::collect) {
                Ok(found) => found,
                // The resolver itself did not answer: that says nothing about the name.
                Err(error) if error.to_string().contains("Temporary failure") => {
                    return Err(error.into());
                }
                Err(_) => return Err(Refused::Unknown(host).into()),
            };
            if found.is_empty() {
                return Err(Refused::Unknown(host).into());
            }
            // One bad address refuses the name: which of them is connected to is chance.
            if found.iter().any(|address| !guard.allows(address.ip())) {
                return Err(Refused::Private(host).into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// The guard's refusal among the causes of an error, if that is what it was.
pub fn refusal<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Refused> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(refused) = error.downcast_ref::<Refused>() {
            return Some(refused);
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str) -> Result<(), Refused> {
        Guard::new(false).check(&url.parse().unwrap())
    }

    #[test]
    fn addresses_that_only_the_server_can_see_are_refused() {
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f.0.0.1",
            "0177.0.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.100.100.200",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "168.63.129.16",
            "[::]",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:a9fe:a9fe]",
            "[::127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[2001:0:1::1]",
            "[fc00::1]",
            "[fd00:ec2::254]",
            "[fe80::1]",
            "[fec0::1]",
            "[ff02::1]",
            "[2001:db8::1]",
        ] {
            let refused = check(&format!("http://{host}/x"));

            assert!(matches!(refused, Err(Refused::Private(_))), "{host}: {refused:?}");
        }
    }

    #[test]
    fn public_addresses_and_names_pass() {
        for host in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "[2606:4700::1111]", "example.com"] {
            assert_eq!(check(&format!("https://{host}/x")), Ok(()), "{host}");
        }
        assert_eq!(Guard::new(true).check(&"http://127.0.0.1/".parse().unwrap()), Ok(()));
    }

    #[test]
    fn only_the_web_can_be_reached() {
        for url in ["file:///etc/passwd", "ftp://example.com/x", "gopher://example.com/"] {
            assert!(matches!(check(url), Err(Refused::Scheme(_))), "{url}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_refused_after_it_is_resolved() {
        let resolved = Guard::new(false).resolve("localhost".parse().unwrap()).await;

        let error = resolved.err().unwrap();
        assert_eq!(refusal(error.as_ref()), Some(&Refused::Private("localhost".into())));
        assert!(Guard::new(true).resolve("localhost".parse().unwrap()).await.is_ok());
    }
}
