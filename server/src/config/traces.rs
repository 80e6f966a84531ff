//! Where traces of runs are sent, and of how many runs.

use std::collections::HashMap;
use std::fmt;

use reqwest::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use url::Url;

/// The path of traces at a collector whose address is given without one.
const PATH: &str = "/v1/traces";

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TracesConfig {
    pub otlp_endpoint: Endpoint,
    pub headers: Headers,
    /// The service that the spans are of.
    pub service_name: String,
    /// Which part of all runs is traced.
    pub sample_ratio: Ratio,
}

/// The address that spans are sent to; `None` sends none.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Endpoint(pub Option<Url>);

/// Headers of each request to the collector. Their values are credentials, as a rule.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Headers(pub HashMap<String, String>);

/// From 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Deserialize)]
#[serde(try_from = "f64")]
pub struct Ratio(pub f64);

/// A setting of this section that cannot be used. No text shows a header's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    #[error("must be a URL such as \"http://127.0.0.1:4318\", or empty")]
    Url,
    #[error("must not contain a user or password: write them as a header, in traces.headers")]
    Login,
    #[error(
        "must be name=value pairs with commas between them, such as \"authorization=Bearer …\""
    )]
    Headers,
    #[error("must be a number from 0 to 1")]
    Ratio,
}

impl TryFrom<String> for Endpoint {
    type Error = Unusable;

    fn try_from(text: String) -> Result<Self, Unusable> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        let mut url: Url = text.parse().map_err(|_| Unusable::Url)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Unusable::Url);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Unusable::Login);
        }
        if url.path() == "/" {
            url.set_path(PATH);
        }
        Ok(Self(Some(url)))
    }
}

/// As the variable `OTEL_EXPORTER_OTLP_HEADERS` of other programs is written.
impl TryFrom<String> for Headers {
    type Error = Unusable;

    fn try_from(text: String) -> Result<Self, Unusable> {
        let mut headers = HashMap::new();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or(Unusable::Headers)?;
            let (name, value) = (name.trim(), value.trim());
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| Unusable::Headers)?;
            HeaderValue::from_str(value).map_err(|_| Unusable::Headers)?;
            headers.insert(name.to_owned(), value.to_owned());
        }
        Ok(Self(headers))
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl TryFrom<f64> for Ratio {
    type Error = Unusable;

    fn try_from(ratio: f64) -> Result<Self, Unusable> {
        if (0.0..=1.0).contains(&ratio) { Ok(Self(ratio)) } else { Err(Unusable::Ratio) }
    }
}

#[cfg(test)]
mod tests {
    use figment::Figment;
    use figment::providers::{Format as _, Toml};

    use super::*;
    use crate::config::Config;

    fn traces(section: &str) -> Result<TracesConfig, String> {
        let figment = Figment::new().merge(Toml::string(include_str!("../default.toml")));
        let figment = figment.merge(Toml::string(&format!("[traces]\n{section}")));
        figment.extract::<Config>().map(|config| config.traces).map_err(|error| error.to_string())
    }

    #[test]
    fn endpoint_without_a_path_means_the_path_of_traces() {
        for (given, expected) in [
            ("http://c:4318", "http://c:4318/v1/traces"),
            ("https://c/", "https://c/v1/traces"),
            ("https://c/otlp/v1/traces", "https://c/otlp/v1/traces"),
        ] {
            let url = traces(&format!("otlp_endpoint = {given:?}")).unwrap().otlp_endpoint.0;

            assert_eq!(url.unwrap().as_str(), expected);
        }
        assert_eq!(traces("").unwrap().otlp_endpoint, Endpoint(None));
    }

    #[test]
    fn headers_are_pairs_and_no_text_shows_their_values() {
        let config = traces("headers = \"authorization=Bearer hush, x-scope=1=2\"").unwrap();

        let headers = &config.headers.0;
        assert_eq!(headers["authorization"], "Bearer hush");
        assert_eq!(headers["x-scope"], "1=2");
        assert!(!format!("{config:?}").contains("hush"));
        let error = traces("headers = \"hush\"").unwrap_err();
        assert!(error.contains("name=value") && !error.contains("hush"), "{error}");
    }

    #[test]
    fn unusable_setting_of_traces_is_named_with_the_reason() {
        for (section, named) in [
            ("otlp_endpoint = \"collector\"", "http://127.0.0.1:4318"),
            ("otlp_endpoint = \"ftp://c\"", "http://127.0.0.1:4318"),
            ("otlp_endpoint = \"http://u:p@c\"", "traces.headers"),
            ("sample_ratio = 1.5", "from 0 to 1"),
            ("sample_ratio = -0.1", "from 0 to 1"),
        ] {
            let error = traces(section).unwrap_err();

            let setting = section.split(' ').next().unwrap();
            assert!(error.contains(setting) && error.contains(named), "{section}: {error}");
        }
    }
}
