//! Runs cases, one after the other, against one server.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use chrono::{SecondsFormat, TimeDelta};
use harness::client::Client;
use harness::machine::busybox;
use harness::market::{Market, Shape};
use harness::say::say;
use harness::services::receiver::{Received, Receiver};
use harness::wait::until_for;
use serde_json::{Value, json};

use super::case::{Answer, Case, Heard, Request, Step};
use super::pattern::compare;

/// The names of values that texts may use.
type Values = BTreeMap<String, String>;

/// Runs all cases of a product, each in a workspace of its own with a key that begins so.
pub async fn all(product: &str, prefix: &str, cases: Vec<(String, Case)>) -> Result<()> {
    let only = std::env::var("COMPAT_CASE").unwrap_or_default();
    let receiver = Receiver::open().await?;
    let cases = cases.into_iter().filter(|(name, _)| name.contains(&only));
    let shape = Shape::nodes(1)
        .set_nodes("NODE_ALLOW_PLAIN", "true")
        // Cases count on how many tasks there is room for.
        .set_nodes("NODE_CPUS", "2")
        .set("CONTAINERS__SCRIPT_IMAGE", busybox::IMAGE);
    Market::open(shape, async |market, owner| {
        let mut failed = Vec::new();
        let other = market.tenant_with_key(&format!("{product}-other"), prefix).await?.key;
        for (n, (name, case)) in cases.enumerate() {
            let mut values = values(market, &owner, prefix, &format!("{product}-{n}")).await?;
            values.insert("other_key".to_owned(), other.clone());
            values.insert("receiver".to_owned(), format!("{}/{name}", receiver.url));
            let ran = Box::pin(run(market, &receiver, &case, &name, &mut values)).await;
            if let Err(error) = ran {
                say(format_args!("{product}/{name} ({}): {error:#}", case.shows));
                failed.push(name);
            }
        }
        ensure!(failed.is_empty(), "cases that failed: {failed:?}");
        Ok(())
    })
    .await
}

/// What is known before a case begins: a new workspace, with a key that begins so.
async fn values(market: &Market, owner: &Client, prefix: &str, name: &str) -> Result<Values> {
    let tenant = market.tenant_with_key(name, prefix).await?;
    Ok(BTreeMap::from([
        ("server".to_owned(), owner.url.clone()),
        ("key".to_owned(), tenant.key),
        ("workspace".to_owned(), tenant.workspace.to_string()),
    ]))
}

async fn run(
    market: &mut Market,
    receiver: &Receiver,
    case: &Case,
    name: &str,
    values: &mut Values,
) -> Result<()> {
    for step in &case.steps {
        if step.kill {
            market.kill_server()?;
            market.start_server().await?;
        }
        let patience = Duration::from_secs(step.within.unwrap_or(0));
        let mut last = None;
        let done = until_for(patience, &step.what, async || {
            match once(receiver, step, name, values).await {
                Ok(()) => Ok(Some(())),
                Err(error) if step.within.is_some() => {
                    last = Some(error);
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        })
        .await;
        match (done, last) {
            (Err(_), Some(error)) => return Err(error.context(step.what.clone())),
            (done, _) => done.with_context(|| step.what.clone())?,
        }
    }
    Ok(())
}

async fn once(receiver: &Receiver, step: &Step, case: &str, values: &mut Values) -> Result<()> {
    if let Some(request) = &step.request {
        let answered = send(request, values).await?;
        check(step.answer.as_ref().context("a request has an answer")?, answered, values).await?;
    }
    match &step.received {
        Some(heard) => check_received(heard, receiver, case, values),
        None => Ok(()),
    }
}

async fn send(request: &Request, values: &Values) -> Result<reqwest::Response> {
    let url = format!("{}{}", values["server"], filled(&request.path, values)?);
    let mut sent = reqwest::Client::new().request(request.method.parse()?, url);
    for (name, value) in &request.headers {
        sent = sent.header(name, filled(value, values)?);
    }
    if let Some(body) = &request.body {
        sent = sent.json(&filled_value(body, values)?);
    }
    if let Some(text) = &request.text {
        sent = sent.body(filled(text, values)?);
    }
    Ok(sent.send().await?)
}

async fn check(wanted: &Answer, found: reqwest::Response, values: &mut Values) -> Result<()> {
    let (status, headers) = (found.status().as_u16(), found.headers().clone());
    let text = found.text().await?;
    ensure!(status == wanted.status, "answered {status}, and not {}: {text}", wanted.status);
    for (name, pattern) in &wanted.headers {
        let value = headers.get(name).with_context(|| format!("no header {name}"))?.to_str()?;
        let pattern = filled_value(pattern, values)?;
        compare(&pattern, &json!(value), values).with_context(|| format!("in header {name}"))?;
    }
    if let Some(pattern) = &wanted.body {
        let json: Value =
            serde_json::from_str(&text).with_context(|| format!("no JSON: {text}"))?;
        let pattern = filled_value(pattern, values)?;
        compare(&pattern, &json, values).with_context(|| format!("answered {text}"))?;
    }
    if let Some(pattern) = &wanted.text {
        compare(&filled_value(pattern, values)?, &json!(text), values)?;
    }
    Ok(())
}

fn check_received(
    heard: &Heard,
    receiver: &Receiver,
    case: &str,
    values: &mut Values,
) -> Result<()> {
    let path = format!("/{case}{}", filled(&heard.path, values)?);
    let found = receiver.received(&path);
    ensure!(found.len() == heard.times, "{path} was called {} times", found.len());
    for request in &found {
        if let Some(pattern) = &heard.each {
            let Received { method, path, headers, body, .. } = request;
            let body = String::from_utf8_lossy(body);
            let shown = json!({"method": method, "path": path, "headers": headers, "body": body});
            compare(&filled_value(pattern, values)?, &shown, values)
                .with_context(|| format!("received {shown}"))?;
        }
    }
    if let Some(name) = &heard.same {
        let first = found.first().map(|request| request.header(name)).unwrap_or_default();
        let all = found.iter().all(|request| request.header(name) == first);
        ensure!(all && !first.is_empty(), "{name} differs");
    }
    Ok(())
}

/// A text with the values that it names.
fn filled(text: &str, values: &Values) -> Result<String> {
    let mut parts = text.split("${");
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once('}').with_context(|| format!("no end: {text}"))?;
        let value = match name.strip_prefix("now") {
            Some(offset) => time(offset)?,
            None => values.get(name).with_context(|| format!("no value {name}"))?.clone(),
        };
        filled.push_str(&value);
        filled.push_str(rest);
    }
    Ok(filled)
}

/// Now, and so many seconds later: `+90s`.
fn time(offset: &str) -> Result<String> {
    let secs = match offset.strip_prefix('+').and_then(|text| text.strip_suffix('s')) {
        Some(secs) => secs.parse()?,
        None if offset.is_empty() => 0,
        None => bail!("no time: now{offset}"),
    };
    let at = server::clock::now() + TimeDelta::seconds(secs);
    Ok(at.to_rfc3339_opts(SecondsFormat::Millis, true))
}

fn filled_value(value: &Value, values: &Values) -> Result<Value> {
    Ok(match value {
        Value::String(text) => Value::String(filled(text, values)?),
        Value::Array(all) => {
            Value::Array(all.iter().map(|one| filled_value(one, values)).collect::<Result<_>>()?)
        }
        Value::Object(all) => {
            let filled = |(name, one): (&String, &Value)| {
                Ok((filled(name, values)?, filled_value(one, values)?))
            };
            Value::Object(all.iter().map(filled).collect::<Result<_>>()?)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    })
}
