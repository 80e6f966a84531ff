//! `fanfold wallet rate`, `usage` and `reconcile`: what the books say.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::digits;
use crate::failure::Failure;
use crate::session::Session;

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
    session.output.result(&answer.text, || {
        let line = |row: &Row| {
            let (cpu, memory) = (digits(&row.cpu_hours), digits(&row.memory_gib_hours));
            let Row { month, template_id, jobs, tasks, .. } = row;
            let amount = digits(&row.amount);
            format!(
                "{month}  {amount:>16} credits  {jobs} jobs  {tasks} tasks  {cpu} vCPU·h  \
                 {memory} GiB·h  {template_id}"
            )
        };
        let stored = usage.storage.as_ref().map(|storage| {
            let (mib, most) = (storage.bytes.div_ceil(1 << 20), storage.quota_bytes >> 20);
            format!("stored  {mib} of {most} MiB")
        });
        usage.data.iter().map(line).chain(stored).collect()
    })
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
