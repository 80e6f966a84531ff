//! Customers' buckets on Amazon S3 and its likes, behind the guard.

use std::time::Duration;

use common::spec::S3;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{HttpClient, HttpConnector};
use object_store::path::Path;
use object_store::signer::Signer as _;
use object_store::{ClientOptions, RetryConfig};
use url::Url;

use super::Error;
use super::address::{self, Guard};
use crate::secrets::KeyPair;

/// A customer's own store gets fewer tries than ours: what fails longer is the run's to retry.
const RETRIES_MAX: usize = 3;
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);

/// Makes object_store use a client of ours.
#[derive(Debug)]
pub struct Connector(pub reqwest::Client);

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}

/// A customer's bucket, opened with the customer's keys or without any.
#[derive(Clone)]
pub struct CustomerBucket {
    pub store: AmazonS3,
    /// What error texts call it.
    pub name: String,
    /// The address of the bucket, for links into a public one.
    public: Option<String>,
}

impl CustomerBucket {
    /// # Errors
    /// `Customer`, which names the field that cannot be used.
    pub fn open(
        place: &S3,
        keys: Option<&KeyPair>,
        guard: Guard,
        client: reqwest::Client,
    ) -> Result<Self, Error> {
        if !is_plain(&place.bucket, 3, 255, "-._") {
            return Err(customer(format!("bucket: {:?} is not a bucket's name", place.bucket)));
        }
        if !is_plain(&place.region, 1, 64, "-") {
            return Err(customer(format!("region: {:?} is not a region's name", place.region)));
        }
        let endpoint = place.endpoint.as_deref().map(|text| endpoint(text, guard)).transpose()?;

        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&place.bucket)
            .with_region(&place.region)
            .with_allow_http(true)
            .with_retry(RetryConfig {
                max_retries: RETRIES_MAX,
                retry_timeout: RETRY_TIMEOUT,
                ..RetryConfig::default()
            })
            .with_http_connector(Connector(client));
        builder = match keys {
            Some(keys) => builder
                .with_access_key_id(&keys.access_key)
                .with_secret_access_key(&keys.secret_key),
            // Without keys of any kind, object_store would ask this machine's cloud for its own.
            None => builder
                .with_access_key_id("none")
                .with_secret_access_key("none")
                .with_skip_signature(true),
        };
        if let Some(endpoint) = &endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        let host = endpoint.unwrap_or_else(|| format!("https://s3.{}.amazonaws.com", place.region));
        Ok(Self {
            store: builder.build()?,
            name: place.bucket.clone(),
            public: keys.is_none().then(|| format!("{host}/{}", place.bucket)),
        })
    }

    /// A URL that reads an object for so long; for a public bucket simply its address.
    pub async fn link(&self, key: &str, lives: Duration) -> Result<String, Error> {
        let path = self.path(key)?;
        let Some(public) = &self.public else {
            let signed = self.store.signed_url(reqwest::Method::GET, &path, lives).await;
            return Ok(signed.map_err(|error| self.explain_read(error, key))?.into());
        };
        let mut url: Url = public.parse().map_err(std::io::Error::other)?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.extend(path.as_ref().split('/'));
        }
        Ok(url.into())
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
        if matches!(error, object_store::Error::NotFound { .. }) && !names_no_bucket(&error) {
            return customer(format!(
                "path: there is no object {key:?} in the bucket {bucket:?}, or these keys must \
                 not see it"
            ));
        }
        self.explain(error, &format!("lets nobody with these keys read {key:?}"))
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
    error.to_string().contains("NoSuchBucket")
}

/// Whether the store's answer says that the request will never be right.
fn is_refusal(text: &str) -> bool {
    ["redirect", "400 Bad Request", "301 Moved", "307 Temporary", "405 Method"]
        .iter()
        .any(|sign| text.contains(sign))
}

/// The endpoint as a plain address: scheme, host, port and path, checked by the guard.
fn endpoint(text: &str, guard: Guard) -> Result<String, Error> {
    let url: Url = text
        .parse()
        .map_err(|_| customer(format!("endpoint: {text:?} is not a URL such as https://host")))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(customer("endpoint: it must not contain a user or a password".to_owned()));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(customer("endpoint: it must not contain a query".to_owned()));
    }
    guard.check(&url).map_err(|refused| customer(format!("endpoint: {refused}")))?;
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn is_plain(text: &str, min: usize, max: usize, also: &str) -> bool {
    (min..=max).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c))
        && !text.contains("..")
}

fn customer(text: String) -> Error {
    Error::Customer(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::testing::customer as text_of;

    fn place() -> S3 {
        S3 {
            bucket: "my-bucket".into(),
            path: "x".into(),
            region: "eu-west-1".into(),
            endpoint: None,
            secret: None,
        }
    }

    fn open(place: &S3) -> Result<CustomerBucket, Error> {
        let guard = Guard::new(false);
        CustomerBucket::open(place, None, guard, guard.store_client().unwrap())
    }

    #[tokio::test]
    async fn a_public_object_is_linked_without_keys() {
        let link = open(&place()).unwrap().link("in/a b?.txt", Duration::from_secs(60)).await;

        let expected = "https://s3.eu-west-1.amazonaws.com/my-bucket/in/a%20b%3F.txt";
        assert_eq!(link.unwrap(), expected);
    }

    #[test]
    fn names_that_would_change_the_address_are_refused() {
        for bucket in ["", "a", "a/b", "b?c", "..", "a..b", "evil.com#", "a b", "ü-bucket"] {
            let opened = open(&S3 { bucket: bucket.into(), ..place() });
            assert!(text_of(opened).starts_with("bucket: "), "{bucket}");
        }
        for region in ["", "evil.com/", "x@y", "a b", "a.b"] {
            let opened = open(&S3 { region: region.into(), ..place() });
            assert!(text_of(opened).starts_with("region: "), "{region}");
        }
    }

    #[test]
    fn endpoints_that_lead_inside_are_refused() {
        for endpoint in [
            "",
            "minio:9000",
            "file:///etc",
            "http://127.0.0.1:9000",
            "http://[::1]/",
            "http://2130706433",
            "http://169.254.169.254/",
            "https://user:pw@example.com",
            "https://example.com?x=y",
            "https://example.com/#x",
        ] {
            let opened = open(&S3 { endpoint: Some(endpoint.into()), ..place() });
            let text = text_of(opened);
            assert!(text.starts_with("endpoint: ") && !text.contains("pw"), "{text}");
        }
    }

    #[tokio::test]
    async fn an_endpoint_whose_name_leads_inside_is_refused() {
        let endpoint = Some("http://localhost:1".to_owned());
        let bucket = open(&S3 { endpoint, ..place() }).unwrap();

        let path = bucket.path("x").unwrap();
        let error = object_store::ObjectStoreExt::head(&bucket.store, &path).await.unwrap_err();

        let text = text_of::<()>(Err(bucket.explain_read(error, "x")));
        assert!(text.starts_with("endpoint: localhost is or leads to a private address"), "{text}");
    }
}
