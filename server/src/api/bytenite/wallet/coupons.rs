//! Coupons.

use chrono::{DateTime, Utc};
use common::access::Scope;
use common::ids::RedemptionId;
use common::money::credits::Credits;
use common::package::loose::Loose;
use serde::Serialize;
use utoipa::ToSchema;

use super::amount;
use crate::api::bytenite::lists::page::{PAGE, Page, Paged};
use crate::api::http::call::{BODY_BYTES_MAX, Call};
use crate::api::http::idempotency;
use crate::api::http::route::{Route, get, post};
use crate::api::http::shape::{date, integer, text};
use crate::error::{Error, Result};
use crate::wallet::coupons;
use crate::wallet::coupons::{BadCoupon, Code, Coupon, USES_MAX};

pub fn routes() -> Vec<Route> {
    vec![
        post("Wallet_RedeemCoupon", "/redeem_coupon", redeem)
            .creates()
            .summary("Redeems a coupon; each workspace can do so once")
            .body(vec![text("couponCode", "").required().example("WELCOME-2026")]),
        post("Wallet_CreateCoupon", "/coupons", create)
            .creates()
            .summary("Creates a coupon; for the server's owner")
            .body(vec![
                text("code", "8 to 64 letters, digits, - and _; of any case")
                    .required()
                    .example("WELCOME-2026"),
                text("amount", "Credits for each who redeems it").required().example("100"),
                integer("uses", "How many workspaces can redeem it; 1 where it is left out"),
                date("expiresAt", "Never, where it is left out"),
            ]),
        get("Wallet_ListCoupons", "/coupons", list)
            .summary("Lists coupons, without their codes; for the server's owner")
            .query(PAGE)
            .needs(Scope::WalletWrite),
    ]
}

#[derive(Serialize, ToSchema)]
struct RedeemedOut {
    #[schema(value_type = String)]
    id: RedemptionId,
    code: String,
    /// Credits.
    #[schema(value_type = String)]
    amount: Credits,
}

#[derive(Serialize, ToSchema)]
struct CreatedOut {
    coupon: CouponOut,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CouponOut {
    /// The first digits of its hash: the code itself is not kept.
    id: String,
    #[schema(value_type = String)]
    amount: Credits,
    uses: u32,
    uses_max: u32,
    expires_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

async fn redeem(mut call: Call) -> Result<RedeemedOut> {
    let caller = call.caller().await?;
    let bytes = call.bytes(BODY_BYTES_MAX).await?;
    let mut body = call.object(&bytes)?;
    let code = read_code(&mut body, "couponCode")?;
    body.finish()?;
    let id = RedemptionId::new(idempotency::new_id(&call, &caller, &bytes).await?.id);
    let redeemed = coupons::redeem(call.app(), &caller, id, &code).await;
    let redeemed = redeemed.map_err(|error| error.about("couponCode"))?;
    Ok(RedeemedOut { id, code: code.as_str().to_owned(), amount: redeemed.amount })
}

async fn create(mut call: Call) -> Result<CreatedOut> {
    let (caller, owner) = call.server_owner().await?;
    let bytes = call.bytes(BODY_BYTES_MAX).await?;
    let mut body = call.object(&bytes)?;
    let code = read_code(&mut body, "code")?;
    let amount = amount::take::<Credits>(&mut body, "amount")?;
    let uses_max = body.number("uses", 1..=u64::from(USES_MAX))?.unwrap_or(1);
    let expires_at = body.text("expiresAt")?.map(|text| read_time(&text)).transpose()?;
    body.finish()?;
    let uses_max = u32::try_from(uses_max).unwrap_or(u32::MAX);
    let coupon = coupons::new(&code, amount, uses_max, expires_at).map_err(named)?;
    let again = idempotency::new_id(&call, &caller, &bytes).await?.again;
    let coupon = coupons::create(call.app(), owner, coupon, again).await;
    Ok(CreatedOut { coupon: coupon.map_err(|error| error.about("code"))?.into() })
}

async fn list(call: Call) -> Result<Paged<CouponOut>> {
    let (_, owner) = call.server_owner().await?;
    let page = Page::read(&call.query()?)?;
    let (coupons, total) = coupons::list(call.app(), owner, page).await?;
    let data: Vec<_> = coupons.into_iter().map(CouponOut::from).collect();
    Ok(Paged { pagination: page.of(total, data.len() as u64), data })
}

fn read_code(body: &mut Loose, key: &str) -> Result<Code> {
    let field = body.name(key);
    let code = Code::parse(&body.required_text(key)?);
    code.map_err(|bad| Error::field(field, bad.to_string()))
}

fn read_time(text: &str) -> Result<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(text).map_err(|_| named(BadCoupon::Expiry))?;
    Ok(time.to_utc())
}

/// Names the field that is wrong.
fn named(bad: BadCoupon) -> Error {
    let field = match bad {
        BadCoupon::Code => "code",
        BadCoupon::Amount => "amount",
        BadCoupon::Uses => "uses",
        BadCoupon::Expiry => "expiresAt",
    };
    Error::field(field, bad.to_string())
}

impl From<Coupon> for CouponOut {
    fn from(coupon: Coupon) -> Self {
        Self {
            id: coupon.hash.to_string().chars().take(16).collect(),
            amount: coupon.amount,
            uses: coupon.uses,
            uses_max: coupon.uses_max,
            expires_at: coupon.expires_at,
            created_at: coupon.created_at,
        }
    }
}

#[cfg(test)]
mod tests;
