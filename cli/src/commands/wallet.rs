//! `fanfold wallet`: what there is, what moved, and how credits come in and go out.

mod balance;
mod cap;
mod coupon;
mod payout;
mod reports;
mod request;
mod top_up;

use clap::Subcommand;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::client::failure::Failure;
use crate::client::output::{Page, Table, moment};
use crate::client::session::Session;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the balance, and what nodes have earned
    Balance,
    /// List the wallet's lines, newest first
    Transactions {
        #[command(flatten)]
        page: Page,
        /// Print all of them as comma-separated values, with exact amounts
        #[arg(long, conflicts_with_all = ["limit", "offset"])]
        csv: bool,
    },
    /// Redeem a coupon
    Redeem { code: String },
    /// Spend caps: the most that the runs of a project may cost
    #[command(subcommand)]
    Cap(cap::Command),
    /// Coupons; for the server's owner
    #[command(subcommand)]
    Coupon(coupon::Command),
    /// Top-ups: buying credits
    #[command(subcommand)]
    TopUp(top_up::Command),
    /// Payouts: earnings of nodes as money
    #[command(subcommand)]
    Payout(payout::Command),
    /// Show what credits cost
    Rate {
        /// Number of credits
        #[arg(long, default_value = "1")]
        amount: String,
        #[arg(long, default_value = "USD")]
        currency: String,
    },
    /// Show usage by month and template, and stored bytes
    Usage {
        /// The first month, as 2026-01
        #[arg(long)]
        from: Option<String>,
        #[arg(long)]
        to: Option<String>,
    },
    /// Reconcile the ledger; for the server's owner
    Reconcile,
}

pub async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::Balance => balance::run(session).await,
        Command::Transactions { csv: true, .. } => reports::csv(session).await,
        Command::Transactions { page, .. } => transactions(page, session).await,
        Command::Redeem { code } => coupon::redeem(&code, session).await,
        Command::Cap(command) => cap::run(command, session).await,
        Command::Coupon(command) => coupon::run(command, session).await,
        Command::TopUp(command) => top_up::run(command, session).await,
        Command::Payout(command) => payout::run(command, session).await,
        Command::Rate { amount, currency } => reports::rate(&amount, &currency, session).await,
        Command::Usage { from, to } => reports::usage(from, to, session).await,
        Command::Reconcile => reports::reconcile(session).await,
    }
}

async fn transactions(page: Page, session: &Session) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Lines {
        data: Vec<Line>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Line {
        created_at: String,
        amount: Box<RawValue>,
        transaction_type: String,
        #[serde(default)]
        description: Option<String>,
        balance: Box<RawValue>,
        related_entity_data: Related,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Related {
        job_id: Option<String>,
    }
    let mut url = session.client.url("/v1/wallet/transactions", &[]);
    page.ask(&mut url);
    let answer = session.client.get(url).await?;
    let lines: Lines = answer.read()?;
    let row = |line: Line| {
        vec![
            moment(&line.created_at),
            digits(&line.amount).to_owned(),
            digits(&line.balance).to_owned(),
            line.transaction_type,
            line.related_entity_data.job_id.unwrap_or_default(),
            line.description.unwrap_or_default(),
        ]
    };
    session.output.table(&answer.text, || Table {
        header: &["time", "amount", "balance", "kind", "job", "description"],
        rows: lines.data.into_iter().map(row).collect(),
        empty: "no transactions yet: fanfold wallet redeem CODE or top-up request CREDITS brings credits",
    })
}

/// An amount of money with the digits that the server wrote, be it a number or text.
pub fn digits(amount: &RawValue) -> &str {
    amount.get().trim_matches('"')
}
