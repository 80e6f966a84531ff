//! Customers' buckets at Amazon, Google, Storj, Azure and their likes, behind the guard.

mod connector;
mod key;
mod open;
mod xml;

use std::sync::Arc;
use std::time::Duration;

use common::error_chain::chain;
use object_store::list::PaginatedListStore;
use object_store::signer::Signer;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::Error;
use super::ssrf_guard;
pub use connector::Connector;
pub use key::At;
use key::Language;

/// What stands in a URL's path as it is.
const PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// What is asked of a customer's store.
pub trait Store: ObjectStore + PaginatedListStore + Signer {}

impl<T: ObjectStore + PaginatedListStore + Signer> Store for T {}

/// A customer's bucket, opened with the customer's keys or without any.
#[derive(Clone)]
pub struct CloudBucket {
    store: Arc<dyn Store>,
    language: Language,
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

/// What a bucket says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// As it is: nothing is normalised.
    pub key: String,
    pub size: u64,
    pub etag: Option<String>,
}

impl Found {
    fn new(key: String, meta: ObjectMeta) -> Self {
        Self { key, size: meta.size, etag: meta.e_tag }
    }

    /// Consoles make an empty object `a/` so that a folder `a` is shown.
    pub fn marks_a_folder(&self) -> bool {
        self.size == 0 && self.key.ends_with('/')
    }
}

/// A part of a listing, and what asks for the next.
pub struct Page {
    pub found: Vec<Found>,
    pub next: Option<String>,
}

impl CloudBucket {
    /// Where the object of a key is.
    ///
    /// # Errors
    /// `Customer`, which names the key, where no request can be made for it.
    pub fn at(&self, key: &str) -> Result<At, Error> {
        self.language.at(&self.store, key)
    }

    /// Fails as [`Self::at`] does.
    pub fn check(&self, key: &str) -> Result<(), Error> {
        self.language.check(key)
    }

    /// What the bucket says of the object of this key; the inner error is the store's.
    pub async fn head(&self, key: &str) -> Result<object_store::Result<Found>, Error> {
        let At { store, path } = self.at(key)?;
        Ok(store.head(&path).await.map(|meta| Found::new(key.to_owned(), meta)))
    }

    /// A page of the objects whose keys begin so; `text` is what messages call them.
    pub async fn list(
        &self,
        prefix: &str,
        page: Option<String>,
        text: &str,
    ) -> Result<Page, Error> {
        let prefix = Some(prefix).filter(|prefix| !prefix.is_empty());
        let page = self.store.list_paginated(prefix, connector::with_keys(page)).await;
        let mut page = page.map_err(|error| self.explain_read(&error, text))?;
        let found = connector::keyed(&mut page).ok_or_else(|| {
            customer(format!(
                "path: the server of the bucket {:?} lists its objects in a way that cannot be \
                 read",
                self.name
            ))
        })?;
        let found = found.into_iter().map(|(key, meta)| Found::new(key, meta)).collect();
        Ok(Page { found, next: page.page_token })
    }

    /// A URL that reads an object for this long, if there can be one; for a public bucket simply its
    /// address.
    pub async fn link(&self, key: &str, lives: Duration) -> Result<Option<String>, Error> {
        let At { store, path } = self.at(key)?;
        match &self.links {
            Links::None => Ok(None),
            Links::Public(address) => {
                Ok(Some(format!("{address}/{}", utf8_percent_encode(key, PATH))))
            }
            Links::Signed | Links::SignedByAzure => {
                let signed = store.signed_url(reqwest::Method::GET, &path, lives).await;
                let url = signed.map_err(|error| self.explain_read(&error, key))?;
                // Azure signs the plain key and our library the escaped one: they must be the same.
                let good = matches!(self.links, Links::Signed) || url.path().ends_with(key);
                Ok(good.then(|| url.into()))
            }
        }
    }

    /// Tells a customer's mistake from a failure of the world, where `key` was to be read.
    pub fn explain_read(&self, error: &object_store::Error, key: &str) -> Error {
        let bucket = &self.name;
        if matches!(error, object_store::Error::Precondition { .. }) {
            return self.changed(key);
        }
        if matches!(error, object_store::Error::NotFound { .. }) && !names_no_bucket(error) {
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

    /// An answer with the object has ended too early, or has more bytes than it said.
    pub fn breaks_off(&self, key: &str) -> Error {
        let (bucket, server) = (&self.name, &self.server);
        Error::Elsewhere(format!(
            "the bucket {bucket:?} at {server} does not work: it breaks off in the middle of {key:?}"
        ))
    }

    /// The same where `key` was to be written.
    pub fn explain_write(&self, error: &object_store::Error, key: &str) -> Error {
        self.explain(error, &format!("lets nobody with these keys write {key:?}"))
    }

    fn explain(&self, error: &object_store::Error, refusal: &str) -> Error {
        use object_store::Error as E;

        let bucket = &self.name;
        if let Some(refused) = ssrf_guard::refusal(error) {
            return customer(format!("endpoint: {refused}"));
        }
        if let Some(why) = ssrf_guard::distrust(error) {
            return customer(format!("endpoint: {} cannot be trusted: {why}", self.server));
        }
        // So the client says that it got the whole in the place of a part.
        if ssrf_guard::cause(error).contains("non-partial response") {
            return customer(format!(
                "endpoint: the store at {} gives no parts of objects, without which its objects \
                 cannot be cut; take whole files (partitioner file), or another store",
                self.server
            ));
        }
        // A listing's error has no kind of its own.
        let said = said(error);
        if matches!(error, E::NotFound { .. }) || said.starts_with("it answered 404") {
            return customer(format!(
                "bucket: there is no bucket {bucket:?}; check its name, region and endpoint"
            ));
        }
        let forbidden = matches!(error, E::PermissionDenied { .. } | E::Unauthenticated { .. })
            || ["it answered 401", "it answered 403"].iter().any(|text| said.starts_with(text));
        if forbidden {
            return customer(format!(
                "secret: the bucket {bucket:?} {refusal} ({said}): check the access key, its \
                 secret key and what they are allowed to do"
            ));
        }
        // The client gives no access to the status behind these.
        if matches!(error, E::Generic { source, .. } if is_refusal(&source.to_string())) {
            return customer(format!(
                "region: the store refuses requests for the bucket {bucket:?} ({said}): check its \
                 name, region and endpoint"
            ));
        }
        let server = &self.server;
        tracing::info!(error = %chain(error), bucket, "a bucket fails");
        Error::Elsewhere(format!("the bucket {bucket:?} at {server} does not work: {said}"))
    }
}

const SAID_CHARS_MAX: usize = 120;

/// What a store answered, in a few words. The whole error has addresses and requests in it.
pub fn said(error: &object_store::Error) -> String {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let text = error.to_string();
        // `Server returned non-2xx status code: 503 Service Unavailable: <body>`
        if let Some((_, status)) = text.split_once("status code: ") {
            let (status, body) = status.split_once(": ").unwrap_or((status, ""));
            let word = body.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
            let word = word.map(|(word, _)| format!(" ({word})")).unwrap_or_default();
            let status: String = format!("it answered {status}{word}");
            return common::input::text::shown(&status).chars().take(SAID_CHARS_MAX).collect();
        }
        cause = error.source();
    }
    "it cannot be reached, or breaks off".to_owned()
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
