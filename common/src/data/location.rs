//! Where data lies: what a run reads, and where its results go.
//!
//! A job keeps its locations in this form, and so does its run. What they are called outside is
//! the business of each API.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::net::origin::Origin;
use crate::secret::{Purpose, SecretId, SecretKind, Target};

/// Where data comes from. `F` is what is known of an uploaded file: all of it in a run, and little
/// in a draft.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Source<F = UploadedFile> {
    /// Objects of a customer's bucket; each path is read as a `pattern::Pattern`.
    Cloud { bucket: Cloud, paths: Vec<String> },
    /// An http or https URL, read by ranges where its server can.
    Url { url: String, username: Option<String>, secret: Option<SecretId> },
    /// A file that the customer uploads into Fanfold's bucket.
    File(F),
    /// No data: one empty object, so that a partitioner has something to fan out.
    Bypass,
}

/// The source of a job that has not been started, or of a template.
pub type DraftSource = Source<FileToUpload>;

/// A file that may still be uploaded, or uploaded again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileToUpload {
    /// What the app reads it as; `None` where its owner does not say.
    pub name: Option<String>,
}

/// A file in Fanfold's bucket, as it was called complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UploadedFile {
    pub key: String,
    pub name: String,
    pub size: u64,
    pub identity: Option<Identity>,
}

/// What tells an uploaded file from another one of its size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Identity {
    /// Of its bytes, which the server has taken in itself. It survives a move of the bucket.
    Digest(Digest),
    /// What the bucket calls it, which has taken the bytes in itself.
    Etag(String),
}

impl Identity {
    const DIGEST: &str = "sha-256:";

    /// The identity as one text.
    pub fn text(&self) -> String {
        match self {
            Self::Digest(digest) => format!("{}{digest}", Self::DIGEST),
            Self::Etag(etag) => etag.clone(),
        }
    }

    /// Reads back what [`Self::text`] writes.
    pub fn read(text: &str) -> Self {
        let digest = text.strip_prefix(Self::DIGEST).and_then(|hex| hex.parse().ok());
        digest.map_or_else(|| Self::Etag(text.to_owned()), Self::Digest)
    }
}

/// Where results go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Destination {
    /// A folder of a customer's bucket; an empty one is its root.
    Cloud { bucket: Cloud, folder: String },
    /// Fanfold's own bucket: signed links for 48 hours.
    Bucket,
    /// Nowhere: the results are dropped.
    Bypass,
}

/// A customer's bucket in a cloud.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cloud {
    pub provider: Provider,
    /// The bucket's name; Azure calls it a container.
    pub name: String,
    /// `None` is the provider's own.
    pub endpoint: Option<String>,
    /// The id of the workspace's secret that opens the bucket; `None` for a public one.
    pub secret: Option<SecretId>,
}

/// Whose cloud it is. All but Azure speak Amazon's language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Provider {
    /// Amazon, or anybody's store of the same language at an endpoint of its own.
    Aws {
        region: String,
    },
    /// Google, with HMAC keys.
    Gcp {
        region: String,
    },
    Storj {
        region: String,
    },
    /// The account may be named by the secret alone.
    Azure {
        account: Option<String>,
    },
}

impl Provider {
    /// Its short name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Aws { .. } => "aws",
            Self::Gcp { .. } => "gcp",
            Self::Storj { .. } => "storj",
            Self::Azure { .. } => "azure",
        }
    }

    /// The kind of secret that opens its buckets.
    pub const fn keys(&self) -> SecretKind {
        match self {
            Self::Aws { .. } => SecretKind::Aws,
            Self::Gcp { .. } => SecretKind::Gcp,
            Self::Storj { .. } => SecretKind::Storj,
            Self::Azure { .. } => SecretKind::Azure,
        }
    }
}

/// What sources and destinations have in common: a secret may open them.
pub trait Location: Sized {
    /// The id of the secret that opens it.
    fn secret(&self) -> Option<&SecretId>;

