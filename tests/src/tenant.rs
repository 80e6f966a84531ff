//! Another workspace of a market: a customer with credits and an API key of its own.

use anyhow::{Result, ensure};
use serde_json::json;
use server::store::open;
use server::store::people::{api_keys, workspaces};
use tokio::process::Command;

use crate::busybox;
use crate::client::Client;
use crate::market::Market;
use crate::process;

const CREDITS: &str = "1000";

impl Market {
    /// Makes a workspace behind the server's back, gives it credits, and pushes the test's image
    /// for it.
    pub async fn tenant(&self, name: &str) -> Result<Client> {
        let db = open(&format!("sqlite://{}", self.database().display())).await?;
        let workspace = workspaces::create_workspace(&db, name).await?;
        let user = workspaces::create_user(&db, workspace, name).await?;
        let key = api_keys::issue(&db, workspace, user, "key").await?;
        db.close().await?;
        let owner = self.client().await?;
        let tenant = Client::with_key(&owner.url, &key).await?;
        let code = format!("coupon-for-{name}");
        owner.post("/v1/wallet/coupons", json!({"code": code, "amount": CREDITS})).await?;
        tenant.post("/v1/wallet/redeem_coupon", json!({"couponCode": code})).await?;
        let pushed = Command::new(process::fanfold()?)
            .args(["image", "push", busybox::IMAGE])
            .env("FANFOLD_URL", &owner.url)
            .env("FANFOLD_API_KEY", &key)
            .output()
            .await?;
        ensure!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
        Ok(tenant)
    }
}
