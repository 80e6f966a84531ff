//! How a job's data source and destination are written on the command line.

use std::path::PathBuf;
use std::str::FromStr;

use reqwest::Url;
use serde_json::{Map, Value, json};

/// Where a job's data comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file here, uploaded when the job is made.
    File(PathBuf),
    Url(String),
    Cloud(Cloud),
    Bypass,
}

/// Where a job's results go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    Bucket,
    Cloud(Cloud),
    Bypass,
}

/// `s3:BUCKET/PATH?region=R&endpoint=URL&secret=ID`, and the same with `gs:`, `sj:` and `az:`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cloud {
    descriptor: &'static str,
    bucket: String,
    path: String,
    options: Map<String, Value>,
}

/// The schemes, and the descriptors that they stand for.
const SCHEMES: [(&str, &str); 4] =
    [("s3:", "aws"), ("gs:", "gcp"), ("sj:", "storj"), ("az:", "azure")];
/// The options, and the params that they stand for.
const OPTIONS: [(&str, &str); 4] = [
    ("region", "cloudRegion"),
    ("endpoint", "endpoint"),
    ("account", "accountName"),
    ("secret", "secret_id"),
];

/// The text names no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAPlace {
    #[error(
        "{0:?} is no data source; use file:PATH, url:URL, s3:BUCKET/KEY (or gs:, sj:, az:) or \
         bypass"
    )]
    Source(String),
    #[error("{0:?} is no destination; use bucket, s3:BUCKET/FOLDER (or gs:, sj:, az:) or bypass")]
    Destination(String),
    #[error("{0:?} is not an http or https address")]
    Url(String),
    #[error("{0:?} lacks a bucket and a path: s3:BUCKET/PATH[?region=R&endpoint=URL&secret=ID]")]
    Cloud(String),
    #[error("{0:?} is no option of a bucket; there are region, endpoint, account and secret")]
    Option(String),
}

impl FromStr for Source {
    type Err = NotAPlace;

    fn from_str(text: &str) -> Result<Self, NotAPlace> {
        if let Some(path) = text.strip_prefix("file:").filter(|path| !path.is_empty()) {
            return Ok(Self::File(path.into()));
        }
        if text == "bypass" {
            return Ok(Self::Bypass);
        }
        if let Some(place) = Cloud::parse(text)? {
            return Ok(Self::Cloud(place));
        }
        let url = text.strip_prefix("url:");
        if url.is_none() && !text.starts_with("http://") && !text.starts_with("https://") {
            return Err(NotAPlace::Source(text.to_owned()));
        }
        let url = url.unwrap_or(text);
        match Url::parse(url) {
            Ok(parsed) if matches!(parsed.scheme(), "http" | "https") => {
                Ok(Self::Url(url.to_owned()))
            }
            _ => Err(NotAPlace::Url(url.to_owned())),
        }
    }
}

impl FromStr for Destination {
    type Err = NotAPlace;

    fn from_str(text: &str) -> Result<Self, NotAPlace> {
        match text {
            "bucket" => Ok(Self::Bucket),
            "bypass" => Ok(Self::Bypass),
            _ => match Cloud::parse(text)? {
                Some(place) => Ok(Self::Cloud(place)),
                None => Err(NotAPlace::Destination(text.to_owned())),
            },
        }
    }
}

impl Cloud {
    /// `None` where the text has none of the schemes.
    fn parse(text: &str) -> Result<Option<Self>, NotAPlace> {
        let found = SCHEMES
            .iter()
            .find_map(|(scheme, descriptor)| Some((text.strip_prefix(scheme)?, *descriptor)));
        let Some((rest, descriptor)) = found else { return Ok(None) };
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        // A pattern may have question marks of its own.
        let (place, options) = match rest.rsplit_once('?') {
            Some((place, options)) if options.contains('=') => (place, options),
            _ => (rest, ""),
        };
        let Some((bucket, path)) = place.split_once('/').filter(|(bucket, _)| !bucket.is_empty())
        else {
            return Err(NotAPlace::Cloud(text.to_owned()));
        };
        let mut params = Map::new();
        for option in options.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let Some((_, param)) = OPTIONS.iter().find(|(known, _)| *known == name) else {
                return Err(NotAPlace::Option(option.to_owned()));
            };
            params.insert((*param).to_owned(), json!(value));
        }
        let (bucket, path) = (bucket.to_owned(), path.to_owned());
        Ok(Some(Self { descriptor, bucket, path, options: params }))
    }

    fn json(&self) -> Value {
        let mut params = object(json!({ "name": self.path, "bucketName": self.bucket }));
        params.extend(self.options.clone());
        let kind = if self.descriptor == "azure" { "AzureDataSource" } else { "S3DataSource" };
        described(self.descriptor, kind, params)
    }
}

