//! What top-ups and payouts have alike on the command line.

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::digits;
use crate::client::Answer;
use crate::client::failure::Failure;
use crate::client::output::{Page, Table, moment};
use crate::client::session::Session;

const HEADER: &[&str] = &["id", "created", "workspace", "credits", "money", "state", "note"];

/// Which requests are listed.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// Only requests in this state
    #[arg(long, default_value = "")]
    state: String,
    /// Requests of all workspaces; for the server's owner
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    page: Page,
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
    struct Requests {
        data: Vec<Request>,
    }
    let mut url = session.client.url(path, &[]);
    which.page.ask(&mut url);
    url.query_pairs_mut()
        .append_pair("state", &which.state)
        .append_pair("all", if which.all { "true" } else { "false" });
    let answer = session.client.get(url).await?;
    let requests: Requests = answer.read()?;
    let is_filtered = !which.state.is_empty();
    session.output.table(&answer.text, || Table {
        header: HEADER,
        rows: requests.data.into_iter().map(row).collect(),
        empty: match (is_filtered, path.ends_with("payouts")) {
            (true, _) => "none in this state",
            (false, true) => "no payouts yet: fanfold wallet payout request CREDITS",
            (false, false) => "no top-ups yet: fanfold wallet top-up request CREDITS",
        },
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
    session.output.result(&answer.text, || vec![format!("{id} is {}", state.to_lowercase())])
}

fn row(r: Request) -> Vec<String> {
    let amount = digits(&r.amount).to_owned();
    let money = format!("{} {}", r.currency_amount, r.currency);
    let state = r.state.to_lowercase();
    vec![r.id, moment(&r.created_at), r.account_id, amount, money, state, r.note]
}

/// Shows one request, as the list does.
pub fn show(answer: &Answer, request: Request, session: &Session) -> Result<(), Failure> {
    session.output.table(&answer.text, || Table {
        header: HEADER,
        rows: vec![row(request)],
        empty: "",
    })
}
