//! `fanfold wallet top-up`.

use clap::Subcommand;
use serde::Deserialize;
use serde_json::json;

use crate::failure::Failure;
use crate::session::Session;

const PATH: &str = "/v1/wallet/top_ups";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask for credits; they come when the server's owner confirms that they are paid for
    Ask {
        /// Credits
        amount: String,
        #[arg(long, default_value = "USD")]
        currency: String,
    },
    /// List top-ups, newest first
    List {
        #[command(flatten)]
        which: Which,
    },
    /// Take a top-up back that is not paid
    Cancel { id: String },
    /// Say that a top-up has been paid; for the server's owner
    Confirm { id: String },
    /// Say that a top-up was not paid; for the server's owner
    Fail {
        id: String,
        /// Why
        #[arg(long, default_value = "")]
        note: String,
    },
}

/// Which requests are listed.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// Those in this state only
    #[arg(long, default_value = "")]
    pub state: String,
    /// Those of all workspaces; for the server's owner
    #[arg(long)]
    pub all: bool,
}

/// A top-up or a payout.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    pub id: String,
    created_at: String,
    account_id: String,
    amount: String,
    currency: String,
    currency_amount: String,
    pub state: String,
    note: String,
}

pub async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::Ask { amount, currency } => ask(&amount, &currency, session).await,
        Command::List { which } => list(PATH, &which, session).await,
        Command::Cancel { id } => {
            let url = session.client.url("/v1/wallet/cancel_top_up", &[]);
            let answer = session.client.post(url, &json!({ "id": id })).await?;
            session.output.result(&answer.text, || vec![format!("canceled {id}")])
        }
        Command::Confirm { id } => step(PATH, &id, "CONFIRMED", "", session).await,
        Command::Fail { id, note } => step(PATH, &id, "FAILED", &note, session).await,
    }
}

async fn ask(amount: &str, currency: &str, session: &Session) -> Result<(), Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Asked {
        top_up_request: Request,
    }
    let url = session.client.url("/v1/wallet/top_up", &[]);
    let body = json!({"amount": amount, "currency": currency});
    let answer = session.client.post(url, &body).await?;
    let asked: Asked = answer.read()?;
    session.output.result(&answer.text, || vec![line(&asked.top_up_request)])
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
    session.output.result(&answer.text, || page.data.iter().map(line).collect())
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

pub fn line(r: &Request) -> String {
    let Request { id, created_at, account_id, amount, currency, currency_amount, state, note } = r;
    format!(
        "{id}  {created_at}  {account_id}  {amount:>20} credits  {currency_amount} {currency}  \
         {state}  {note}"
    )
}
