//! Data descriptors: where a job's data comes from and where its results go.

mod cloud;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::loose::{Invalid, Loose};
use crate::net::origin::Origin;
use crate::run::spec::{Cloud, Provider};
use crate::secret::{Purpose, SecretId, Target};

const URL_CHARS_MAX: usize = 4096;
const SECRET_CHARS_MAX: usize = 4096;
const ID_CHARS_MAX: usize = 255;
const TYPE_PREFIX: &str = "type.googleapis.com/bytenite.data_source.";

/// A descriptor in its one canonical form, as it is kept and shown. It never holds a secret's
/// value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Descriptor {
    pub name: String,
    pub params: Map<String, Value>,
    /// The secret that keeps the keys which were given in the descriptor itself. It is no param:
    /// nobody can name it, and nobody is shown it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_secret: Option<SecretId>,
}

/// A place that a descriptor names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataPlace {
    /// The paths in a source's bucket, or the one folder of a destination's.
    Cloud {
        bucket: Cloud,
        paths: Vec<String>,
    },
    Url {
        url: String,
        username: Option<String>,
        secret: Option<SecretId>,
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
            "aws" | "s3" | "gcp" | "storj" | "azure" => cloud::source(&name, params),
            "url" | "http" | "https" => url(params),
            "file" | "local" => file(params),
            "bypass" => simple(params, DataPlace::Bypass),
            _ => {
                let problem =
                    "must be aws (or s3), gcp, storj, azure, url, file or bypass for a source";
                Err(Invalid::new(field, problem))
            }
        }
    }

    /// Reads the descriptor of a destination.
    pub fn check_destination(fields: Loose) -> Result<Checked, Invalid> {
        let (name, field, params) = split(fields)?;
        match name.as_str() {
            "aws" | "s3" | "gcp" | "storj" | "azure" => cloud::destination(&name, params),
            "bucket" => simple(params, DataPlace::Bucket),
            "bypass" => simple(params, DataPlace::Bypass),
            _ => {
                let problem =
                    "must be aws (or s3), gcp, storj, azure, bucket or bypass for a destination";
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
        Ok(match &self.own_secret {
            Some(own) => checked.place.with_secret(Some(own.clone())),
            None => checked.place,
        })
    }
}

impl DataPlace {
    /// The canonical descriptor of this place.
    pub fn descriptor(&self) -> Descriptor {
        let own_secret = self.secret().filter(|id| !id.is_named()).cloned();
        Descriptor { own_secret, ..self.shown() }
    }

    fn shown(&self) -> Descriptor {
        let (name, kind, fields) = match self {
            Self::Cloud { bucket, paths } => return cloud::descriptor(bucket, paths),
            Self::Url { url, username, secret } => (
                "url",
                Some("HttpDataSource"),
                vec![
                    ("url", Some(url.as_str())),
                    ("username", username.as_deref()),
                    ("secret_id", named(secret.as_ref())),
                ],
            ),
            Self::File { name } => {
                ("file", Some("LocalFileDataSource"), vec![("name", name.as_deref())])
            }
            Self::Bucket => ("bucket", None, Vec::new()),
            Self::Bypass => ("bypass", None, Vec::new()),
        };
        described(name, kind, fields)
    }

    /// The id of the secret that opens this place.
    pub fn secret(&self) -> Option<&SecretId> {
        match self {
            Self::Cloud { bucket, .. } => bucket.secret.as_ref(),
            Self::Url { secret, .. } => secret.as_ref(),
            Self::File { .. } | Self::Bucket | Self::Bypass => None,
        }
    }

    /// The same place, opened by this secret or by none.
    #[must_use]
    pub fn with_secret(self, secret: Option<SecretId>) -> Self {
        match self {
            Self::Cloud { bucket, paths } => {
                Self::Cloud { bucket: Cloud { secret, ..bucket }, paths }
            }
            Self::Url { url, username, .. } => Self::Url { url, username, secret },
            Self::File { .. } | Self::Bucket | Self::Bypass => self,
        }
    }

    /// Where a secret that opens this place is sent; `None` where none is needed.
    pub fn target(&self) -> Option<Target<'_>> {
        match self {
            Self::Cloud { bucket, .. } => Some(Target::Bucket(bucket)),
            Self::Url { url, .. } => Some(Target::Url(url)),
            Self::File { .. } | Self::Bucket | Self::Bypass => None,
        }
    }

    /// What keys are for that were given in the descriptor of this place: for it alone.
    pub fn purpose(&self) -> Option<Purpose> {
        let bucket = match self {
            Self::Cloud { bucket, .. } => bucket,
            Self::Url { url, .. } => {
                return Origin::of(url).ok().map(|origin| Purpose::Url { origin });
            }
            Self::File { .. } | Self::Bucket | Self::Bypass => return None,
        };
        Some(match &bucket.provider {
            Provider::Aws { .. } => Purpose::Aws,
            Provider::Gcp { .. } => Purpose::Gcp,
            Provider::Storj { .. } => Purpose::Storj,
            Provider::Azure { .. } => {
                let endpoint = bucket.endpoint.as_deref().and_then(|url| Origin::of(url).ok());
                Purpose::Azure { endpoint }
            }
        })
    }
}

