//! Data descriptors: where a job's data comes from and where its results go.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::loose::{Invalid, Loose};
use crate::spec::{Params, S3};

const NAME_CHARS_MAX: usize = 1024;
const URL_CHARS_MAX: usize = 4096;
const SECRET_CHARS_MAX: usize = 4096;
const TYPE_PREFIX: &str = "type.googleapis.com/bytenite.data_source.";
const S3_FIELDS: &str = "name, bucketName, cloudRegion, endpoint, secret_id, accessKey, secretKey";

/// A descriptor in its one canonical form, as it is kept and shown. It never holds a secret's
/// value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Descriptor {
    pub name: String,
    pub params: Params,
}

/// A place that a descriptor names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataPlace {
    S3(S3),
    Url {
        url: String,
        username: Option<String>,
        secret: Option<String>,
    },
    /// A file to be uploaded into Fanfold's bucket.
    File {
        name: Option<String>,
    },
    /// Fanfold's bucket, for 48 hours.
    Bucket,
    Bypass,
}

/// A descriptor that has been checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Checked {
    pub place: DataPlace,
    /// A key or password that was given in the descriptor itself: it must be stored as a secret
    /// before the descriptor is kept.
    pub inline: Option<Inline>,
}

/// A secret's value as it came; it has no `Debug`, so that no log can show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Inline {
    pub access_key: String,
    pub secret_key: String,
}

impl Descriptor {
    /// Reads the descriptor of a source.
    pub fn check_source(fields: Loose) -> Result<Checked, Invalid> {
        let (name, field, params) = split(fields)?;
        match name.as_str() {
            "aws" | "s3" => s3(params, true),
            "url" | "http" | "https" => url(params),
            "file" | "local" => file(params),
            "bypass" => simple(params, DataPlace::Bypass),
            _ => {
                let problem = "must be aws (or s3), url, file or bypass for a source";
                Err(Invalid::new(field, problem))
            }
        }
    }

    /// Reads the descriptor of a destination.
    pub fn check_destination(fields: Loose) -> Result<Checked, Invalid> {
        let (name, field, params) = split(fields)?;
        match name.as_str() {
            "aws" | "s3" => s3(params, false),
            "bucket" => simple(params, DataPlace::Bucket),
            "bypass" => simple(params, DataPlace::Bypass),
            _ => {
                let problem = "must be aws (or s3), bucket or bypass for a destination";
                Err(Invalid::new(field, problem))
            }
        }
    }

    /// The place that a kept descriptor names; `field` is `dataSource` or `dataDestination`.
    pub fn place(&self, field: &str) -> Result<DataPlace, Invalid> {
        let wire = json!({"dataSourceDescriptor": self.name, "params": self.params});
        let fields = Loose::new(field, wire)?;
        let checked = match field {
            "dataDestination" => Self::check_destination(fields)?,
            _ => Self::check_source(fields)?,
        };
        Ok(checked.place)
    }
}

impl DataPlace {
    /// The canonical descriptor of this place.
    pub fn descriptor(&self) -> Descriptor {
        let (name, kind, fields) = match self {
            Self::S3(s3) => (
                "aws",
                Some("S3DataSource"),
                vec![
                    ("name", Some(s3.path.as_str())),
                    ("bucketName", Some(s3.bucket.as_str())),
                    ("cloudRegion", Some(s3.region.as_str())),
                    ("endpoint", s3.endpoint.as_deref()),
                    ("secret_id", s3.secret.as_deref()),
                ],
            ),
            Self::Url { url, username, secret } => (
                "url",
                Some("HttpDataSource"),
                vec![
                    ("url", Some(url.as_str())),
                    ("username", username.as_deref()),
                    ("secret_id", secret.as_deref()),
                ],
            ),
            Self::File { name } => {
                ("file", Some("LocalFileDataSource"), vec![("name", name.as_deref())])
            }
            Self::Bucket => ("bucket", None, Vec::new()),
            Self::Bypass => ("bypass", None, Vec::new()),
        };
        let mut params = Params::new();
        if let Some(kind) = kind {
            params.insert("@type".to_owned(), format!("{TYPE_PREFIX}{kind}").into());
        }
        for (key, value) in fields {
            if let Some(value) = value {
                params.insert(key.to_owned(), value.into());
            }
        }
        Descriptor { name: name.to_owned(), params }
    }

    /// The id of the secret that opens this place.
    pub fn secret(&self) -> Option<&str> {
        match self {
            Self::S3(s3) => s3.secret.as_deref(),
            Self::Url { secret, .. } => secret.as_deref(),
            Self::File { .. } | Self::Bucket | Self::Bypass => None,
        }
    }

