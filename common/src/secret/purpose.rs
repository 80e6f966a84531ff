//! What a secret may be used for: its kind and the place that it may go to must fit.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::compute::image::Reference;
use crate::data::location::{Cloud, Provider};
use crate::net::origin::{NotAnAddress, Origin};

/// What a secret is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretKind {
    Aws,
    Gcp,
    Storj,
    Azure,
    /// A user name and a password for one web server.
    Url,
    /// A login to one registry of images.
    Registry,
    /// A text for containers.
    Other,
}

impl SecretKind {
    pub const ALL: [Self; 7] =
        [Self::Aws, Self::Gcp, Self::Storj, Self::Azure, Self::Url, Self::Registry, Self::Other];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Gcp => "gcp",
            Self::Storj => "storj",
            Self::Azure => "azure",
            Self::Url => "url",
            Self::Registry => "registry",
            Self::Other => "other",
        }
    }

    /// The kind that is stored under this name.
    pub fn stored(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether a container may have it. A password for one server is sent to no other place, and
    /// in a container it could be sent anywhere.
    pub const fn is_for_containers(self) -> bool {
        match self {
            Self::Aws | Self::Gcp | Self::Storj | Self::Azure | Self::Other => true,
            Self::Url | Self::Registry => false,
        }
    }
}

impl fmt::Display for SecretKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no kind of secret that members store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be aws, gcp, storj, azure, url, registry or other")]
pub struct NotAKind;

impl FromStr for SecretKind {
    type Err = NotAKind;

    /// Reads a kind as members write it; `s3` is the old name of `aws`.
    fn from_str(text: &str) -> Result<Self, NotAKind> {
        if text.eq_ignore_ascii_case("s3") {
            return Ok(Self::Aws);
        }
        Self::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(text)).ok_or(NotAKind)
    }
}

/// What a secret is, and where it may be sent.
///
/// The keys of Amazon's language sign requests and are never sent, so their stores need no bound.
/// A shared access signature of Azure and a password are sent as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    Aws,
    Gcp,
    Storj,
    /// Keys of the account that is their access key, at this store; `None` is Azure itself.
    Azure {
        endpoint: Option<Origin>,
    },
    Url {
        origin: Origin,
    },
    /// The host, and its port if there is one.
    Registry {
        host: String,
    },
    Other,
}

/// Where a secret is about to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    Bucket(&'a Cloud),
    Url(&'a str),
    /// The host, and its port if there is one.
    Registry(&'a str),
    Container,
    /// A header of a call, or its signature.
    Call,
}

/// Why a secret cannot have this purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unbound {
    #[error("is missing: a secret of type {0} is sent to one server only, such as https://host")]
    Missing(SecretKind),
    #[error("must be left out: a secret of type {0} is not bound to a server")]
    Needless(SecretKind),
    #[error("must be an address without a path, such as https://host")]
    Address(#[from] NotAnAddress),
    #[error("must be the host of a registry, such as ghcr.io or registry.example:5000")]
    Registry,
}

/// Why a secret does not go to a place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misuse {
    #[error("is of type {is}, and {place} takes {takes}: store one of that type")]
    Kind { is: SecretKind, place: &'static str, takes: &'static str },
    #[error("is bound to {0} and is sent nowhere else: store another one for this address")]
    Elsewhere(String),
    #[error(
        "holds keys of the account {0:?} and opens no other: name that account, or store keys of this one"
    )]
    Account(String),
}

/// The registry of a host, as images name it.
fn registry(host: &str) -> Result<String, Unbound> {
    let image: Reference = format!("{host}/image").parse().map_err(|_| Unbound::Registry)?;
    // A word without a dot or a port would be the first part of a name at the default registry.
    let is_host = ["image", "library/image"].contains(&image.repository.as_str());
    if is_host { Ok(image.host) } else { Err(Unbound::Registry) }
}

