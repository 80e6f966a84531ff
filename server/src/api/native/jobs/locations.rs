//! Where a job's data comes from and where its results go. Keys are secrets of the workspace, and
//! a location names them: none is given in it.

use common::data::location::{Cloud, Destination, DraftSource, FileToUpload, Provider, Source};
use common::data::location_checks::{
    ACCOUNT_CHARS_MAX, PATHS_MAX, URL_CHARS_MAX, check_account, check_bucket, check_file_name,
    check_path, check_source_paths, check_url,
};
use common::package::loose::{Invalid, Loose};
use common::secret::SecretId;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::http::shape::{Field, Shape, text, texts, word};

const NAME_CHARS_MAX: usize = 255;
const REGION_CHARS_MAX: usize = 64;
const PROVIDERS: [&str; 4] = ["aws", "gcp", "storj", "azure"];

pub const SOURCE: Shape = Shape {
    name: "NewSource",
    fields: &[
        word("type", &["cloud", "url", "file", "bypass"], "bypass is no data").example("bypass"),
        PROVIDER,
        BUCKET,
        REGION,
        ENDPOINT,
        ACCOUNT,
        texts("paths", "Of a cloud: keys, folders that end in /, and patterns such as in/*.csv"),
        text("url", "Of a url: an http or https address"),
        text("username", "Of a url that asks for one"),
        text("name", "Of a file: what the app reads it as"),
        SECRET,
    ],
};

pub const DESTINATION: Shape = Shape {
    name: "NewDestination",
    fields: &[
        word(
            "type",
            &["cloud", "bucket", "bypass"],
            "bucket is the server's own, with links for 48 hours; bypass drops the results",
        )
        .example("bucket"),
        PROVIDER,
        BUCKET,
        REGION,
        ENDPOINT,
        ACCOUNT,
        text("folder", "Of a cloud; the bucket's root where it is left out"),
        SECRET,
    ],
};

const PROVIDER: Field = word("provider", &PROVIDERS, "Of a cloud: whose it is");
const BUCKET: Field = text("bucket", "Of a cloud: the name of the bucket or container");
const REGION: Field = text("region", "Of a cloud other than azure");
const ENDPOINT: Field = text("endpoint", "Of a cloud: its address, where it is not the usual one");
const ACCOUNT: Field = text("account", "Of azure: the storage account");
const SECRET: Field = text("secret", "Of a cloud or url: the id of the secret that opens it");

