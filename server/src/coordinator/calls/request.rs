//! Builds the request of an attempt: what the customer ordered, and what says which call it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::SecondsFormat;
use common::call::{Call, CallTask, HeaderText, Method};
use common::secret::{SecretId, Target};
use common::{ids::WorkspaceId, run::task::Lease};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::{Attempt, signature};
use crate::clock;
use crate::data::ssrf_guard::Guard;
use crate::expressions::Evaluator;
use crate::secrets::{Error as SecretError, Secrets};

/// Why a request is not sent.
pub(super) enum Unsendable {
    /// The customer can put it right.
    Refused(String),
    /// No expression gives such a request.
    Invalid(String),
    /// The server itself is at fault.
    Server(SecretError),
}

/// The request of an attempt, with its signatures.
pub(super) async fn build(
    http: &reqwest::Client,
    guard: &Guard,
    secrets: &Secrets,
    attempt: &Attempt,
    call: &Call,
) -> Result<reqwest::Request, Unsendable> {
    let owner = attempt.spec.workspace;
    let refused = |why: &dyn std::fmt::Display| Unsendable::Refused(why.to_string());
    let url: Url = call.url.parse().map_err(|error| refused(&error))?;
    guard.check(&url).map_err(|error| refused(&error))?;
    let mut headers = HeaderMap::new();
    for (name, value) in &call.headers {
        let text = match value {
            HeaderText::Text(text) => text.clone(),
            HeaderText::Secret(id) => open(secrets, owner, id).await?,
        };
        let invalid =
            || Unsendable::Refused(format!("the value of the header {name} is not valid"));
        let key: HeaderName = name.parse().map_err(|_| invalid())?;
        let mut value = HeaderValue::from_bytes(text.as_bytes()).map_err(|_| invalid())?;
        value.set_sensitive(matches!(call.headers.get(name), Some(HeaderText::Secret(_))));
        headers.insert(key, value);
    }
    let (id, seconds) = (message_id(attempt.lease), clock::now().timestamp());
    let body = call.body.as_deref().unwrap_or_default();
    let mut signatures = Vec::new();
    for secret in &call.sign {
        let keys = open(secrets, owner, secret).await?;
        let signed = signature::sign(&keys, &id, seconds, body);
        let signed = signed.map_err(|error| {
            Unsendable::Refused(format!("the secret {:?} {error}", secret.as_str()))
        })?;
        signatures.extend(signed);
    }
    for (name, value) in own_headers(attempt, &id, seconds, &signatures) {
        let value = HeaderValue::from_str(&value);
        let value = value.map_err(|error| refused(&error))?;
        headers.entry(HeaderName::from_static(name)).or_insert(value);
    }
    let mut request = http.request(method(call.method), url).headers(headers);
    if let Some(body) = &call.body {
        request = request.body(body.clone());
    }
    request.build().map_err(|error| refused(&crate::data::ssrf_guard::cause(&error)))
}

/// The call with its texts that are known only now. They are not stored: secrets may be in them.
pub(super) async fn whole(
    evaluator: &Evaluator,
    secrets: &Secrets,
    attempt: &Attempt,
    work: &CallTask,
) -> Result<Call, Unsendable> {
    let Some((frozen, url)) = &attempt.late else { return Ok(work.call.clone()) };
    let mut values = BTreeMap::new();
    for (name, id) in frozen.secrets() {
        values.insert(name.clone(), open(secrets, attempt.spec.workspace, id).await?);
    }
    let (frozen, url) = (Arc::clone(frozen), url.clone());
    let whole = evaluator.evaluate(move || frozen.call(url.as_deref(), &values)).await;
    let whole = whole.map_err(|error| Unsendable::Invalid(error.to_string()))?;
    whole.map_err(|fault| Unsendable::Invalid(fault.to_string()))
}

/// The id that all attempts of a call have, by which its receiver knows that it has it.
fn message_id(lease: Lease) -> String {
    format!("msg_{}", lease.task.id())
}

/// The headers that the server writes. A customer's own `Idempotency-Key` stays.
fn own_headers(
    attempt: &Attempt,
    id: &str,
    seconds: i64,
    signatures: &[String],
) -> Vec<(&'static str, String)> {
    let mut headers = vec![
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", seconds.to_string()),
        ("idempotency-key", id.to_owned()),
        ("fanfold-attempt", attempt.lease.attempt.to_string()),
    ];
    if let Some(at) = attempt.spec.origin.nominal() {
        let nominal = at.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        headers.push(("fanfold-scheduled-for", nominal));
    }
    if !signatures.is_empty() {
        headers.push(("webhook-signature", signatures.join(" ")));
    }
    headers
}

async fn open(secrets: &Secrets, owner: WorkspaceId, id: &SecretId) -> Result<String, Unsendable> {
    match secrets.open(owner, id, &Target::Call).await {
        Ok(pair) => Ok(pair.secret_key),
        Err(error @ (SecretError::NotFound(_) | SecretError::Misuse { .. })) => {
            Err(Unsendable::Refused(error.to_string()))
        }
        Err(error @ (SecretError::Key | SecretError::Db(_))) => Err(Unsendable::Server(error)),
    }
}

const fn method(method: Method) -> reqwest::Method {
    match method {
        Method::Get => reqwest::Method::GET,
        Method::Head => reqwest::Method::HEAD,
        Method::Post => reqwest::Method::POST,
        Method::Put => reqwest::Method::PUT,
        Method::Patch => reqwest::Method::PATCH,
        Method::Delete => reqwest::Method::DELETE,
        Method::Options => reqwest::Method::OPTIONS,
    }
}