fn described(name: &str, kind: Option<&str>, fields: Vec<(&str, Option<&str>)>) -> Descriptor {
    let mut params = Map::new();
    if let Some(kind) = kind {
        params.insert("@type".to_owned(), format!("{TYPE_PREFIX}{kind}").into());
    }
    for (key, value) in fields {
        if let Some(value) = value {
            params.insert(key.to_owned(), value.into());
        }
    }
    Descriptor { name: name.to_owned(), params, own_secret: None }
}

/// An id that may be shown.
fn named(secret: Option<&SecretId>) -> Option<&str> {
    secret.filter(|id| id.is_named()).map(SecretId::as_str)
}

/// The secret that a caller names.
fn secret_id(params: &mut Loose) -> Result<Option<SecretId>, Invalid> {
    let field = params.name("secret_id");
    let id = params.line("secret_id", ID_CHARS_MAX)?;
    id.map(|id| SecretId::named(&id).map_err(|bad| Invalid::new(field, bad.to_string())))
        .transpose()
}

/// The descriptor's name in plain form, the name's field for messages, and the params.
fn split(mut fields: Loose) -> Result<(String, String, Loose), Invalid> {
    let field = fields.name("dataSourceDescriptor");
    let name = fields.required_text("dataSourceDescriptor")?.to_lowercase();
    let params = match fields.object("params")? {
        Some(params) => params,
        None => Loose::new(fields.name("params"), json!({}))?,
    };
    fields.finish()?;
    Ok((name, field, params))
}

/// Drops the params that only servers write.
fn drop_shown(params: &mut Loose) {
    for key in ["@type", "tempUrl", "size", "filename"] {
        params.ignore(key);
    }
}

fn simple(mut params: Loose, place: DataPlace) -> Result<Checked, Invalid> {
    drop_shown(&mut params);
    params.finish()?;
    Ok(Checked { place, inline: None })
}

fn url(mut params: Loose) -> Result<Checked, Invalid> {
    drop_shown(&mut params);
    let field = params.name("url");
    let url = params
        .line("url", URL_CHARS_MAX)?
        .ok_or_else(|| Invalid::new(&field, "is missing: an http or https address"))?;
    check_url(&field, &url)?;
    params.ignore("name");
    let secret = secret_id(&mut params)?;
    let inline = inline(&mut params, "username", "password")?;
    let username = inline.as_ref().map(|inline| inline.access_key.clone());
    // A user name alone stands in a kept descriptor, beside the secret that holds its password.
    let inline = inline.filter(|inline| !inline.secret_key.is_empty());
    both_refused(&params, secret.is_some() && inline.is_some())?;
    params.finish_with(&["url", "username", "password", "secret_id"])?;
    Ok(Checked { place: DataPlace::Url { url, username, secret }, inline })
}

fn file(mut params: Loose) -> Result<Checked, Invalid> {
    drop_shown(&mut params);
    let field = params.name("name");
    let name = params.line("name", 255)?;
    if name.as_deref().is_some_and(|n| n.contains(['/', '\\']) || matches!(n, "." | "..")) {
        return Err(Invalid::new(field, "must be a file name without folders"));
    }
    params.finish_with(&["name"])?;
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

/// Refuses what is no plain http address. Whether it may be reached is decided when it is.
fn check_url(field: &str, url: &str) -> Result<(), Invalid> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
    if host.is_empty() || url.contains(char::is_whitespace) || Origin::of(url).is_err() {
        return Err(Invalid::new(field, "must be an http:// or https:// address"));
    }
    if host.contains('@') {
        let problem = "must not contain a user name or password: they have fields of their own";
        return Err(Invalid::new(field, problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