    /// The same location, opened by this secret or by none.
    #[must_use]
    fn with_secret(self, secret: Option<SecretId>) -> Self;

    /// Where a secret that opens it is sent; `None` where none is needed.
    fn target(&self) -> Option<Target<'_>>;

    /// What keys are for that were given with the location itself: for it alone.
    fn purpose(&self) -> Option<Purpose> {
        match self.target()? {
            Target::Bucket(bucket) => Some(bucket.purpose()),
            Target::Url(url) => Origin::of(url).ok().map(|origin| Purpose::Url { origin }),
            Target::Registry(_) | Target::Container | Target::Call => None,
        }
    }
}

impl<F> Location for Source<F> {
    fn secret(&self) -> Option<&SecretId> {
        match self {
            Self::Cloud { bucket, .. } => bucket.secret.as_ref(),
            Self::Url { secret, .. } => secret.as_ref(),
            Self::File(_) | Self::Bypass => None,
        }
    }

    fn with_secret(self, secret: Option<SecretId>) -> Self {
        match self {
            Self::Cloud { bucket, paths } => {
                Self::Cloud { bucket: Cloud { secret, ..bucket }, paths }
            }
            Self::Url { url, username, .. } => Self::Url { url, username, secret },
            Self::File(_) | Self::Bypass => self,
        }
    }

    fn target(&self) -> Option<Target<'_>> {
        match self {
            Self::Cloud { bucket, .. } => Some(Target::Bucket(bucket)),
            Self::Url { url, .. } => Some(Target::Url(url)),
            Self::File(_) | Self::Bypass => None,
        }
    }
}

impl Location for Destination {
    fn secret(&self) -> Option<&SecretId> {
        match self {
            Self::Cloud { bucket, .. } => bucket.secret.as_ref(),
            Self::Bucket | Self::Bypass => None,
        }
    }

    fn with_secret(self, secret: Option<SecretId>) -> Self {
        match self {
            Self::Cloud { bucket, folder } => {
                Self::Cloud { bucket: Cloud { secret, ..bucket }, folder }
            }
            Self::Bucket | Self::Bypass => self,
        }
    }

    fn target(&self) -> Option<Target<'_>> {
        match self {
            Self::Cloud { bucket, .. } => Some(Target::Bucket(bucket)),
            Self::Bucket | Self::Bypass => None,
        }
    }
}

impl Cloud {
    fn purpose(&self) -> Purpose {
        match &self.provider {
            Provider::Aws { .. } => Purpose::Aws,
            Provider::Gcp { .. } => Purpose::Gcp,
            Provider::Storj { .. } => Purpose::Storj,
            Provider::Azure { .. } => {
                let endpoint = self.endpoint.as_deref().and_then(|url| Origin::of(url).ok());
                Purpose::Azure { endpoint }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upload_identity_is_read_back_from_its_text() {
        let digest = Identity::Digest(Digest::of(b"x"));
        for identity in [digest, Identity::Etag("\"sha-256:1\"".into())] {
            assert_eq!(Identity::read(&identity.text()), identity);
        }
    }

    #[test]
    fn location_has_a_stored_form_of_its_own() {
        let stored = |source: &DraftSource| serde_json::to_string(source).unwrap();

        assert_eq!(stored(&Source::Bypass), r#""bypass""#);
        let file = Source::File(FileToUpload { name: Some("a.csv".to_owned()) });
        assert_eq!(stored(&file), r#"{"file":{"name":"a.csv"}}"#);
        let bucket = Cloud {
            provider: Provider::Storj { region: "global".to_owned() },
            name: "b".to_owned(),
            endpoint: None,
            secret: None,
        };
        let folder = Destination::Cloud { bucket, folder: "out".to_owned() };
        assert_eq!(
            serde_json::to_string(&folder).unwrap(),
            r#"{"cloud":{"bucket":{"provider":{"storj":{"region":"global"}},"name":"b","endpoint":null,"secret":null},"folder":"out"}}"#
        );
    }
}