/// A source or a destination as it is shown.
#[derive(Serialize, ToSchema, Default)]
#[schema(as = Location)]
pub struct LocationOut {
    /// `cloud`, `url`, `file`, `bucket` or `bypass`.
    r#type: &'static str,
    /// Of a cloud: whose it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<&'static str>,
    /// Of a cloud: the name of the bucket or container.
    #[serde(skip_serializing_if = "Option::is_none")]
    bucket: Option<String>,
    /// Of a cloud other than azure.
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    /// Of a cloud whose address is not the usual one.
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    /// Of azure: the storage account.
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    /// Of a source in a cloud: keys, folders and patterns.
    #[serde(skip_serializing_if = "Option::is_none")]
    paths: Option<Vec<String>>,
    /// Of a destination in a cloud.
    #[serde(skip_serializing_if = "Option::is_none")]
    folder: Option<String>,
    /// Of a url: its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// Of a url that asks for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    /// Of a file: what the app reads it as.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// The id of the secret that opens it. Keys that were given inside a location have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

pub fn read_source(mut fields: Loose) -> Result<DraftSource, Invalid> {
    let field = fields.name("type");
    let source = match fields.required_text("type")?.as_str() {
        "cloud" => {
            let paths = read_paths(&mut fields)?;
            Source::Cloud { bucket: read_cloud(&mut fields)?, paths }
        }
        "url" => {
            let field = fields.name("url");
            let url = required_line(&mut fields, "url", URL_CHARS_MAX)?;
            check_url(&field, &url)?;
            let username = fields.line("username", NAME_CHARS_MAX)?;
            Source::Url { url, username, secret: read_secret(&mut fields)? }
        }
        "file" => {
            let field = fields.name("name");
            let name = fields.line("name", NAME_CHARS_MAX)?;
            name.as_deref().map_or(Ok(()), |name| check_file_name(&field, name))?;
            Source::File(FileToUpload { name })
        }
        "bypass" => Source::Bypass,
        _ => return Err(Invalid::new(field, "must be cloud, url, file or bypass")),
    };
    fields.finish()?;
    Ok(source)
}

pub fn read_destination(mut fields: Loose) -> Result<Destination, Invalid> {
    let field = fields.name("type");
    let destination = match fields.required_text("type")?.as_str() {
        "cloud" => {
            let field = fields.name("folder");
            let folder = fields.text("folder")?.unwrap_or_default();
            let folder = folder.trim_start_matches('/').to_owned();
            check_path(&field, &folder)?;
            Destination::Cloud { bucket: read_cloud(&mut fields)?, folder }
        }
        "bucket" => Destination::Bucket,
        "bypass" => Destination::Bypass,
        _ => return Err(Invalid::new(field, "must be cloud, bucket or bypass")),
    };
    fields.finish()?;
    Ok(destination)
}

fn read_paths(fields: &mut Loose) -> Result<Vec<String>, Invalid> {
    let field = fields.name("paths");
    let paths = fields.texts("paths", PATHS_MAX)?;
    if paths.is_empty() {
        return Err(Invalid::new(field, "is missing: keys, folders ending in / or patterns"));
    }
    let named = paths.into_iter().enumerate().map(|(n, path)| (format!("{field}[{n}]"), path));
    let named: Vec<_> = named.collect();
    check_source_paths(&field, &named)?;
    Ok(named.into_iter().map(|(_, path)| path).collect())
}

fn read_cloud(fields: &mut Loose) -> Result<Cloud, Invalid> {
    let (provider_field, bucket_field) = (fields.name("provider"), fields.name("bucket"));
    let (endpoint_field, account_field) = (fields.name("endpoint"), fields.name("account"));
    let provider = fields.required_text("provider")?;
    let name = required_line(fields, "bucket", NAME_CHARS_MAX)?;
    check_bucket(&bucket_field, &name, provider == "azure")?;
    let endpoint = fields.line("endpoint", URL_CHARS_MAX)?;
    endpoint.as_deref().map_or(Ok(()), |url| check_url(&endpoint_field, url))?;
    let endpoint = endpoint.map(|url| url.trim_end_matches('/').to_owned());
    let secret = read_secret(fields)?;
    let mut region = |usual: &str| {
        Ok(fields.line("region", REGION_CHARS_MAX)?.unwrap_or_else(|| usual.to_owned()))
    };
    let provider = match provider.as_str() {
        "aws" => Provider::Aws { region: region("us-east-1")? },
        "gcp" => Provider::Gcp { region: region("auto")? },
        "storj" => Provider::Storj { region: region("global")? },
        "azure" => {
            let account = fields.line("account", ACCOUNT_CHARS_MAX)?;
            account.as_deref().map_or(Ok(()), |name| check_account(&account_field, name))?;
            if account.is_none() && secret.is_none() {
                let problem = "is missing: the name of the storage account";
                return Err(Invalid::new(account_field, problem));
            }
            Provider::Azure { account }
        }
        _ => return Err(Invalid::new(provider_field, "must be aws, gcp, storj or azure")),
    };
    Ok(Cloud { provider, name, endpoint, secret })
}

fn read_secret(fields: &mut Loose) -> Result<Option<SecretId>, Invalid> {
    let field = fields.name("secret");
    let id = fields.line("secret", NAME_CHARS_MAX)?;
    id.map(|id| SecretId::named(&id).map_err(|bad| Invalid::new(field, bad.to_string())))
        .transpose()
}

fn required_line(fields: &mut Loose, key: &str, chars_max: usize) -> Result<String, Invalid> {
    let field = fields.name(key);
    fields.line(key, chars_max)?.ok_or_else(|| Invalid::new(field, "is missing"))
}

impl From<&DraftSource> for LocationOut {
    fn from(source: &DraftSource) -> Self {
        match source {
            Source::Cloud { bucket, paths } => {
                Self { paths: Some(paths.clone()), ..Self::of_cloud(bucket) }
            }
            Source::Url { url, username, secret } => Self {
                r#type: "url",
                url: Some(url.clone()),
                username: username.clone(),
                secret: shown(secret.as_ref()),
                ..Self::default()
            },
            Source::File(FileToUpload { name }) => {
                Self { r#type: "file", name: name.clone(), ..Self::default() }
            }
            Source::Bypass => Self { r#type: "bypass", ..Self::default() },
        }
    }
}

impl From<&Destination> for LocationOut {
    fn from(destination: &Destination) -> Self {
        match destination {
            Destination::Cloud { bucket, folder } => {
                Self { folder: Some(folder.clone()), ..Self::of_cloud(bucket) }
            }
            Destination::Bucket => Self { r#type: "bucket", ..Self::default() },
            Destination::Bypass => Self { r#type: "bypass", ..Self::default() },
        }
    }
}

impl LocationOut {
    fn of_cloud(cloud: &Cloud) -> Self {
        let (region, account) = match &cloud.provider {
            Provider::Aws { region } | Provider::Gcp { region } | Provider::Storj { region } => {
                (Some(region.clone()), None)
            }
            Provider::Azure { account } => (None, account.clone()),
        };
        Self {
            r#type: "cloud",
            provider: Some(cloud.provider.name()),
            bucket: Some(cloud.name.clone()),
            region,
            account,
            endpoint: cloud.endpoint.clone(),
            secret: shown(cloud.secret.as_ref()),
            ..Self::default()
        }
    }
}

/// An id that may be shown: others are of keys that were given inside a location.
fn shown(secret: Option<&SecretId>) -> Option<String> {
    secret.filter(|id| id.is_named()).map(|id| id.as_str().to_owned())
}
