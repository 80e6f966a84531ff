//! Calls, as bodies describe them and as they are shown.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use common::call::{ANSWER_BYTES_MAX, Call, Flow, HeaderText, Method, Rate, Retry, Waits};
use common::order::call::CallWork;
use common::package::loose::Loose;
use common::secret::SecretId;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::http::shape::{Field, Kind, Shape, flag, integer, map, one, text, texts, word};
use crate::error::{Error, Result};

const METHODS: [&str; Method::ALL.len()] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const SECS_MAX: u64 = u32::MAX as u64;

/// What a call takes.
pub const CALL: Shape = Shape {
    name: "NewCall",
    fields: &[
        word("method", &METHODS, "GET where it is left out"),
        text("url", "An http or https address").required().example("https://example.com/hook"),
        map("headers", "Texts by name; or {\"secret\": ID} for the value of a secret"),
        text("body", "At most 1 MiB"),
        texts("accept", "Statuses that mean success, such as 200-299 (the default) or 409"),
        integer("timeout_secs", "Of one attempt; 30 where it is left out, at most 3600"),
        one("retry", &RETRY, "Five retries over about an hour where it is left out"),
        texts("sign", "Secrets with whsec_ keys that sign each attempt, at most 2"),
        integer("keep_bytes", "Of an answer's body, at most 65536, which is the default"),
        one("flow", &FLOW, "Limits that calls with the same key share"),
    ],
};

const RETRY: Shape = Shape {
    name: "NewRetry",
    fields: &[
        Field::new("waits_secs", Kind::Any, "A list with the wait before each retry"),
        integer("retries", "In place of the list: how many, with waits that grow"),
        integer("first_secs", "The first of them; 10 where it is left out"),
        integer("factor", "How they grow, from 1 to 10; 4 where it is left out"),
        integer("most_secs", "The longest; 3600 where it is left out"),
        integer("jitter_percent", "Of each, added at most; 10 where it is left out"),
        flag("retry_after", "Whether a receiver may ask for longer waits; true if left out"),
    ],
};

const FLOW: Shape = Shape {
    name: "NewFlow",
    fields: &[
        text("key", "The host of the call where it is left out"),
        integer("at_once", "The most that are under way at once"),
        integer("calls", "The most in a time of per_secs"),
        integer("per_secs", "1 where it is left out"),
    ],
};

/// Reads the call of a body.
pub fn read(call: Loose) -> Result<CallWork> {
    read_as(call, Method::Get)
}

/// Reads a call that has this method where it names none.
pub fn read_as(mut call: Loose, default: Method) -> Result<CallWork> {
    let (field, method) = (call.name("method"), call.text("method")?);
    let method = method.as_deref().map_or(Some(default), Method::from_name);
    let method = method
        .ok_or_else(|| Error::field(field, format!("must be one of {}", METHODS.join(", "))))?;
    let defaults = Call::new(method, call.required_text("url")?);
    let read = Call {
        headers: read_headers(&mut call)?,
        body: call.text("body")?,
        accept: read_accept(&mut call)?.unwrap_or(defaults.accept),
        timeout_secs: number(&mut call, "timeout_secs")?.unwrap_or(defaults.timeout_secs),
        sign: read_secrets(&mut call)?,
        keep_bytes: number(&mut call, "keep_bytes")?.unwrap_or(ANSWER_BYTES_MAX),
        flow: call.object("flow")?.map(read_flow).transpose()?.unwrap_or_default(),
        ..Call::new(method, defaults.url)
    };
    let retry = call.object("retry")?.map(read_retry).transpose()?.unwrap_or_default();
    call.finish()?;
    Ok(CallWork { call: read, retry })
}

fn number(fields: &mut Loose, key: &str) -> Result<Option<u32>> {
    let found = fields.number(key, 0..=SECS_MAX)?;
    Ok(found.map(|found| u32::try_from(found).unwrap_or(u32::MAX)))
}

