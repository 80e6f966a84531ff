//! Calls: HTTP requests that the server makes, one attempt after the other until one is accepted.

mod answer;
mod check;
mod flow;
mod late;
mod retry;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use answer::{ANSWER_BYTES_MAX, Answer, Report};
pub use check::{BODY_BYTES_MAX, InvalidCall, TIMEOUT_SECS_MAX};
pub use flow::{Flow, Rate};
pub use late::{CallPlace, LateCallText};
pub use retry::{Retry, Waits};

use crate::money::credits::Credits;
use crate::secret::SecretId;

/// The most secrets that sign a call: the one in use, and the one that replaces it.
pub const SIGNATURES_MAX: usize = 2;

/// A task that is an HTTP request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallTask {
    pub call: Call,
    pub retry: Retry,
    /// What it costs once it is accepted, however many attempts that takes.
    pub price: Credits,
    /// Texts of the call that are templates; the call has any other text at their places.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub late: Vec<LateCallText>,
}

/// An HTTP request, and what counts as its success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    pub method: Method,
    /// An http or https address.
    pub url: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, HeaderText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The statuses that mean success, as ranges with both ends included.
    pub accept: Vec<(u16, u16)>,
    /// Seconds that one attempt may take, from its begin to the end of the answer.
    pub timeout_secs: u32,
    /// The secrets that sign each attempt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sign: Vec<SecretId>,
    /// How many bytes of an answer's body are kept.
    pub keep_bytes: u32,
    #[serde(default, skip_serializing_if = "Flow::is_unlimited")]
    pub flow: Flow,
}

/// The value of a header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum HeaderText {
    Text(String),
    /// The value of a secret, which is read when an attempt begins.
    Secret(SecretId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
}

impl Method {
    pub const ALL: [Self; 7] =
        [Self::Get, Self::Head, Self::Post, Self::Put, Self::Patch, Self::Delete, Self::Options];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
        }
    }

    /// The method of this name, in upper or lower case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The host of an address, in the one spelling that browsers use; empty where there is none.
pub fn host_of(url: &str) -> String {
    let url = url::Url::parse(url).ok();
    url.as_ref().and_then(url::Url::host_str).unwrap_or_default().to_owned()
}

impl Call {
    /// A request without a body, of which any status from 200 to 299 is a success.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self {
            method,
            url: url.into(),
            headers: BTreeMap::new(),
            body: None,
            accept: vec![(200, 299)],
            timeout_secs: 30,
            sign: Vec::new(),
            keep_bytes: ANSWER_BYTES_MAX,
            flow: Flow::default(),
        }
    }

    /// The host that it goes to, in the one spelling that browsers use; empty where there is none.
    pub fn host(&self) -> String {
        host_of(&self.url)
    }

    pub fn accepts(&self, status: u16) -> bool {
        self.accept.iter().any(|(from, to)| (*from..=*to).contains(&status))
    }

    /// The secrets that it names.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretId> {
        let headers = self.headers.values().filter_map(|value| match value {
            HeaderText::Text(_) => None,
            HeaderText::Secret(id) => Some(id),
        });
        self.sign.iter().chain(headers)
    }
}
