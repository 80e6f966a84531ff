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
    S3(S3),
    Bypass,
}

/// Where a job's results go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    Bucket,
    S3(S3),
    Bypass,
}

/// `s3:BUCKET/PATH?region=R&endpoint=URL&secret=ID`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct S3 {
    bucket: String,
    path: String,
    region: Option<String>,
    endpoint: Option<String>,
    secret: Option<String>,
}

/// The text names no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAPlace {
    #[error("{0:?} is no data source; use file:PATH, url:URL, s3:BUCKET/KEY or bypass")]
    Source(String),
    #[error("{0:?} is no destination; use bucket, s3:BUCKET/FOLDER or bypass")]
    Destination(String),
    #[error("{0:?} is not an http or https address")]
    Url(String),
    #[error("{0:?} lacks a bucket and a path: s3:BUCKET/PATH[?region=R&endpoint=URL&secret=ID]")]
    S3(String),
    #[error("{0:?} is no option of an s3 place; there are region, endpoint and secret")]
    S3Option(String),
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
        if let Some(place) = text.strip_prefix("s3:") {
            return place.parse().map(Self::S3);
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
            _ => match text.strip_prefix("s3:") {
                Some(place) => place.parse().map(Self::S3),
                None => Err(NotAPlace::Destination(text.to_owned())),
            },
        }
    }
}

impl FromStr for S3 {
    type Err = NotAPlace;

    fn from_str(text: &str) -> Result<Self, NotAPlace> {
        let rest = text.strip_prefix("//").unwrap_or(text);
        let (place, options) = rest.split_once('?').unwrap_or((rest, ""));
        let Some((bucket, path)) = place.split_once('/').filter(|(bucket, _)| !bucket.is_empty())
        else {
            return Err(NotAPlace::S3(text.to_owned()));
        };
        let mut s3 = Self { bucket: bucket.to_owned(), path: path.to_owned(), ..Self::default() };
        for option in options.split('&').filter(|option| !option.is_empty()) {
            let slot = match option.split_once('=') {
                Some(("region", value)) => (&mut s3.region, value),
                Some(("endpoint", value)) => (&mut s3.endpoint, value),
                Some(("secret", value)) => (&mut s3.secret, value),
                _ => return Err(NotAPlace::S3Option(option.to_owned())),
            };
            *slot.0 = Some(slot.1.to_owned());
        }
        Ok(s3)
    }
}

impl Source {
    /// The `dataSource` that the API takes.
    pub fn json(&self) -> Value {
        match self {
            Self::File(_) => described("file", "LocalFileDataSource", Map::new()),
            Self::Url(url) => described("url", "HttpDataSource", object(json!({ "url": url }))),
            Self::S3(s3) => s3.json(),
            Self::Bypass => json!({ "dataSourceDescriptor": "bypass" }),
        }
    }
}

impl Destination {
    /// The `dataDestination` that the API takes.
    pub fn json(&self) -> Value {
        match self {
            Self::Bucket => json!({ "dataSourceDescriptor": "bucket" }),
            Self::S3(s3) => s3.json(),
            Self::Bypass => json!({ "dataSourceDescriptor": "bypass" }),
        }
    }
}

impl S3 {
    fn json(&self) -> Value {
        let mut params = object(json!({ "name": self.path, "bucketName": self.bucket }));
        let options = [
            ("cloudRegion", &self.region),
            ("endpoint", &self.endpoint),
            ("secret_id", &self.secret),
        ];
        for (name, value) in options {
            if let Some(value) = value {
                params.insert(name.to_owned(), json!(value));
            }
        }
        described("aws", "S3DataSource", params)
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
    fn sources_parse() {
        let s3 = |region: Option<&str>, endpoint: Option<&str>| {
            Source::S3(S3 {
                bucket: "b".into(),
                path: "in/a=b.txt".into(),
                region: region.map(str::to_owned),
                endpoint: endpoint.map(str::to_owned),
                secret: None,
            })
        };
        let cases = [
            ("file:./a b.txt", Source::File("./a b.txt".into())),
            ("url:https://h/p?q=1", Source::Url("https://h/p?q=1".into())),
            ("http://h/p", Source::Url("http://h/p".into())),
            ("bypass", Source::Bypass),
            ("s3:b/in/a=b.txt", s3(None, None)),
            ("s3://b/in/a=b.txt?region=eu", s3(Some("eu"), None)),
            ("s3:b/in/a=b.txt?endpoint=http://h:1/", s3(None, Some("http://h:1/"))),
        ];

        for (text, source) in cases {
            assert_eq!(text.parse(), Ok(source), "{text}");
        }
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in
            ["", "file:", "url:ftp://h/", "url:", "s3:", "s3:b", "s3:/p", "s3:b/p?x=1", "bucket"]
        {
            assert!(text.parse::<Source>().is_err(), "{text}");
        }
        for text in ["", "file:a", "http://h/", "s3:b", "BUCKET"] {
            assert!(text.parse::<Destination>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_s3_place_names_its_secret_by_id() {
        let place: Destination = "s3:b/out?secret=mine&region=eu-west-1".parse().unwrap();

        let params = &place.json()["params"];

        assert_eq!(params["bucketName"], "b");
        assert_eq!(params["name"], "out");
        assert_eq!(params["secret_id"], "mine");
        assert_eq!(params["cloudRegion"], "eu-west-1");
    }
}
