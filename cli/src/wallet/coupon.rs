//! `fanfold wallet coupon` and `redeem`.

use clap::Subcommand;
use serde::Deserialize;
use serde_json::json;

use crate::failure::Failure;
use crate::session::Session;

const PATH: &str = "/v1/wallet/coupons";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a coupon
    Create {
        /// 8 to 64 letters, digits, - and _; of any case
        code: String,
        /// Credits for each who redeems it
        amount: String,
        /// How many workspaces can redeem it
        #[arg(long, default_value_t = 1)]
        uses: u32,
        /// When it ends, as 2030-01-31T12:00:00Z
        #[arg(long)]
        expires: Option<String>,
    },
    /// List coupons; their codes are not kept
    List,
}

pub async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    let url = session.client.url(PATH, &[]);
    match command {
        Command::Create { code, amount, uses, expires } => {
            let body = json!({"code": code, "amount": amount, "uses": uses, "expiresAt": expires});
            let answer = session.client.post(url, &body).await?;
            session.output.result(&answer.text, || {
                vec![format!("coupon {code} gives {amount} credits to {uses} workspace(s)")]
            })
        }
        Command::List => list(session).await,
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

async fn list(session: &Session) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Page {
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
    let answer = session.client.get(session.client.url(PATH, &[])).await?;
    let page: Page = answer.read()?;
    session.output.result(&answer.text, || {
        let line = |c: &Coupon| {
            let end = c.expires_at.as_deref().unwrap_or("never ends");
            format!("{}  {:>20}  {}/{} used  {end}", c.id, c.amount, c.uses, c.uses_max)
        };
        page.data.iter().map(line).collect()
    })
}
