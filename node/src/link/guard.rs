//! Where redirects may lead. A link to a bucket comes from the server, but the bucket's name may be
//! a stranger's, who could have it answer with an address of the node's own network.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use common::address::is_public;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::Error;

const CONNECT: Duration = Duration::from_secs(10);

/// Says which addresses the node's owner lets it read from.
#[derive(Debug, Clone, Copy)]
pub struct Guard {
    allow_private: bool,
}

impl Guard {
    pub const fn new(allow_private: bool) -> Self {
        Self { allow_private }
    }

    /// The client that follows redirects to buckets; these need no further ones.
    pub fn client(self) -> Result<reqwest::Client, Error> {
        reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(CONNECT)
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Arc::new(self))
            .build()
            .map_err(|error| Error::Io(io::Error::other(error)))
    }

    /// Checks what no resolver is asked about: the scheme, and addresses that stand in the URL.
    pub fn check(self, url: &str) -> Result<Url, Error> {
        let refused = |message: &str| Error::Refused { message: message.to_owned(), again: false };
        let url: Url = url.parse().map_err(|_| refused("the redirect leads to no URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refused("the redirect does not lead to the web"));
        }
        let host = url.host_str().unwrap_or_default();
        let literal = host.trim_matches(['[', ']']).parse::<IpAddr>();
        if literal.is_ok_and(|ip| !self.allows(ip)) {
            return Err(refused(
                "the redirect leads to a private address, which this node's owner \
                 does not allow",
            ));
        }
        Ok(url)
    }

    fn allows(self, ip: IpAddr) -> bool {
        self.allow_private || is_public(ip)
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = *self;
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            // One bad address refuses the name: which of them is connected to is chance.
            if found.iter().any(|address| !guard.allows(address.ip())) {
                return Err("the name leads to a private address".into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_leads_to_the_public_web_or_nowhere() {
        let closed = Guard::new(false);
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
        assert!(Guard::new(true).check("http://127.0.0.1:9000/x").is_ok());
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_refused_after_it_is_resolved() {
        let name = || "localhost".parse::<Name>().unwrap();

        assert!(Guard::new(false).resolve(name()).await.is_err());
        assert!(Guard::new(true).resolve(name()).await.is_ok());
    }
}
