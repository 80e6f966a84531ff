//! The guard at the way out: customers choose the URLs that the server reads, and must not reach
//! what only the server can see.
//!
//! Names are resolved here and the connection is made to the very addresses that were checked, so
//! that a name cannot change its meaning in between. Hosts written as numbers never reach a
//! resolver: each request and each redirect that is followed calls [`Guard::check`] first.

use std::error::Error as StdError;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use common::net::public_ip::is_public;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use url::{Host, Url};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest silence of a server in the middle of an answer, and before its first byte.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a connection to a receiver of calls is kept without use, and how many for each host: for
/// many calls in a row. What is kept longer costs a file for each host that a customer thinks of.
const CALLER_IDLE: Duration = Duration::from_secs(2);
const CALLER_IDLE_MAX: usize = 256;
/// Ports below are those of system services.
const UNPRIVILEGED: u16 = 1024;
/// The most characters of a cause that are told.
const CAUSE_CHARS_MAX: usize = 120;
/// How many ports the server's owner can allow.
const PORTS_MAX: usize = 32;

/// Says where customers may send the server.
#[derive(Debug, Clone, Copy)]
pub struct Guard {
    /// Everything may be reached then, on any port.
    allow_private: bool,
    ports: Ports,
    /// Every port that no system service listens on is reached too.
    unprivileged: bool,
}

/// The ports that are connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    ports: [u16; PORTS_MAX],
    len: usize,
}

impl Ports {
    /// Those of the web.
    pub const WEB: Self = {
        let mut ports = [0; PORTS_MAX];
        ports[0] = 80;
        ports[1] = 443;
        Self { ports, len: 2 }
    };

    /// `None` where there are none, or more than can be allowed.
    pub fn new(allowed: &[u16]) -> Option<Self> {
        let mut ports = [0; PORTS_MAX];
        ports.get_mut(..allowed.len())?.copy_from_slice(allowed);
        (!allowed.is_empty()).then_some(Self { ports, len: allowed.len() })
    }

    fn has(&self, port: u16) -> bool {
        self.ports[..self.len].contains(&port)
    }
}

impl<'de> Deserialize<'de> for Ports {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ports = Vec::<u16>::deserialize(deserializer)?;
        Self::new(&ports).ok_or_else(|| D::Error::custom(format!("must be 1 to {PORTS_MAX} ports")))
    }
}

/// Why an address is not connected to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("only http and https addresses can be used, not {0:?}")]
    Scheme(String),
    #[error("the address names no host")]
    NoHost,
    #[error(
        "{0} is a private address, which is not connected to: the server's owner allows them with \
         data.allow_private_addresses"
    )]
    Private(String),
    /// Which of the two it is would tell what names the server's own network has.
    #[error(
        "there is no host {0}, or it leads to a private address: the server's owner allows these \
         with data.allow_private_addresses"
    )]
    Unknown(String),
    #[error(
        "the port {0} is not connected to: use the usual one of http or https; the server's owner \
         allows others with data.allowed_ports"
    )]
    Port(u16),
    #[error("it redirects too often")]
    Redirects,
}

impl Guard {
    /// Reaches the ports of the web.
    pub const fn new(allow_private: bool) -> Self {
        Self { allow_private, ports: Ports::WEB, unprivileged: false }
    }

    /// Whether the server's owner lets it reach private and loopback addresses.
    pub const fn allows_private(self) -> bool {
        self.allow_private
    }

    /// Reaches these ports too, and no others.
    #[must_use]
    pub const fn with_ports(self, ports: Ports) -> Self {
        Self { ports, ..self }
    }

    /// Reaches receivers of calls, which listen on ports of all kinds but never on a system
    /// service's.
    #[must_use]
    pub const fn for_calls(self) -> Self {
        Self { unprivileged: true, ..self }
    }