    /// The same place, opened by this secret.
    #[must_use]
    pub fn with_secret(self, id: String) -> Self {
        match self {
            Self::S3(s3) => Self::S3(S3 { secret: Some(id), ..s3 }),
            Self::Url { url, username, .. } => Self::Url { url, username, secret: Some(id) },
            Self::File { .. } | Self::Bucket | Self::Bypass => self,
        }
    }
}

/// The descriptor's name in plain form, the name's field for messages, and the params.
fn split(mut fields: Loose) -> Result<(String, String, Loose), Invalid> {
    let field = fields.name("dataSourceDescriptor");
    let name = fields.required_text("dataSourceDescriptor")?.to_lowercase();
    let params = match fields.object("params")? {
        Some(params) => params,
        None => Loose::new(fields.name("params"), json!({}))?,
    };
    Ok((name, field, params))
}

/// Drops the params that only servers write.
fn drop_shown(params: &mut Loose) {
    for key in ["@type", "tempUrl", "size", "filename"] {
        params.value(key);
    }
}

fn simple(mut params: Loose, place: DataPlace) -> Result<Checked, Invalid> {
    drop_shown(&mut params);
    params.finish()?;
    Ok(Checked { place, inline: None })
}

fn s3(mut params: Loose, is_source: bool) -> Result<Checked, Invalid> {
    drop_shown(&mut params);
    let bucket_field = params.name("bucketName");
    let bucket = params
        .line("bucketName", 255)?
        .ok_or_else(|| Invalid::new(&bucket_field, "is missing: the bucket's name"))?;
    if bucket.contains(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'))) {
        let problem = "must be letters, digits, - . and _";
        return Err(Invalid::new(bucket_field, problem));
    }
    let name_field = params.name("name");
    let path = params.line("name", NAME_CHARS_MAX)?.unwrap_or_default();
    let path = path.trim_start_matches('/').to_owned();
    if is_source && path.is_empty() {
        let problem = "is missing: the path of the input file in the bucket";
        return Err(Invalid::new(name_field, problem));
    }
    if path.split('/').any(|part| matches!(part, "." | "..")) {
        return Err(Invalid::new(name_field, "must not contain . or .. as a folder"));
    }
    let region = params.line("cloudRegion", 64)?.unwrap_or_else(|| "us-east-1".to_owned());
    let endpoint = endpoint(&mut params)?;
    let secret = params.line("secret_id", 255)?;
    let inline = inline(&mut params, "accessKey", "secretKey")?;
    both_refused(&params, secret.is_some() && inline.is_some())?;
    finish(params, S3_FIELDS)?;
    Ok(Checked { place: DataPlace::S3(S3 { bucket, path, region, endpoint, secret }), inline })
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

fn url(mut params: Loose) -> Result<Checked, Invalid> {
    drop_shown(&mut params);
    let field = params.name("url");
    let url = params
        .line("url", URL_CHARS_MAX)?
        .ok_or_else(|| Invalid::new(&field, "is missing: an http or https address"))?;
    check_url(&field, &url)?;
    params.value("name");
    let secret = params.line("secret_id", 255)?;
    let inline = inline(&mut params, "username", "password")?;
    let username = inline.as_ref().map(|inline| inline.access_key.clone());
    // A user name alone stands in a kept descriptor, beside the secret that holds its password.
    let inline = inline.filter(|inline| !inline.secret_key.is_empty());
    both_refused(&params, secret.is_some() && inline.is_some())?;
    finish(params, "url, username, password, secret_id")?;
    Ok(Checked { place: DataPlace::Url { url, username, secret }, inline })
}

fn file(mut params: Loose) -> Result<Checked, Invalid> {
    drop_shown(&mut params);
    let field = params.name("name");
    let name = params.line("name", 255)?;
    if name.as_deref().is_some_and(|n| n.contains(['/', '\\']) || matches!(n, "." | "..")) {
        return Err(Invalid::new(field, "must be a file name without folders"));
    }
    finish(params, "name")?;
    Ok(Checked { place: DataPlace::File { name }, inline: None })
}

/// A key pair given in the params. The first half alone is fine (a kept user name), the second
/// alone is not.
fn inline(params: &mut Loose, first: &str, second: &str) -> Result<Option<Inline>, Invalid> {
    let (first_field, second_field) = (params.name(first), params.name(second));
    let secret_key = params.line(second, SECRET_CHARS_MAX)?;
    match (params.line(first, SECRET_CHARS_MAX)?, secret_key) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Invalid::new(first_field, format!("is missing beside {second}"))),
        (Some(_), None) if second == "secretKey" => {
            Err(Invalid::new(second_field, format!("is missing beside {first}")))
        }
        (Some(access_key), secret_key) => {
            Ok(Some(Inline { access_key, secret_key: secret_key.unwrap_or_default() }))
        }
    }
}

