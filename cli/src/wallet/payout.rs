//! `fanfold wallet payout`.

use clap::Subcommand;
use serde::Deserialize;
use serde_json::json;

use super::request::{Request, Which, list, show, step};
use crate::failure::Failure;
use crate::session::Session;

const PATH: &str = "/v1/wallet/payouts";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask for earnings to be paid out; their credits are set aside at once
    Ask {
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
    /// Say where a payout stands; for the server's owner
    Set {
        id: String,
        /// pending_verification, info_required, sent, confirmed, bounced or failed
        state: String,
        /// What whoever asked for it should know
        #[arg(long, default_value = "")]
        note: String,
    },
}

pub async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::Ask { amount, currency } => ask(&amount, &currency, session).await,
        Command::List { which } => list(PATH, &which, session).await,
        Command::Set { id, state, note } => step(PATH, &id, &state, &note, session).await,
    }
}

async fn ask(amount: &str, currency: &str, session: &Session) -> Result<(), Failure> {
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
