//! Data descriptors: the form in which this API names where a job's data comes from and where its
//! results go. They are read once, when they come in; what is kept is the location.
//!
//! It needs nothing but `common`, so that the fuzzer builds it without the server.

mod cloud;

use common::data::location::{Destination, DraftSource, FileToUpload, Source};
use common::data::location_checks::{URL_CHARS_MAX, check_file_name, check_url};
use common::package::loose::{Invalid, Loose};
use common::secret::SecretId;
use serde_json::{Map, Value, json};

const SECRET_CHARS_MAX: usize = 4096;
const ID_CHARS_MAX: usize = 255;
const TYPE_PREFIX: &str = "type.googleapis.com/bytenite.data_source.";

/// A location that a descriptor names.
#[derive(Clone, PartialEq, Eq)]
pub struct Checked<L> {
    pub location: L,
    /// A key or password that was given in the descriptor itself: it must be stored as a secret
    /// before the location is kept.
    pub inline: Option<Inline>,
}

/// A secret's value as it came; it has no `Debug`, so that no log can show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Inline {
    pub access_key: String,
    pub secret_key: String,
}

impl<L> Checked<L> {
    /// A location without keys of its own.
    const fn open(location: L) -> Self {
        Self { location, inline: None }
    }
}

/// Reads the descriptor of a source.
pub fn read_source(fields: Loose) -> Result<Checked<DraftSource>, Invalid> {
    let (name, field, params) = split(fields)?;
    match name.as_str() {
        "aws" | "s3" | "gcp" | "storj" | "azure" => cloud::source(&name, params),
        "url" | "http" | "https" => url(params),
        "file" | "local" => file(params),
        "bypass" => no_params(params, Source::Bypass),
        _ => {
            let problem =
                "must be aws (or s3), gcp, storj, azure, url, file or bypass for a source";
            Err(Invalid::new(field, problem))
        }
    }
}

/// Reads the descriptor of a destination.
pub fn read_destination(fields: Loose) -> Result<Checked<Destination>, Invalid> {
    let (name, field, params) = split(fields)?;
    match name.as_str() {
        "aws" | "s3" | "gcp" | "storj" | "azure" => cloud::destination(&name, params),
        "bucket" => no_params(params, Destination::Bucket),
        "bypass" => no_params(params, Destination::Bypass),
        _ => {
            let problem =
                "must be aws (or s3), gcp, storj, azure, bucket or bypass for a destination";
            Err(Invalid::new(field, problem))
        }
    }
}

/// The one descriptor in which a source is shown.
pub fn source_out(source: &DraftSource) -> Value {
    match source {
        Source::Cloud { bucket, paths } => cloud::out(bucket, paths),
        Source::Url { url, username, secret } => shown(
            "url",
            Some("HttpDataSource"),
            [
                ("url", Some(url.as_str())),
                ("username", username.as_deref()),
                ("secret_id", named(secret.as_ref())),
            ],
        ),
        Source::File(FileToUpload { name }) => {
            shown("file", Some("LocalFileDataSource"), [("name", name.as_deref())])
        }
        Source::Bypass => shown("bypass", None, []),
    }
}

/// The one descriptor in which a destination is shown.
pub fn destination_out(destination: &Destination) -> Value {
    match destination {
        Destination::Cloud { bucket, folder } => cloud::out(bucket, std::slice::from_ref(folder)),
        Destination::Bucket => shown("bucket", None, []),
        Destination::Bypass => shown("bypass", None, []),
    }
}

/// A descriptor of this name, with these params where they have a value.
fn shown<'a>(
    name: &str,
    kind: Option<&str>,
    params: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
) -> Value {
    let kind = kind.map(|kind| ("@type".to_owned(), json!(format!("{TYPE_PREFIX}{kind}"))));
    let params =
        params.into_iter().filter_map(|(key, value)| Some((key.to_owned(), json!(value?))));
    let params: Map<String, Value> = kind.into_iter().chain(params).collect();
    json!({"dataSourceDescriptor": name, "params": params})
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

fn no_params<L>(mut params: Loose, location: L) -> Result<Checked<L>, Invalid> {
    drop_shown(&mut params);
    params.finish()?;
    Ok(Checked::open(location))
}

fn url(mut params: Loose) -> Result<Checked<DraftSource>, Invalid> {
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
    Ok(Checked { location: Source::Url { url, username, secret }, inline })
}

fn file(mut params: Loose) -> Result<Checked<DraftSource>, Invalid> {
    drop_shown(&mut params);
    let field = params.name("name");
    let name = params.line("name", 255)?;
    name.as_deref().map_or(Ok(()), |name| check_file_name(&field, name))?;
    params.finish_with(&["name"])?;
    Ok(Checked::open(Source::File(FileToUpload { name })))
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

#[cfg(test)]
mod tests;
