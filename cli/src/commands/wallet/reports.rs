//! `fanfold wallet rate`, `usage` and `reconcile`: what the books say.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::digits;
use crate::client::failure::Failure;
use crate::client::output::{Output, Table, line, note};
use crate::client::session::Session;
use crate::client::unreachable;

pub async fn rate(amount: &str, currency: &str, session: &Session) -> Result<(), Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Rate {
        currency: String,
        currency_amount: Box<RawValue>,
        amount: Box<RawValue>,
        cpu_hour_price: Box<RawValue>,
        memory_gib_hour_price: Box<RawValue>,
    }
    let mut url = session.client.url("/v1/wallet/exchange_rate", &[]);
    url.query_pairs_mut().append_pair("amount", amount).append_pair("currency", currency);
    let answer = session.client.get(url).await?;
    let rate: Rate = answer.read()?;
    session.output.result(&answer.text, || {
        let (amount, money) = (digits(&rate.amount), digits(&rate.currency_amount));
        let cpu = digits(&rate.cpu_hour_price);
        let memory = digits(&rate.memory_gib_hour_price);
        vec![
            format!("{amount} credits  {money} {}", rate.currency),
            format!("a vCPU·h costs {cpu} credits, a GiB·h {memory} credits"),
        ]
    })
}

/// Prints the whole statement as comma-separated values.
pub async fn csv(session: &Session) -> Result<(), Failure> {
    if session.output == Output::Json {
        return Err(Failure::Usage("--csv prints no JSON: leave --json out".to_owned()));
    }
    let url = session.client.url("/v1/wallet/transactions/csv", &[]);
    let mut response = session.client.open(url, "text/csv").await?;
    // A line may come in pieces.
    let mut rest = Vec::new();
    while let Some(bytes) = response.chunk().await.map_err(|error| unreachable(&error))? {
        rest.extend_from_slice(&bytes);
        let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else { continue };
        let whole: Vec<u8> = rest.drain(..=end).collect();
        String::from_utf8_lossy(&whole).lines().try_for_each(line)?;
    }
    String::from_utf8_lossy(&rest).lines().try_for_each(line)
}

pub async fn usage(
    from: Option<String>,
    to: Option<String>,
    session: &Session,
) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Usage {
        data: Vec<Row>,
        storage: Option<Storage>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Storage {
        bytes: u64,
        quota_bytes: u64,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Row {
        month: String,
        template_id: String,
        jobs: u64,
        tasks: u64,
        cpu_hours: Box<RawValue>,
        memory_gib_hours: Box<RawValue>,
        amount: Box<RawValue>,
    }
    let mut url = session.client.url("/v1/wallet/usage", &[]);
    url.query_pairs_mut()
        .append_pair("from", &from.unwrap_or_default())
        .append_pair("to", &to.unwrap_or_default());
    let answer = session.client.get(url).await?;
    let usage: Usage = answer.read()?;
    let row = |row: &Row| {
        let template = if row.template_id.is_empty() { "-" } else { &row.template_id };
        vec![
            row.month.clone(),
            template.to_owned(),
            row.jobs.to_string(),
            row.tasks.to_string(),
            digits(&row.cpu_hours).to_owned(),
            digits(&row.memory_gib_hours).to_owned(),
            digits(&row.amount).to_owned(),
        ]
    };
    session.output.table(&answer.text, || Table {
        header: &["month", "template", "jobs", "tasks", "vCPU·h", "GiB·h", "credits"],
        rows: usage.data.iter().map(row).collect(),
        empty: "no job has ended in these months",
    })?;
    if let Some(Storage { bytes, quota_bytes }) = usage.storage {
        let (mib, most) = (bytes.div_ceil(1 << 20), quota_bytes >> 20);
        note(format_args!("stored now: {mib} of {most} MiB"));
    }
    if usage.data.iter().any(|row| row.template_id.is_empty()) {
        note("-: app tests and jobs without a template");
    }
    Ok(())
}

pub async fn reconcile(session: &Session) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Found {
        differences: u64,
        accounts: u64,
        transfers: u64,
        checks: Vec<Check>,
    }
    #[derive(Deserialize)]
    struct Check {
        claim: String,
        differences: u64,
    }
    let answer = session.client.get(session.client.url("/v1/wallet/reconciliation", &[])).await?;
    let found: Found = answer.read()?;
    session.output.result(&answer.text, || {
        let mut lines: Vec<String> = found
            .checks
            .iter()
            .map(|check| format!("{:>6}  {}", check.differences, check.claim))
            .collect();
        let Found { differences, accounts, transfers, .. } = &found;
        lines.push(format!(
            "{differences:>6}  differences in {accounts} accounts and {transfers} transfers"
        ));
        lines
    })?;
    if found.differences == 0 {
        return Ok(());
    }
    Err(Failure::Refused { message: "the books are wrong".to_owned() })
}