fn positive(fields: &mut Loose, key: &str) -> Result<Option<NonZeroU32>> {
    let found = fields.number(key, 1..=SECS_MAX)?;
    Ok(found.and_then(|found| u32::try_from(found).ok()).and_then(NonZeroU32::new))
}

fn read_headers(call: &mut Loose) -> Result<BTreeMap<String, HeaderText>> {
    let field = call.name("headers");
    let Some(value) = call.value("headers") else { return Ok(BTreeMap::new()) };
    let Value::Object(headers) = value else {
        return Err(Error::field(field, "must be an object"));
    };
    let each = |(name, value): (String, Value)| {
        let wrong = || {
            let what = "must be a text, or an object with the id of a secret: {\"secret\": ID}";
            Error::field(format!("{field}.{name}"), what)
        };
        let value = match value {
            Value::String(text) => HeaderText::Text(text),
            Value::Object(object) if object.len() == 1 => {
                let id = object.get("secret").and_then(Value::as_str).ok_or_else(wrong)?;
                HeaderText::Secret(SecretId::named(id).map_err(|_| wrong())?)
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => return Err(wrong()),
        };
        Ok((name, value))
    };
    headers.into_iter().map(each).collect()
}

/// Ranges such as `200-299`, and single statuses.
fn read_accept(call: &mut Loose) -> Result<Option<Vec<(u16, u16)>>> {
    let field = call.name("accept");
    let texts = call.texts("accept", 16)?;
    let range = |text: &String| {
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        let both = from.trim().parse().ok().zip(to.trim().parse().ok());
        both.ok_or_else(|| Error::field(field.as_str(), "must be statuses such as 200-299 or 409"))
    };
    let ranges = texts.iter().map(range).collect::<Result<Vec<_>>>()?;
    Ok((!ranges.is_empty()).then_some(ranges))
}

fn read_secrets(call: &mut Loose) -> Result<Vec<SecretId>> {
    let field = call.name("sign");
    let ids = call.texts("sign", common::call::SIGNATURES_MAX)?;
    let named = |id: &String| {
        SecretId::named(id).map_err(|bad| Error::field(field.as_str(), bad.to_string()))
    };
    ids.iter().map(named).collect()
}

fn read_flow(mut flow: Loose) -> Result<Flow> {
    let key = flow.text("key")?;
    let at_once = positive(&mut flow, "at_once")?;
    let calls = positive(&mut flow, "calls")?;
    let per_secs = positive(&mut flow, "per_secs")?.unwrap_or(NonZeroU32::MIN);
    flow.finish()?;
    Ok(Flow { key, at_once, rate: calls.map(|calls| Rate { calls, per_secs }) })
}

fn read_retry(mut retry: Loose) -> Result<Retry> {
    let honours_retry_after = retry.flag("retry_after")?.unwrap_or(true);
    let field = retry.name("waits_secs");
    let waits = match retry.value("waits_secs") {
        Some(Value::Array(waits)) => {
            let secs = |wait: &Value| wait.as_u64().and_then(|secs| u32::try_from(secs).ok());
            let waits = waits.iter().map(secs).collect::<Option<Vec<u32>>>();
            Waits::Table(waits.ok_or_else(|| Error::field(field, "must be a list of seconds"))?)
        }
        Some(_) => return Err(Error::field(field, "must be a list of seconds")),
        None => Waits::Backoff {
            retries: number(&mut retry, "retries")?.unwrap_or(5),
            first_secs: number(&mut retry, "first_secs")?.unwrap_or(10),
            factor: number(&mut retry, "factor")?.unwrap_or(4),
            most_secs: number(&mut retry, "most_secs")?.unwrap_or(3_600),
            jitter_percent: number(&mut retry, "jitter_percent")?.unwrap_or(10),
        },
    };
    retry.finish()?;
    Ok(Retry { waits, honours_retry_after })
}

/// A call of a job.
#[derive(Serialize, ToSchema)]
#[schema(as = Call)]
pub struct CallOut {
    /// The HTTP method.
    method: &'static str,
    url: String,
    /// Texts by name, or the id of a secret.
    #[schema(value_type = Object)]
    headers: BTreeMap<String, HeaderOut>,
    /// What is sent.
    body: Option<String>,
    /// Statuses that mean success.
    accept: Vec<String>,
    /// Of one attempt.
    timeout_secs: u32,
    /// When a failed attempt is made again.
    retry: RetryOut,
    /// The secrets that sign each attempt.
    sign: Vec<String>,
    /// Of an answer's body.
    keep_bytes: u32,
    /// Limits that calls with the same key share.
    flow: Option<FlowOut>,
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum HeaderOut {
    Text(String),
    Secret { secret: String },
}

/// When an attempt that failed is made again.
#[derive(Serialize, ToSchema)]
#[schema(as = Retry)]
struct RetryOut {
    /// The wait before each retry; null where they grow.
    waits_secs: Option<Vec<u32>>,
    /// How many, where the waits grow.
    retries: Option<u32>,
    /// The first wait.
    first_secs: Option<u32>,
    /// How the waits grow.
    factor: Option<u32>,
    /// The longest wait.
    most_secs: Option<u32>,
    /// What is added to each wait at most.
    jitter_percent: Option<u32>,
    /// Whether a receiver may ask for longer waits.
    retry_after: bool,
}

/// Limits that calls with the same key share.
#[derive(Serialize, ToSchema)]
#[schema(as = Flow)]
struct FlowOut {
    /// Null for the host of the call.
    key: Option<String>,
    /// The most that are under way at once.
    at_once: Option<u32>,
    /// The most in a time of `per_secs`.
    calls: Option<u32>,
    /// The time that `calls` are in.
    per_secs: Option<u32>,
}

impl From<&CallWork> for CallOut {
    fn from(CallWork { call, retry }: &CallWork) -> Self {
        let header = |(name, value): (&String, &HeaderText)| {
            let value = match value {
                HeaderText::Text(text) => HeaderOut::Text(text.clone()),
                HeaderText::Secret(id) => HeaderOut::Secret { secret: id.as_str().to_owned() },
            };
            (name.clone(), value)
        };
        let range = |(from, to): &(u16, u16)| {
            if from == to { from.to_string() } else { format!("{from}-{to}") }
        };
        Self {
            method: call.method.as_str(),
            url: call.url.clone(),
            headers: call.headers.iter().map(header).collect(),
            body: call.body.clone(),
            accept: call.accept.iter().map(range).collect(),
            timeout_secs: call.timeout_secs,
            retry: retry.into(),
            sign: call.sign.iter().map(|id| id.as_str().to_owned()).collect(),
            keep_bytes: call.keep_bytes,
            flow: (call.flow != Flow::default()).then(|| (&call.flow).into()),
        }
    }
}

impl From<&Retry> for RetryOut {
    fn from(Retry { waits, honours_retry_after }: &Retry) -> Self {
        let none = Self {
            waits_secs: None,
            retries: None,
            first_secs: None,
            factor: None,
            most_secs: None,
            jitter_percent: None,
            retry_after: *honours_retry_after,
        };
        match waits {
            Waits::Table(waits) => Self { waits_secs: Some(waits.clone()), ..none },
            Waits::Backoff { retries, first_secs, factor, most_secs, jitter_percent } => Self {
                retries: Some(*retries),
                first_secs: Some(*first_secs),
                factor: Some(*factor),
                most_secs: Some(*most_secs),
                jitter_percent: Some(*jitter_percent),
                ..none
            },
        }
    }
}

impl From<&Flow> for FlowOut {
    fn from(Flow { key, at_once, rate }: &Flow) -> Self {
        Self {
            key: key.clone(),
            at_once: at_once.map(NonZeroU32::get),
            calls: rate.map(|rate| rate.calls.get()),
            per_secs: rate.map(|rate| rate.per_secs.get()),
        }
    }
}
