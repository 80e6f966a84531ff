//! Another workspace of a market: a customer with credits and an API key of its own.

use anyhow::{Context as _, Result, ensure};
use common::access::Scopes;
use common::ids::{ApiKeyId, WorkspaceId};
use serde_json::json;
use server::store::open;
use server::store::people::api_keys::New;
use server::store::people::{api_keys, workspaces};
use tokio::process::Command;
use uuid::Uuid;

use crate::client::Client;
use crate::machine::busybox;
use crate::machine::process;
use crate::market::Market;

/// A workspace that a test has made.
pub struct Tenant {
    pub client: Client,
    pub key: String,
    pub workspace: WorkspaceId,
}

const CREDITS: &str = "1000";

impl Market {
    /// Makes a workspace behind the server's back, gives it credits, and pushes the test's image
    /// for it.
    pub async fn tenant(&self, name: &str) -> Result<Client> {
        Ok(self.tenant_with_key(name, "ff").await?.client)
    }

    /// The same, with a key that begins so.
    pub async fn tenant_with_key(&self, name: &str, prefix: &str) -> Result<Tenant> {
        let db = open(&format!("sqlite://{}", self.database().display())).await?;
        let workspace = workspaces::create_workspace(&db, name).await?;
        let user = workspaces::create_user(&db, workspace, name).await?;
        let id = ApiKeyId::new(Uuid::now_v7());
        let prefix = prefix.parse()?;
        let new = New { id, prefix, name: "key", expires_at: None, scopes: Scopes::ALL };
        let made = api_keys::issue_new(&db, workspace, user, new).await?;
        let (key, _) = made.context("a new key")?;
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
        Ok(Tenant { client: tenant, key, workspace })
    }
}
