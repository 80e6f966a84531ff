//! The account behind the wallet, and what old clients ask about how it is paid for.

use chrono::{DateTime, Utc};
use common::ids::{UserId, WorkspaceId};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::bytenite::wire::{Done, done_with};
use crate::api::bytenite::words;
use crate::api::http::call::Call;
use crate::api::http::route::{Route, get, post};
use crate::error::{Error, Result};
use crate::people::profile;
use crate::people::workspace::{self, Workspace};

pub fn routes() -> Vec<Route> {
    vec![
        get("Wallet_GetAccount", "/account", account).summary("Gets the wallet's account"),
        get("Wallet_GetBillingPortal", "/billing_portal", billing_portal).summary(
            "Always fails, and says how credits are added: no payment provider is connected",
        ),
        get("Wallet_GetPlans", "/plans", plans)
            .summary("Always returns an empty list, for old clients")
            .deprecated(),
        post("Wallet_ForcefulBalanceRecovery", "/triggers/forceful_balance_recovery", recovery)
            .summary("Collects what is due, which is always nothing"),
    ]
}

#[derive(Serialize, ToSchema)]
struct AccountAnswer {
    account: AccountOut,
}

/// Fields that are null say nothing here: there are no tiers, no grace periods, no shares and no
/// bound on apps.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AccountOut {
    #[schema(value_type = String)]
    id: WorkspaceId,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    #[schema(value_type = String)]
    owner_id: UserId,
    #[schema(value_type = words::AccountType)]
    account_type: &'static str,
    /// Whether the caller's e-mail address is known, and so proven by a code.
    verified: bool,
    service_account: bool,
    /// Whether runs can be paid for.
    payments: bool,
    /// Whether earnings can be paid out.
    payouts: bool,
    name: String,
    email: String,
    tier: Option<String>,
    revenue_share: Option<f64>,
    grace_period_end_at: Option<DateTime<Utc>>,
    /// 0 stands for no limit.
    number_of_apps_allowed: u32,
    external_id: &'static str,
}

#[derive(Serialize, ToSchema)]
struct PortalOut {
    url: String,
}

#[derive(Serialize, ToSchema)]
struct PlansOut {
    /// Always empty.
    plans: Vec<String>,
}

/// Credits are bought by the piece.
async fn plans(call: Call) -> Result<PlansOut> {
    call.caller().await?;
    Ok(PlansOut { plans: Vec::new() })
}

async fn account(call: Call) -> Result<AccountAnswer> {
    let caller = call.caller().await?;
    let Workspace { id, name, created_at, .. } = workspace::find(call.app(), &caller).await?;
    let email = profile::find(call.app(), &caller).await?.email;
    let account = AccountOut {
        id,
        created_at,
        // Nothing of it changes.
        updated_at: created_at,
        owner_id: caller.user,
        account_type: "workspace",
        verified: !email.is_empty(),
        service_account: false,
        payments: true,
        payouts: true,
        name,
        email,
        tier: None,
        revenue_share: None,
        grace_period_end_at: None,
        number_of_apps_allowed: 0,
        external_id: "",
    };
    Ok(AccountAnswer { account })
}

async fn billing_portal(call: Call) -> Result<PortalOut> {
    call.caller().await?;
    Err(Error::NotNow(
        "this server has no payment provider: redeem a coupon (POST /v1/wallet/redeem_coupon), or \
         ask for a top-up (POST /v1/wallet/top_up), which the server's owner confirms"
            .to_owned(),
    ))
}

/// Every run is paid from credits that were held before it started, so nothing is ever due.
async fn recovery(call: Call) -> Result<Done> {
    call.caller().await?;
    Ok(done_with("nothing is due: every run is paid from credits held before it starts".to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::api::testing::TestServer;

    #[tokio::test]
    async fn account_is_the_workspace() {
        let server = TestServer::open().await;

        let (status, body) = server.get("/v1/wallet/account").await;

        assert_eq!(status, 200);
        assert_eq!(body["account"]["id"], json!(server.workspace));
        assert_eq!(body["account"]["gracePeriodEndAt"], json!(null));
    }

    #[tokio::test]
    async fn portal_without_a_payment_provider_explains_how_to_get_credits() {
        let server = TestServer::open().await;

        let (status, body) = server.get("/v1/wallet/billing_portal").await;
        let (_, due) =
            server.post("/v1/wallet/triggers/forceful_balance_recovery", json!({})).await;

        assert_eq!((status, body["code"].as_i64()), (400, Some(9)));
        assert!(body["message"].as_str().unwrap().contains("/v1/wallet/top_up"));
        assert_eq!(due["ok"], true);
        assert_eq!(server.get("/v1/wallet/plans").await, (200, json!({"plans": []})));
    }
}