    /// Checks what can be told without resolving: the scheme, the port, and a host written as a
    /// number. It is asked before each connection.
    pub fn check(self, url: &Url) -> Result<(), Refused> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refused::Scheme(url.scheme().to_owned()));
        }
        let ip = match url.host() {
            None | Some(Host::Domain("")) => return Err(Refused::NoHost),
            Some(Host::Domain(_)) => None,
            Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
        };
        if let Some(ip) = ip.filter(|ip| !self.allows(*ip)) {
            return Err(Refused::Private(ip.to_string()));
        }
        let port = url.port_or_known_default().unwrap_or_default();
        let is_open = self.unprivileged && port >= UNPRIVILEGED;
        if self.allow_private || self.ports.has(port) || is_open {
            Ok(())
        } else {
            Err(Refused::Port(port))
        }
    }

    /// A client for customers' addresses. It follows no redirects: code that does checks each hop.
    pub fn client(self) -> reqwest::Result<reqwest::Client> {
        builder().redirect(reqwest::redirect::Policy::none()).dns_resolver(Arc::new(self)).build()
    }

    /// A client for calls, which bring their own limit in time. It keeps connections for moments,
    /// because most receivers are called rarely.
    pub fn caller(self) -> reqwest::Result<reqwest::Client> {
        tls();
        plain()
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Arc::new(self))
            .pool_idle_timeout(CALLER_IDLE)
            .pool_max_idle_per_host(CALLER_IDLE_MAX)
            .build()
    }

    fn allows(self, ip: IpAddr) -> bool {
        self.allow_private || is_public(ip)
    }
}

/// A client for addresses that the server's owner chose: of Fanfold's own bucket, and of the
/// collector of traces.
pub fn own_client() -> reqwest::Result<reqwest::Client> {
    builder().redirect(reqwest::redirect::Policy::none()).build()
}

/// The environment's proxies are not used: they would resolve names beyond the guard.
fn builder() -> reqwest::ClientBuilder {
    tls();
    plain().read_timeout(READ_TIMEOUT)
}

/// A TLS provider that is already installed is kept.
fn tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn plain() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .no_proxy()
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
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
                return Err(Refused::Unknown(host).into());
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

/// The innermost cause of an error, in a few words. What stands around it may have the URL in it.
pub fn cause(error: &(dyn StdError + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    common::input::text::shown(&cause.to_string()).chars().take(CAUSE_CHARS_MAX).collect()
}

/// Why a server's certificate is not accepted, if that is what an error is about: asking again does
/// not change it.
pub fn distrust(error: &(dyn StdError + 'static)) -> Option<String> {
    // The TLS library's own error is not ours to name.
    Some(cause(error)).filter(|why| why.contains("invalid peer certificate"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str) -> Result<(), Refused> {
        Guard::new(false).check(&url.parse().unwrap())
    }

    #[test]
    fn private_addresses_are_refused() {
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
    fn ports_are_limited_to_the_allowed_ones() {
        let refused = |guard: Guard, url: &str| guard.check(&url.parse().unwrap()).err();
        let (usual, open) = (Guard::new(false), Guard::new(true));
        let wide = usual.with_ports(Ports::new(&[443, 9000]).unwrap());

        for url in ["http://h.example/", "https://h.example:443/", "https://h.example:80/"] {
            assert_eq!(refused(usual, url), None, "{url}");
        }
        for (url, port) in [("http://h.example:22/", 22), ("https://h.example:9000/", 9000)] {
            assert_eq!(refused(usual, url), Some(Refused::Port(port)));
            assert_eq!(refused(open, url), None);
        }
        assert_eq!(refused(wide, "https://h.example:9000/"), None);
        assert_eq!(refused(wide, "http://h.example/"), Some(Refused::Port(80)));
        assert_eq!(Ports::new(&[]), None);
        assert_eq!(Ports::new(&[1; PORTS_MAX + 1]), None);
    }

    #[test]
    fn calls_reach_ports_that_no_system_service_has() {
        let guard = Guard::new(false).for_calls();
        let refused = |url: &str| guard.check(&url.parse().unwrap()).err();
        for url in [
            "http://h.example/",
            "https://h.example/",
            "http://h.example:1024/",
            "https://h.example:65535/",
        ] {
            assert_eq!(refused(url), None, "{url}");
        }
        for port in [1, 21, 22, 25, 53, 445, 1023] {
            assert_eq!(refused(&format!("http://h.example:{port}/")), Some(Refused::Port(port)));
        }
    }

    #[test]
    fn schemes_are_limited_to_the_web() {
        for url in ["file:///etc/passwd", "ftp://example.com/x", "gopher://example.com/"] {
            assert!(matches!(check(url), Err(Refused::Scheme(_))), "{url}");
        }
    }

    #[tokio::test]
    async fn name_that_resolves_to_a_private_address_is_refused() {
        let resolved = Guard::new(false).resolve("localhost".parse().unwrap()).await;

        let error = resolved.err().unwrap();
        assert_eq!(refusal(error.as_ref()), Some(&Refused::Unknown("localhost".into())));
        assert!(Guard::new(true).resolve("localhost".parse().unwrap()).await.is_ok());
    }
}
