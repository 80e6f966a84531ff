//! What a case is.
//!
//! Texts may name values: `${key}` (an API key of the case's own workspace), `${other_key}` (of
//! another one), `${workspace}`, `${server}`, `${receiver}` (the address of a receiver of calls),
//! `${now+90s}` (a time), and what an earlier step has captured.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it shows.
    #[serde(rename = "case")]
    pub shows: String,
    pub steps: Vec<Step>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What happens, for people.
    #[serde(rename = "do")]
    pub what: String,
    pub request: Option<Request>,
    pub answer: Option<Answer>,
    pub received: Option<Heard>,
    /// Kills the server with SIGKILL and starts it again.
    #[serde(default)]
    pub kill: bool,
    /// The step is repeated until it is as expected, for this many seconds.
    pub within: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub method: String,
    pub path: String,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Sent as JSON.
    pub body: Option<Value>,
    /// Sent as it is.
    pub text: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    pub status: u16,
    /// Patterns.
    #[serde(default)]
    pub headers: BTreeMap<String, Value>,
    /// A pattern of the JSON.
    pub body: Option<Value>,
    /// A pattern of a body that is no JSON.
    pub text: Option<Value>,
}

/// What the receiver has got.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heard {
    /// Requests whose paths begin so.
    pub path: String,
    pub times: usize,
    /// A pattern of each: `method`, `path`, `headers`, `body`.
    pub each: Option<Value>,
    /// All of them have the same value in this header.
    pub same: Option<String>,
}
