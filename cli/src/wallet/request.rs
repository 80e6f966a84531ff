//! What top-ups and payouts have alike on the command line.

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::digits;
use crate::failure::Failure;
use crate::output::{Table, moment};
use crate::session::Session;

/// Which requests are listed.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// Those in this state only
    #[arg(long, default_value = "")]
    state: String,
    /// Those of all workspaces; for the server's owner
    #[arg(long)]
    all: bool,
}

/// A top-up or a payout.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    id: String,
    created_at: String,
    account_id: String,
    amount: Box<RawValue>,
    currency: String,
    currency_amount: String,
    state: String,
    note: String,
}

/// Lists the requests at a path.
pub async fn list(path: &str, which: &Which, session: &Session) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Page {
        data: Vec<Request>,
    }
    let mut url = session.client.url(path, &[]);
    url.query_pairs_mut()
        .append_pair("state", &which.state)
        .append_pair("all", if which.all { "true" } else { "false" });
    let answer = session.client.get(url).await?;
    let page: Page = answer.read()?;
    session.output.table(&answer.text, || Table {
        header: &["id", "created", "workspace", "credits", "money", "state", "note"],
        rows: page.data.into_iter().map(row).collect(),
        empty: "none yet",
    })
}

/// Moves a request at a path along.
pub async fn step(
    path: &str,
    id: &str,
    state: &str,
    note: &str,
    session: &Session,
) -> Result<(), Failure> {
    let url = session.client.url(path, &[id, "state"]);
    let answer = session.client.post(url, &json!({"state": state, "note": note})).await?;
    session.output.result(&answer.text, || vec![format!("{id} is {}", state.to_uppercase())])
}

fn row(r: Request) -> Vec<String> {
    let amount = format!("{:>20}", digits(&r.amount));
    let money = format!("{} {}", r.currency_amount, r.currency);
    vec![r.id, moment(&r.created_at), r.account_id, amount, money, r.state, r.note]
}

pub fn line(r: &Request) -> String {
    let Request { id, created_at, account_id, currency, currency_amount, state, note, .. } = r;
    let amount = digits(&r.amount);
    format!(
        "{id}  {created_at}  {account_id}  {amount:>20} credits  {currency_amount} {currency}  \
         {state}  {note}"
    )
}