impl Purpose {
    /// The purpose of a secret of this kind that is bound to this server.
    pub fn read(kind: SecretKind, bound_to: Option<&str>) -> Result<Self, Unbound> {
        match (kind, bound_to) {
            (SecretKind::Azure, None) => Ok(Self::Azure { endpoint: None }),
            (SecretKind::Azure, Some(address)) => {
                Ok(Self::Azure { endpoint: Some(Origin::parse(address)?) })
            }
            (SecretKind::Url, Some(address)) => Ok(Self::Url { origin: Origin::parse(address)? }),
            (SecretKind::Registry, Some(host)) => Ok(Self::Registry { host: registry(host)? }),
            (SecretKind::Url | SecretKind::Registry, None) => Err(Unbound::Missing(kind)),
            (SecretKind::Aws, None) => Ok(Self::Aws),
            (SecretKind::Gcp, None) => Ok(Self::Gcp),
            (SecretKind::Storj, None) => Ok(Self::Storj),
            (SecretKind::Other, None) => Ok(Self::Other),
            (
                SecretKind::Aws | SecretKind::Gcp | SecretKind::Storj | SecretKind::Other,
                Some(_),
            ) => Err(Unbound::Needless(kind)),
        }
    }

    pub const fn kind(&self) -> SecretKind {
        match self {
            Self::Aws => SecretKind::Aws,
            Self::Gcp => SecretKind::Gcp,
            Self::Storj => SecretKind::Storj,
            Self::Azure { .. } => SecretKind::Azure,
            Self::Url { .. } => SecretKind::Url,
            Self::Registry { .. } => SecretKind::Registry,
            Self::Other => SecretKind::Other,
        }
    }

    /// The only server that it is sent to, where there is one.
    pub fn bound_to(&self) -> Option<&str> {
        match self {
            Self::Azure { endpoint } => endpoint.as_ref().map(Origin::as_str),
            Self::Url { origin } => Some(origin.as_str()),
            Self::Registry { host } => Some(host),
            Self::Aws | Self::Gcp | Self::Storj | Self::Other => None,
        }
    }

    /// Whether a secret of this purpose may go there; `access_key` is its public half.
    pub fn check(&self, access_key: &str, target: &Target<'_>) -> Result<(), Misuse> {
        match (self, target) {
            (Self::Url { origin }, Target::Url(url)) => {
                let same = Origin::of(url).is_ok_and(|other| other == *origin);
                if same { Ok(()) } else { Err(Misuse::Elsewhere(origin.to_string())) }
            }
            (Self::Registry { host }, Target::Registry(other)) => {
                if host == other {
                    Ok(())
                } else {
                    Err(Misuse::Elsewhere(host.clone()))
                }
            }
            (Self::Azure { endpoint }, Target::Bucket(cloud)) => match &cloud.provider {
                Provider::Azure { account } => {
                    azure(endpoint.as_ref(), access_key, cloud, account.as_deref())
                }
                Provider::Aws { .. } | Provider::Gcp { .. } | Provider::Storj { .. } => {
                    Err(self.kind_of(target))
                }
            },
            (Self::Aws | Self::Gcp | Self::Storj, Target::Bucket(cloud)) => {
                let same = self.kind() == cloud.provider.keys();
                if same { Ok(()) } else { Err(self.kind_of(target)) }
            }
            (_, Target::Container) if self.kind().is_for_containers() => Ok(()),
            (Self::Other, Target::Call) => Ok(()),
            (
                _,
                Target::Bucket(_)
                | Target::Url(_)
                | Target::Registry(_)
                | Target::Container
                | Target::Call,
            ) => Err(self.kind_of(target)),
        }
    }

    fn kind_of(&self, target: &Target<'_>) -> Misuse {
        let (place, takes) = match target {
            Target::Bucket(cloud) => ("this bucket", cloud.provider.keys().name()),
            Target::Url(_) => ("an address", "url"),
            Target::Registry(_) => ("a registry", "only the login of the package itself"),
            Target::Container => ("a container", "aws, gcp, storj, azure or other"),
            Target::Call => ("a call", "other"),
        };
        Misuse::Kind { is: self.kind(), place, takes }
    }
}

/// Keys of an Azure account go to that account alone: the name of the account makes the address,
/// and a shared access signature stands in each request.
fn azure(
    endpoint: Option<&Origin>,
    own: &str,
    cloud: &Cloud,
    account: Option<&str>,
) -> Result<(), Misuse> {
    if account.is_some_and(|account| account != own) {
        return Err(Misuse::Account(own.to_owned()));
    }
    let usual = format!("https://{own}.blob.core.windows.net");
    let bound = endpoint.map_or(usual.as_str(), Origin::as_str);
    let there = cloud.endpoint.as_deref().unwrap_or(&usual);
    if Origin::of(there).is_ok_and(|there| there.as_str() == bound) {
        Ok(())
    } else {
        Err(Misuse::Elsewhere(bound.to_owned()))
    }
}

#[cfg(test)]
mod tests;
