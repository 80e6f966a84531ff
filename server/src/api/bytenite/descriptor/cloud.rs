//! Descriptors of customers' buckets: one shape for all clouds, with small differences.

use common::data::location::{Cloud, Destination, DraftSource, Provider, Source};
use common::data::location_checks::{
    ACCOUNT_CHARS_MAX, PATHS_MAX, URL_CHARS_MAX, check_account, check_bucket, check_path,
    check_source_paths, check_url,
};
use common::package::loose::{Invalid, Loose};
use serde_json::Value;

use super::{
    Checked, Inline, SECRET_CHARS_MAX, both_refused, drop_shown, inline, named, secret_id, shown,
};

const FIELDS: &[&str] = &[
    "name",
    "names",
    "bucketName",
    "cloudRegion",
    "endpoint",
    "secret_id",
    "accessKey",
    "secretKey",
];
const AZURE_FIELDS: &[&str] = &[
    "name",
    "names",
    "containerName",
    "accountName",
    "endpoint",
    "secret_id",
    "accessKey",
    "secretKey",
];

pub fn source(descriptor: &str, mut params: Loose) -> Result<Checked<DraftSource>, Invalid> {
    let paths = source_paths(&mut params)?;
    let Checked { location: bucket, inline } = read(descriptor, params)?;
    Ok(Checked { location: Source::Cloud { bucket, paths }, inline })
}

pub fn destination(descriptor: &str, mut params: Loose) -> Result<Checked<Destination>, Invalid> {
    let folder = params.text("name")?.unwrap_or_default();
    let folder = folder.trim_start_matches('/').to_owned();
    check_path(&params.name("name"), &folder)?;
    let Checked { location: bucket, inline } = read(descriptor, params)?;
    Ok(Checked { location: Destination::Cloud { bucket, folder }, inline })
}

/// The one descriptor of paths in a bucket.
pub fn out(bucket: &Cloud, paths: &[String]) -> Value {
    let (kind, name_field, region, account) = match &bucket.provider {
        Provider::Aws { region } | Provider::Gcp { region } | Provider::Storj { region } => {
            ("S3DataSource", "bucketName", Some(region.as_str()), None)
        }
        Provider::Azure { account } => {
            ("AzureDataSource", "containerName", None, account.as_deref())
        }
    };
    let fields = [
        ("name", paths.first().map(String::as_str)),
        (name_field, Some(bucket.name.as_str())),
        ("cloudRegion", region),
        ("accountName", account),
        ("endpoint", bucket.endpoint.as_deref()),
        ("secret_id", named(bucket.secret.as_ref())),
    ];
    let mut descriptor = shown(bucket.provider.name(), Some(kind), fields);
    if let Some(others) = paths.get(1..).filter(|others| !others.is_empty()) {
        descriptor["params"]["names"] = others.into();
    }
    descriptor
}

/// Reads the bucket alone.
fn read(descriptor: &str, mut params: Loose) -> Result<Checked<Cloud>, Invalid> {
    drop_shown(&mut params);
    let is_azure = descriptor == "azure";
    let name = bucket_name(&mut params, is_azure)?;
    let endpoint = endpoint(&mut params)?;
    let secret = secret_id(&mut params)?;
    let (account_field, key_field) = (params.name("accountName"), params.name("accessKey"));
    let account = if is_azure { account(&mut params)? } else { None };
    let inline = match (&account, params.has("accessKey")) {
        (Some(account), false) => {
            let secret_key = params.line("secretKey", SECRET_CHARS_MAX)?;
            secret_key.map(|key| Inline { access_key: account.clone(), secret_key: key })
        }
        _ => inline(&mut params, "accessKey", "secretKey")?,
    };
    both_refused(&params, secret.is_some() && inline.is_some())?;
    if is_azure && account.is_none() && secret.is_none() && inline.is_none() {
        let problem = "is missing: the name of the storage account";
        return Err(Invalid::new(account_field, problem));
    }
    // The keys are bound to their account, which the kept descriptor names.
    let account = match (account, &inline) {
        (Some(account), Some(inline)) if account != inline.access_key => {
            return Err(Invalid::new(key_field, "must be the same as accountName"));
        }
        (None, Some(inline)) if is_azure => {
            check_account(&key_field, &inline.access_key)?;
            Some(inline.access_key.clone())
        }
        (account, _) => account,
    };
    let region = |params: &mut Loose, usual: &str| {
        Ok(params.line("cloudRegion", 64)?.unwrap_or_else(|| usual.to_owned()))
    };
    let provider = match descriptor {
        "gcp" => Provider::Gcp { region: region(&mut params, "auto")? },
        "storj" => Provider::Storj { region: region(&mut params, "global")? },
        "azure" => Provider::Azure { account },
        _ => Provider::Aws { region: region(&mut params, "us-east-1")? },
    };
    params.finish_with(if is_azure { AZURE_FIELDS } else { FIELDS })?;
    Ok(Checked { location: Cloud { provider, name, endpoint, secret }, inline })
}

/// `name`, then `names`, each a key, a folder that ends in `/`, or a pattern.
fn source_paths(params: &mut Loose) -> Result<Vec<String>, Invalid> {
    let (first_field, field) = (params.name("name"), params.name("names"));
    let first = params.text("name")?.map(|name| (first_field.clone(), name));
    let others = params.texts("names", PATHS_MAX)?;
    let others = others.into_iter().enumerate().map(|(i, name)| (format!("{field}[{i}]"), name));
    let paths: Vec<_> = first.into_iter().chain(others).collect();
    check_source_paths(&field, &paths)?;
    if paths.is_empty() {
        let problem = "is missing: the path of the input file in the bucket, a folder ending in /, \
                       or a pattern such as in/*.csv";
        return Err(Invalid::new(first_field, problem));
    }
    Ok(paths.into_iter().map(|(_, path)| path).collect())
}

fn bucket_name(params: &mut Loose, is_azure: bool) -> Result<String, Invalid> {
    let key = if is_azure && params.has("containerName") { "containerName" } else { "bucketName" };
    let field = params.name(key);
    let name = params
        .line(key, 255)?
        .ok_or_else(|| Invalid::new(&field, "is missing: the bucket's name"))?;
    check_bucket(&field, &name, is_azure)?;
    Ok(name)
}

/// An account's name becomes part of an address.
fn account(params: &mut Loose) -> Result<Option<String>, Invalid> {
    let field = params.name("accountName");
    let account = params.line("accountName", ACCOUNT_CHARS_MAX)?;
    if let Some(account) = &account {
        check_account(&field, account)?;
    }
    Ok(account)
}

fn endpoint(params: &mut Loose) -> Result<Option<String>, Invalid> {
    for key in ["endpoint", "endpointUrl"] {
        let field = params.name(key);
        if let Some(url) = params.line(key, URL_CHARS_MAX)? {
            check_url(&field, &url)?;
            return Ok(Some(url.trim_end_matches('/').to_owned()));
        }
    }
    Ok(None)
}
