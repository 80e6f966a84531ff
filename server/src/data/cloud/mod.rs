//! Customers' buckets at Amazon, Google, Storj, Azure and their likes, behind the guard.

mod open;

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::list::PaginatedListStore;
use object_store::path::Path;
use object_store::signer::Signer;
use url::Url;

use super::Error;
use super::address;
pub use open::Connector;

/// What is asked of a customer's store.
pub trait Store: ObjectStore + PaginatedListStore + Signer {}

impl<T: ObjectStore + PaginatedListStore + Signer> Store for T {}

/// A customer's bucket, opened with the customer's keys or without any.
#[derive(Clone)]
pub struct CloudBucket {
    pub store: Arc<dyn Store>,
    /// What error texts call it.
    pub name: String,
    /// The host that it is on.
    pub server: String,
    links: Links,
}

/// How somebody without keys can read an object.
#[derive(Clone)]
enum Links {
    Signed,
    /// The same as Azure does it.
    SignedByAzure,
    /// At its plain address below this one: the bucket is public.
    Public(String),
    /// Not at all: a shared access signature would be handed on with all that it allows.
    None,
}

impl CloudBucket {
    /// A URL that reads an object for so long, if there can be one; for a public bucket simply its
    /// address.
    pub async fn link(&self, key: &str, lives: Duration) -> Result<Option<String>, Error> {
        let path = self.path(key)?;
        let public = match &self.links {
            Links::None => return Ok(None),
            Links::Public(address) => address,
            Links::Signed | Links::SignedByAzure => {
                let signed = self.store.signed_url(reqwest::Method::GET, &path, lives).await;
                let url = signed.map_err(|error| self.explain_read(error, key))?;
                // Azure signs the plain key and our library the escaped one: they must be the same.
                let good = matches!(self.links, Links::Signed) || url.path().ends_with(key);
                return Ok(good.then(|| url.into()));
            }
        };
        let mut url: Url = public.parse().map_err(std::io::Error::other)?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.extend(path.as_ref().split('/'));
        }
        Ok(Some(url.into()))
    }

    /// # Errors
    /// `Customer` where no object can have this key.
    #[expect(clippy::unused_self, reason = "a key means something in its bucket only")]
    pub fn path(&self, key: &str) -> Result<Path, Error> {
        let path = Path::parse(key)
            .map_err(|_| customer(format!("path: {key:?} is not a key that can be used")))?;
        if path.is_root() {
            return Err(customer("path: it must name an object of the bucket".to_owned()));
        }
        Ok(path)
    }

    /// Tells a customer's mistake from a failure of the world, where `key` was to be read.
    pub fn explain_read(&self, error: object_store::Error, key: &str) -> Error {
        let bucket = &self.name;
        if matches!(error, object_store::Error::Precondition { .. }) {
            return self.changed(key);
        }
        if matches!(error, object_store::Error::NotFound { .. }) && !names_no_bucket(&error) {
            return customer(format!(
                "path: there is no object {key:?} in the bucket {bucket:?}, or these keys must \
                 not see it"
            ));
        }
        self.explain(error, &format!("lets nobody with these keys read {key:?}"))
    }

    /// The object is no longer the one that was looked at.
    pub fn changed(&self, key: &str) -> Error {
        customer(format!(
            "path: the object {key:?} in the bucket {:?} has changed since the run started; run \
             the job again",
            self.name
        ))
    }

    /// The same where `key` was to be written.
    pub fn explain_write(&self, error: object_store::Error, key: &str) -> Error {
        self.explain(error, &format!("lets nobody with these keys write {key:?}"))
    }

    fn explain(&self, error: object_store::Error, refusal: &str) -> Error {
        use object_store::Error as E;

        let bucket = &self.name;
        if let Some(refused) = address::refusal(&error) {
            return customer(format!("endpoint: {refused}"));
        }
        if matches!(error, E::InvalidPath { .. }) {
            return customer(format!(
                "path: a file in the bucket {bucket:?} has a name that cannot be used, with an \
                 empty folder, . or .. in it: {error}"
            ));
        }
        if matches!(error, E::NotFound { .. }) {
            return customer(format!(
                "bucket: there is no bucket {bucket:?}; check its name, region and endpoint"
            ));
        }
        if matches!(error, E::PermissionDenied { .. } | E::Unauthenticated { .. }) {
            return customer(format!(
                "secret: the bucket {bucket:?} {refusal}: check the access key, its secret key \
                 and what they are allowed to do"
            ));
        }
        // The client gives no access to the status behind these.
        if matches!(&error, E::Generic { source, .. } if is_refusal(&source.to_string())) {
            return customer(format!(
                "region: the store refuses requests for the bucket {bucket:?}: check its name, \
                 region and endpoint"
            ));
        }
        error.into()
    }
}

fn names_no_bucket(error: &object_store::Error) -> bool {
    let text = error.to_string();
    text.contains("NoSuchBucket") || text.contains("ContainerNotFound")
}

/// Whether the store's answer says that the request will never be right.
fn is_refusal(text: &str) -> bool {
    ["redirect", "400 Bad Request", "301 Moved", "307 Temporary", "405 Method"]
        .iter()
        .any(|sign| text.contains(sign))
}

fn customer(text: String) -> Error {
    Error::Customer(text)
}

#[cfg(test)]
mod azure_tests;
#[cfg(test)]
mod tests;