impl Source {
    /// The `dataSource` that the API takes.
    pub fn json(&self) -> Value {
        match self {
            Self::File(path) => {
                // What an app sees as CHUNK_NAME.
                let name = path.file_name().and_then(|name| name.to_str());
                let name = name.filter(|name| name.len() <= 255 && !name.contains('\\'));
                let params = name.map(|name| object(json!({ "name": name }))).unwrap_or_default();
                described("file", "LocalFileDataSource", params)
            }
            Self::Url(url) => described("url", "HttpDataSource", object(json!({ "url": url }))),
            Self::Cloud(cloud) => cloud.json(),
            Self::Bypass => json!({ "dataSourceDescriptor": "bypass" }),
        }
    }
}

impl Destination {
    /// The `dataDestination` that the API takes.
    pub fn json(&self) -> Value {
        match self {
            Self::Bucket => json!({ "dataSourceDescriptor": "bucket" }),
            Self::Cloud(cloud) => cloud.json(),
            Self::Bypass => json!({ "dataSourceDescriptor": "bypass" }),
        }
    }
}

fn described(descriptor: &str, kind: &str, mut params: Map<String, Value>) -> Value {
    let kind = format!("type.googleapis.com/bytenite.data_source.{kind}");
    params.insert("@type".to_owned(), json!(kind));
    json!({ "dataSourceDescriptor": descriptor, "params": params })
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locator_parses_sources() {
        let s3 = |path: &str, options: Value| {
            let (bucket, path, options) = ("b".to_owned(), path.to_owned(), object(options));
            Source::Cloud(Cloud { descriptor: "aws", bucket, path, options })
        };
        let cases = [
            ("file:./a b.txt", Source::File("./a b.txt".into())),
            ("url:https://h/p?q=1", Source::Url("https://h/p?q=1".into())),
            ("http://h/p", Source::Url("http://h/p".into())),
            ("bypass", Source::Bypass),
            ("s3:b/in/a=b.txt", s3("in/a=b.txt", json!({}))),
            ("s3://b/in/?.txt", s3("in/?.txt", json!({}))),
            ("s3://b/in/?.txt?region=eu", s3("in/?.txt", json!({"cloudRegion": "eu"}))),
            ("s3:b/in/?endpoint=http://h:1/", s3("in/", json!({"endpoint": "http://h:1/"}))),
        ];

        for (text, source) in cases {
            assert_eq!(text.parse(), Ok(source), "{text}");
        }
    }

    #[test]
    fn locator_refuses_text_that_is_no_place() {
        for text in [
            "",
            "file:",
            "url:ftp://h/",
            "url:",
            "s3:",
            "s3:b",
            "s3:/p",
            "s3:b/p?x=1",
            "gs:",
            "bucket",
        ] {
            assert!(text.parse::<Source>().is_err(), "{text}");
        }
        for text in ["", "file:a", "http://h/", "s3:b", "BUCKET"] {
            assert!(text.parse::<Destination>().is_err(), "{text}");
        }
    }

    #[test]
    fn locator_scheme_selects_the_descriptor() {
        for (scheme, descriptor) in [("s3", "aws"), ("gs", "gcp"), ("sj", "storj"), ("az", "azure")]
        {
            let text = format!("{scheme}://b/out?secret=mine&region=eu-west-1&account=acc1");
            let place: Destination = text.parse().unwrap();

            let json = place.json();

            assert_eq!(json["dataSourceDescriptor"], descriptor);
            let params = &json["params"];
            assert_eq!((&params["bucketName"], &params["name"]), (&json!("b"), &json!("out")));
            assert_eq!(params["secret_id"], "mine");
            assert_eq!(params["cloudRegion"], "eu-west-1");
            assert_eq!(params["accountName"], "acc1");
        }
    }
}
