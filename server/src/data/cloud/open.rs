//! Opening a customer's bucket: which store it is, at which address, with which keys.

use std::sync::Arc;
use std::time::Duration;

use common::data::location::{Cloud, Provider};
use object_store::RetryConfig;
use object_store::aws::AmazonS3Builder;
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use url::Url;

use super::connector::Connector;
use super::key::Language;
use super::{CloudBucket, Error, Links, customer};
use crate::data::ssrf_guard::Guard;
use crate::secrets::KeyPair;

/// A customer's own store gets fewer tries than ours: what fails longer is the run's to retry.
const RETRIES_MAX: usize = 3;
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);

impl CloudBucket {
    /// # Errors
    /// `Customer`, which names the field that cannot be used.
    pub fn open(
        cloud: &Cloud,
        keys: Option<&KeyPair>,
        guard: Guard,
        client: reqwest::Client,
    ) -> Result<Self, Error> {
        let is_azure = matches!(cloud.provider, Provider::Azure { .. });
        // Azure's own containers begin with a dollar.
        let plain = cloud.name.strip_prefix('$').filter(|_| is_azure).unwrap_or(&cloud.name);
        if !is_plain(plain, 3, 255, "-._") {
            return Err(customer(format!("bucket: {:?} is not a bucket's name", cloud.name)));
        }
        let endpoint = cloud.endpoint.as_deref().map(|text| endpoint(text, guard)).transpose()?;
        let connector = Connector(client);
        match &cloud.provider {
            Provider::Azure { account } => {
                let account = account.as_deref().or(keys.map(|keys| keys.access_key.as_str()));
                azure(&cloud.name, account.unwrap_or_default(), endpoint, keys, connector)
            }
            Provider::Aws { region } => {
                let usual = format!("https://s3.{region}.amazonaws.com");
                s3(&cloud.name, region, &endpoint.unwrap_or(usual), keys, connector)
            }
            Provider::Gcp { region } => {
                let usual = "https://storage.googleapis.com".to_owned();
                s3(&cloud.name, region, &endpoint.unwrap_or(usual), keys, connector)
            }
            Provider::Storj { region } => {
                let usual = "https://gateway.storjshare.io".to_owned();
                s3(&cloud.name, region, &endpoint.unwrap_or(usual), keys, connector)
            }
        }
    }
}

fn s3(
    name: &str,
    region: &str,
    endpoint: &str,
    keys: Option<&KeyPair>,
    connector: Connector,
) -> Result<CloudBucket, Error> {
    if !is_plain(region, 1, 64, "-") {
        return Err(customer(format!("region: {region:?} is not a region's name")));
    }
    let builder = AmazonS3Builder::new()
        .with_bucket_name(name)
        .with_region(region)
        .with_endpoint(endpoint)
        .with_allow_http(true)
        .with_retry(retries())
        .with_http_connector(connector);
    let builder = match keys {
        Some(keys) => {
            builder.with_access_key_id(&keys.access_key).with_secret_access_key(&keys.secret_key)
        }
        // Without keys of any kind, object_store would ask this machine's cloud for its own.
        None => builder
            .with_access_key_id("none")
            .with_secret_access_key("none")
            .with_skip_signature(true),
    };
    let links = match keys {
        Some(_) => Links::Signed,
        None => Links::Public(format!("{endpoint}/{name}")),
    };
    let (store, server) = (Arc::new(builder.clone().build()?), host(endpoint));
    let language = Language::S3(Box::new(builder), name.to_owned());
    Ok(CloudBucket { store, language, name: name.to_owned(), server, links })
}

fn azure(
    name: &str,
    account: &str,
    endpoint: Option<String>,
    keys: Option<&KeyPair>,
    connector: Connector,
) -> Result<CloudBucket, Error> {
    if !is_plain(account, 3, 64, "") {
        return Err(customer(format!("account: {account:?} is not a storage account's name")));
    }
    let endpoint = endpoint.unwrap_or_else(|| format!("https://{account}.blob.core.windows.net"));
    let builder = MicrosoftAzureBuilder::new()
        .with_account(account)
        .with_container_name(name)
        .with_endpoint(endpoint.clone())
        .with_allow_http(true)
        .with_retry(retries())
        .with_http_connector(connector);
    let server = host(&endpoint);
    let (builder, links) = match keys.map(|keys| keys.secret_key.as_str()) {
        // A key is base64, which has no such letters.
        Some(sas) if sas.contains('&') || sas.contains("sig=") => {
            (builder.with_config(AzureConfigKey::SasKey, sas), Links::None)
        }
        Some(key) => (builder.with_access_key(key), Links::SignedByAzure),
        // Without keys of any kind, object_store would ask this machine's cloud for its own.
        None => (
            builder.with_access_key("none").with_skip_signature(true),
            Links::Public(format!("{endpoint}/{name}")),
        ),
    };
    // The error would show a part of the key.
    let store = builder.build().map_err(|_| {
        customer(format!(
            "secret: the secret key must be a key of the account {account:?} in base64, or a \
             shared access signature"
        ))
    })?;
    let (store, language) = (Arc::new(store), Language::Azure);
    Ok(CloudBucket { store, language, name: name.to_owned(), server, links })
}

/// The host of a checked endpoint.
fn host(endpoint: &str) -> String {
    let url: Option<Url> = endpoint.parse().ok();
    url.and_then(|url| url.host_str().map(ToOwned::to_owned)).unwrap_or_default()
}

fn retries() -> RetryConfig {
    RetryConfig { max_retries: RETRIES_MAX, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() }
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
