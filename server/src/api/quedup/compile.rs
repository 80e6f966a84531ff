//! From requests to orders.

use std::collections::BTreeMap;

use chrono::DateTime;
use common::call::{Call, HeaderText, Method, Retry, Waits};
use common::order::call::CallWork;
use common::package::loose::Loose;
use common::schedule::cron::Cron;
use common::schedule::{Rules, Schedule, When};
use serde_json::Value;

use super::render::{MASK, is_masked};
use crate::api::http::shape::{Field, date, map, text};
use crate::error::{Error, Result};
use crate::jobs::JobScope;
use crate::jobs::draft::call::NewCall;
use crate::jobs::draft::{DraftChange, NAME_CHARS_MAX};
use crate::jobs::ordered::Start;

/// The waits before attempts 2 to 7.
const WAITS_SECS: [u32; 6] = [0, 300, 900, 3_600, 10_800, 21_600];
/// No answer within this time is a failure.
const TIMEOUT_SECS: u32 = 15 * 60;
const ZONE: &str = "UTC";
const METHODS: &str = "must be GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS";

pub const FIELDS: [Field; 7] = [
    text("method", "The HTTP method of the request").required().example("POST"),
    text("name", "Unique; identifies the job").required().example("Database Backup"),
    text("url", "Where the request is sent").required().example("https://example.com"),
    text("body", "The body of the request"),
    map("headers", "Texts by name"),
    date("run_at", "When it runs, once; ignored where there is a schedule"),
    text("schedule", "A cron expression, in UTC; wins over run_at"),
];

/// Jobs of this API are found by their names.
pub fn scope() -> JobScope {
    JobScope("quedup".to_owned())
}

/// What a request says of a job. What is `None` is left out.
pub struct Given {
    method: Option<Method>,
    name: Option<String>,
    url: Option<String>,
    body: Said<String>,
    headers: Said<BTreeMap<String, String>>,
    timing: Timing,
}

/// What a request says of when a job runs.
pub struct Timing {
    pub rules: Option<Rules>,
    /// `schedule` is `null`.
    no_schedule: bool,
    /// `run_at` is `null`.
    no_time: bool,
}

impl Timing {
    /// Whether the job keeps this no longer. An answer of a job that runs once has `null` as its
    /// schedule, and may be sent back.
    pub fn removes(&self, before: &Schedule) -> bool {
        match before.rules.when {
            When::Cron(_) => self.no_schedule,
            When::Once(_) | When::Every { .. } => self.no_time,
        }
    }
}

/// What a request says of a field that may be empty.
enum Said<T> {
    /// The field is left out.
    Nothing,
    /// It is `null`.
    Empty,
    Value(T),
}

impl<T> Said<T> {
    fn of(value: Option<T>, is_unset: bool) -> Self {
        match value {
            Some(value) => Self::Value(value),
            None if is_unset => Self::Empty,
            None => Self::Nothing,
        }
    }

    fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Nothing | Self::Empty => None,
        }
    }

    /// What is there after it was said, where this was there before.
    fn or(self, before: Option<T>) -> Option<T> {
        match self {
            Self::Nothing => before,
            Self::Empty => None,
            Self::Value(value) => Some(value),
        }
    }
}

/// Reads a body of `FIELDS`.
pub fn read(mut body: Loose) -> Result<Given> {
    let method = body.text("method")?;
    let method =
        method.map(|name| Method::from_name(&name).ok_or_else(|| Error::field("method", METHODS)));
    let (no_schedule, no_time) = (body.is_unset("schedule"), body.is_unset("run_at"));
    let run_at = body.text("run_at")?;
    let when = match body.text("schedule")? {
        Some(text) => Some(read_cron(&text)?),
        None => run_at.as_deref().map(read_time).transpose()?,
    };
    let (no_body, no_headers) = (body.is_unset("body"), body.is_unset("headers"));
    let given = Given {
        method: method.transpose()?,
        name: body.line("name", NAME_CHARS_MAX)?,
        url: body.text("url")?,
        body: Said::of(body.text("body")?, no_body),
        headers: Said::of(read_headers(&mut body)?, no_headers),
        timing: Timing { rules: when.map(Rules::new), no_schedule, no_time },
    };
    body.finish()?;
    Ok(given)
}

fn read_cron(text: &str) -> Result<When> {
    let cron = Cron::parse(text, ZONE);
    let cron = cron.map_err(|wrong| Error::field("schedule", wrong.to_string()))?;
    Ok(When::Cron(Box::new(cron)))
}

fn read_time(text: &str) -> Result<When> {
    let at = DateTime::parse_from_rfc3339(text)
        .map_err(|_| Error::field("run_at", "must be a time such as 2025-09-24T17:00:00Z"))?;
    Ok(When::Once(at.to_utc()))
}

fn read_headers(body: &mut Loose) -> Result<Option<BTreeMap<String, String>>> {
    let wrong = || Error::field("headers", "must be an object of texts");
    let Some(value) = body.value("headers") else { return Ok(None) };
    let Value::Object(headers) = value else { return Err(wrong()) };
    let each = |(name, value): (String, Value)| match value {
        Value::String(text) => Ok((name, text)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err(wrong())
        }
    };
    headers.into_iter().map(each).collect::<Result<_>>().map(Some)
}

impl Given {
    /// The order of a new job, and when it runs.
    pub fn into_order(self) -> Result<(NewCall, Start)> {
        let Self { method, name, url, body, headers, timing } = self;
        let missing = |field: &'static str| Error::field(field, "is missing");
        let method = method.ok_or_else(|| missing("method"))?;
        let name = name.ok_or_else(|| missing("name"))?;
        let url = url.ok_or_else(|| missing("url"))?;
        let call = Call {
            headers: headers.value().unwrap_or_default().into_iter().map(header).collect(),
            body: body.value(),
            timeout_secs: TIMEOUT_SECS,
            ..Call::new(method, url)
        };
        let waits = Waits::Table(WAITS_SECS.to_vec());
        let work = CallWork { call, retry: Retry { waits, honours_retry_after: false } };
        let draft = DraftChange { name: Some(name), ..DraftChange::default() };
        Ok((
            NewCall { work, scope: Some(scope()), draft },
            timing.rules.map_or(Start::Now, Start::Schedule),
        ))
    }

    /// The change of a job that makes this request now, and what is said of when it runs. Values
    /// that were shown masked stay.
    pub fn into_change(self, before: &CallWork) -> (DraftChange, Timing) {
        let Self { method, name, url, body, headers, timing } = self;
        let mut work = before.clone();
        work.call.method = method.unwrap_or(work.call.method);
        work.call.url = url.unwrap_or(work.call.url);
        work.call.body = body.or(work.call.body);
        let headers = match headers {
            Said::Nothing => None,
            Said::Empty => Some(BTreeMap::new()),
            Said::Value(headers) => Some(headers),
        };
        if let Some(headers) = headers {
            let kept = |(name, text): (String, String)| {
                let same = before.call.headers.get(&name);
                match same.filter(|_| text == MASK && is_masked(&name)) {
                    Some(value) => (name, value.clone()),
                    None => header((name, text)),
                }
            };
            work.call.headers = headers.into_iter().map(kept).collect();
        }
        (DraftChange { name, call: Some(Box::new(work)), ..DraftChange::default() }, timing)
    }
}

fn header((name, text): (String, String)) -> (String, HeaderText) {
    (name, HeaderText::Text(text))
}
