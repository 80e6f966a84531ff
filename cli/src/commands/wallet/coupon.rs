//! `fanfold wallet coupon` and `redeem`.

use clap::Subcommand;
use serde::Deserialize;
use serde_json::json;

use crate::client::failure::Failure;
use crate::client::output::{Page, Table, moment};
use crate::client::session::Session;

const PATH: &str = "/v1/wallet/coupons";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a coupon
    Create {
        /// 8 to 64 letters, digits, - and _; of any case
        code: String,
        /// Credits for each workspace that redeems it
        amount: String,
        /// How many workspaces can redeem it
        #[arg(long, default_value_t = 1)]
        uses: u32,
        /// Expiry, such as 2030-01-31T12:00:00Z
        #[arg(long)]
        expires: Option<String>,
    },
    /// List coupons; their codes are not kept
    List {
        #[command(flatten)]
        page: Page,
    },
}

pub async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    let url = session.client.url(PATH, &[]);
    match command {
        Command::Create { code, amount, uses, expires } => {
            let body = json!({"code": code, "amount": amount, "uses": uses, "expiresAt": expires});
            let answer = session.client.post(url, &body).await?;
            session.output.result(&answer.text, || {
                let who = if uses == 1 { "workspace" } else { "workspaces" };
                vec![format!("coupon {code} gives {amount} credits to {uses} {who}")]
            })
        }
        Command::List { page } => list(page, session).await,
    }
}

pub async fn redeem(code: &str, session: &Session) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Redeemed {
        amount: String,
    }
    let url = session.client.url("/v1/wallet/redeem_coupon", &[]);
    let answer = session.client.post(url, &json!({"couponCode": code})).await?;
    let redeemed: Redeemed = answer.read()?;
    session.output.result(&answer.text, || vec![format!("received {} credits", redeemed.amount)])
}

async fn list(page: Page, session: &Session) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Coupons {
        data: Vec<Coupon>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Coupon {
        id: String,
        amount: String,
        uses: u32,
        uses_max: u32,
        expires_at: Option<String>,
    }
    let mut url = session.client.url(PATH, &[]);
    page.ask(&mut url);
    let answer = session.client.get(url).await?;
    let coupons: Coupons = answer.read()?;
    let row = |c: Coupon| {
        let ends = c.expires_at.map_or_else(|| "never".to_owned(), |time| moment(&time));
        vec![c.id, c.amount, c.uses.to_string(), c.uses_max.to_string(), ends]
    };
    session.output.table(&answer.text, || Table {
        header: &["id", "credits", "used", "of", "expires"],
        rows: coupons.data.into_iter().map(row).collect(),
        empty: "no coupons yet: fanfold wallet coupon create CODE CREDITS",
    })
}