fn both_refused(params: &Loose, both: bool) -> Result<(), Invalid> {
    if both {
        let problem = "must be left out where the keys themselves are given";
        return Err(Invalid::new(params.name("secret_id"), problem));
    }
    Ok(())
}

fn finish(params: Loose, known: &str) -> Result<(), Invalid> {
    params.finish().map_err(|unknown| {
        Invalid::new(unknown.field, format!("is not a known field; there are {known}"))
    })
}

/// Refuses what is no plain http address. Whether it may be reached is decided when it is.
fn check_url(field: &str, url: &str) -> Result<(), Invalid> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
    if host.is_empty() || url.contains(char::is_whitespace) {
        return Err(Invalid::new(field, "must be an http:// or https:// address"));
    }
    if host.contains('@') {
        let problem = "must not contain a user name or password: they have fields of their own";
        return Err(Invalid::new(field, problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn source(value: Value) -> Result<Checked, Invalid> {
        Descriptor::check_source(Loose::new("dataSource", value)?)
    }

    fn refused(value: Value) -> String {
        source(value).err().expect("must be refused").field
    }

    #[test]
    fn an_s3_source_is_read_in_both_spellings_and_both_names() {
        let camel = json!({"dataSourceDescriptor": "aws", "params": {
            "@type": "type.googleapis.com/bytenite.data_source.S3DataSource",
            "name": "/in/data.csv", "bucketName": "b", "cloudRegion": "us-east-2",
            "secret_id": "s"}});
        let snake = json!({"data_source_descriptor": "S3", "params": {
            "name": "in/data.csv", "bucket_name": "b", "cloud_region": "us-east-2",
            "secretId": "s"}});

        let place = source(camel).ok().unwrap().place;

        assert_eq!(place.secret(), Some("s"));
        assert!(source(snake).ok().unwrap().place == place);
    }

    #[test]
    fn kept_descriptors_read_back() {
        for params in [
            json!({"dataSourceDescriptor": "s3", "params": {"name": "n", "bucketName": "b",
                   "endpointUrl": "http://127.0.0.1:9000/"}}),
            json!({"dataSourceDescriptor": "url", "params": {"url": "https://h/x", "username": "u",
                   "secret_id": "s"}}),
            json!({"dataSourceDescriptor": "file", "params": {"name": "a.csv", "tempUrl": "x"}}),
            json!({"dataSourceDescriptor": "bypass"}),
        ] {
            let place = source(params).ok().unwrap().place;

            assert_eq!(place.descriptor().place("dataSource"), Ok(place));
        }
    }

    #[test]
    fn inline_keys_never_reach_the_descriptor() {
        let checked = source(json!({"dataSourceDescriptor": "storj-like", "params": {}}));
        assert!(checked.is_err());

        let checked = source(json!({"dataSourceDescriptor": "s3", "params": {"name": "n",
            "bucketName": "b", "accessKey": "AK", "secretKey": "TOPSECRET"}}))
        .ok()
        .unwrap();

        let kept = checked.place.with_secret("id".to_owned()).descriptor();
        assert!(checked.inline.is_some_and(|inline| inline.secret_key == "TOPSECRET"));
        assert!(!serde_json::to_string(&kept).unwrap().contains("TOPSECRET"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let s3 = |params: Value| refused(json!({"dataSourceDescriptor": "aws", "params": params}));
        let url =
            |url: &str| refused(json!({"dataSourceDescriptor": "url", "params": {"url": url}}));

        assert_eq!(refused(json!({"params": {}})), "dataSource.dataSourceDescriptor");
        assert_eq!(
            refused(json!({"dataSourceDescriptor": "bucket"})),
            "dataSource.dataSourceDescriptor"
        );
        assert_eq!(s3(json!({"name": "n"})), "dataSource.params.bucketName");
        assert_eq!(s3(json!({"bucketName": "b"})), "dataSource.params.name");
        assert_eq!(s3(json!({"bucketName": "b/c", "name": "n"})), "dataSource.params.bucketName");
        assert_eq!(s3(json!({"bucketName": "b", "name": "a/../b"})), "dataSource.params.name");
        assert_eq!(
            s3(json!({"bucketName": "b", "name": "n", "secretKey": "s"})),
            "dataSource.params.accessKey"
        );
        assert_eq!(
            s3(json!({"bucketName": "b", "name": "n", "endpont": "http://x"})),
            "dataSource.params.endpont"
        );
        for bad in ["ftp://h/x", "file:///etc/passwd", "http://", "http://u:p@h/", "h/x"] {
            assert_eq!(url(bad), "dataSource.params.url", "{bad}");
        }
    }
}
