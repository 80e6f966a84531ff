//! Where a node may be sent. Redirects to buckets come from the server, but the bucket's name may be
//! a stranger's, who could have it answer with an address of the node's own network; so may the
//! name of an image's registry.

use std::error::Error as StdError;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use common::net::public_ip::is_public;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

const CONNECT: Duration = Duration::from_secs(10);

/// Says which addresses the node's owner lets it read from.
#[derive(Debug, Clone, Copy)]
pub struct SsrfGuard {
    allow_private: bool,
}

/// Why an address is not connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("leads to no URL")]
    NotAUrl,
    #[error("does not lead to the web")]
    NotTheWeb,
    #[error("leads to a private address, which this node's owner does not allow")]
    Private,
}

impl SsrfGuard {
    pub const fn new(allow_private: bool) -> Self {
        Self { allow_private }
    }

    /// Whether the node's owner lets it reach private and loopback addresses.
    pub const fn allows_private(self) -> bool {
        self.allow_private
    }

    /// A client that resolves names behind the guard, and leaves redirects to its user.
    pub fn client(self) -> reqwest::Result<reqwest::Client> {
        reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(CONNECT)
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Arc::new(self))
            .build()
    }

    /// Checks what no resolver is asked about: the scheme, and addresses that stand in the URL.
    pub fn check(self, url: &str) -> Result<Url, Refused> {
        let url: Url = url.parse().map_err(|_| Refused::NotAUrl)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refused::NotTheWeb);
        }
        let host = url.host_str().unwrap_or_default();
        let literal = host.trim_matches(['[', ']']).parse::<IpAddr>();
        if literal.is_ok_and(|ip| !self.allows(ip)) {
            return Err(Refused::Private);
        }
        Ok(url)
    }

    fn allows(self, ip: IpAddr) -> bool {
        self.allow_private || is_public(ip)
    }
}

impl Resolve for SsrfGuard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = *self;
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            // One bad address refuses the name: which of them is connected to is chance.
            if found.iter().any(|address| !guard.allows(address.ip())) {
                return Err(Refused::Private.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// The guard's refusal among the causes of an error, if that is what it was.
pub fn refusal(error: &(dyn StdError + 'static)) -> Option<Refused> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(refused) = error.downcast_ref::<Refused>() {
            return Some(*refused);
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirect_leads_to_the_public_web_only() {
        let closed = SsrfGuard::new(false);
        for url in [
            "http://127.0.0.1/x",
            "http://[::1]/x",
            "http://2130706433/x",
            "http://192.168.1.1:9000/x",
            "file:///etc/passwd",
            "nothing",
        ] {
            assert!(closed.check(url).is_err(), "{url}");
        }
        assert!(closed.check("https://bucket.example.com/x?signature=1").is_ok());
        assert!(SsrfGuard::new(true).check("http://127.0.0.1:9000/x").is_ok());
    }

    #[tokio::test]
    async fn name_that_resolves_to_a_private_address_is_refused() {
        let name = || "localhost".parse::<Name>().unwrap();

        let refused = SsrfGuard::new(false).resolve(name()).await.err().unwrap();
        assert_eq!(refusal(refused.as_ref()), Some(Refused::Private));
        assert!(SsrfGuard::new(true).resolve(name()).await.is_ok());
    }
}
