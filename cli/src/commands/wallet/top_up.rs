//! `fanfold wallet top-up`.

use clap::Subcommand;
use serde::Deserialize;
use serde_json::json;

use super::request::{Request, Which, list, show, step};
use crate::client::failure::Failure;
use crate::client::session::Session;

const PATH: &str = "/v1/wallet/top_ups";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Request credits; they arrive when the server's owner confirms the payment
    Request {
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
    /// Cancel an unpaid top-up
    Cancel { id: String },
    /// Confirm that a top-up was paid; for the server's owner
    Confirm { id: String },
    /// Record that a top-up was not paid; for the server's owner
    Fail {
        id: String,
        /// Why
        #[arg(long, default_value = "")]
        note: String,
    },
}

pub async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::Request { amount, currency } => request(&amount, &currency, session).await,
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

async fn request(amount: &str, currency: &str, session: &Session) -> Result<(), Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Asked {
        top_up_request: Request,
    }
    let url = session.client.url("/v1/wallet/top_up", &[]);
    let body = json!({"amount": amount, "currency": currency});
    let answer = session.client.post(url, &body).await?;
    let asked: Asked = answer.read()?;
    show(&answer, asked.top_up_request, session)
}
