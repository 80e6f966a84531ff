//! `fanfold wallet payout`.

use clap::Subcommand;
use serde::Deserialize;
use serde_json::json;

use super::request::{Request, Which, list, show, step};
use crate::client::failure::Failure;
use crate::client::session::Session;

const PATH: &str = "/v1/wallet/payouts";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Request a payout of earnings; their credits are reserved at once
    Request {
        /// Credits
        amount: String,
        #[arg(long, default_value = "USD")]
        currency: String,
    },
    /// List payouts, newest first
    List {
        #[command(flatten)]
        which: Which,
    },
    /// Set the state of a payout; for the server's owner
    Set {
        id: String,
        /// pending_verification, info_required, sent, confirmed, bounced or failed
        state: String,
        /// Note shown to the requester
        #[arg(long, default_value = "")]
        note: String,
    },
}

pub async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::Request { amount, currency } => request(&amount, &currency, session).await,
        Command::List { which } => list(PATH, &which, session).await,
        Command::Set { id, state, note } => step(PATH, &id, &state, &note, session).await,
    }
}

async fn request(amount: &str, currency: &str, session: &Session) -> Result<(), Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Asked {
        payout_request: Request,
    }
    let url = session.client.url("/v1/wallet/payout", &[]);
    let body = json!({"amount": amount, "currency": currency});
    let answer = session.client.post(url, &body).await?;
    let asked: Asked = answer.read()?;
    show(&answer, asked.payout_request, session)
}
