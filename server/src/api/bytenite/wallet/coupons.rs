//! Coupons: made by the server's owner, redeemed once by each workspace.

use chrono::{DateTime, Utc};
use common::access::Scope;
use common::ids::RedemptionId;
use common::money::credits::Credits;
use common::package::loose::Loose;
use serde::Serialize;
use utoipa::ToSchema;

use super::amount;
use super::owner::server_owner;
use crate::api::bytenite::lists::page::{PAGE, Page, Paged};
use crate::api::http::call::{BODY_BYTES_MAX, Call};
use crate::api::http::idempotency;
use crate::api::http::route::{Route, get, post};
use crate::api::http::shape::{date, integer, text};
use crate::clock;
use crate::coordinator::Booking;
use crate::error::{Error, Result};
use crate::store::money::coupons;
use crate::store::money::coupons::Coupon;

/// A shorter code is guessed too soon.
const CODE_CHARS_MIN: usize = 8;
const CODE_CHARS_MAX: usize = 64;
/// A billion credits: more is a mistake.
const UNITS_MAX: i64 = 100_000_000_000_000_000;
const USES_MAX: u64 = 1_000_000;

pub fn routes() -> Vec<Route> {
    vec![
        post("Wallet_RedeemCoupon", "/redeem_coupon", redeem)
            .creates()
            .summary("Redeems a coupon; each workspace can do so once")
            .body(vec![text("couponCode", "").required().example("WELCOME-2026")]),
        post("Wallet_CreateCoupon", "/coupons", create)
            .creates()
            .summary("Makes a coupon; for the server's owner")
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
    call.app().attempts.take(&format!("coupon {}", caller.workspace))?;
    let (app, coupon) = (call.app(), coupons::hash(&code));
    let id = idempotency::new_id(&call, &caller, &bytes).await?.id;
    let (id, by) = (RedemptionId::new(id), caller.workspace);
    app.coordinator.book(Booking::Redeem { id, by, coupon, code: code.clone() }).await?;
    let redeemed = coupons::redeemed(&app.db, by, coupon).await?;
    let amount = redeemed.ok_or(Error::Unavailable)?.amount;
    Ok(RedeemedOut { id, code, amount })
}

async fn create(mut call: Call) -> Result<CreatedOut> {
    let caller = server_owner(&call).await?;
    let bytes = call.bytes(BODY_BYTES_MAX).await?;
    let mut body = call.object(&bytes)?;
    let code = read_code(&mut body, "code")?;
    let amount = amount::take::<Credits>(&mut body, "amount")?;
    let amount = amount.filter(|amount| amount.units() <= UNITS_MAX);
    let amount =
        amount.ok_or_else(|| Error::field("amount", "must be above 0, up to 1000000000"))?;
    let uses_max = body.number("uses", 1..=USES_MAX)?.unwrap_or(1);
    let now = clock::now();
    let expires_at = match body.text("expiresAt")? {
        None => None,
        Some(text) => {
            let end = DateTime::parse_from_rfc3339(&text).map(|at| at.to_utc()).ok();
            let problem = "must be a time to come, such as 2030-01-31T12:00:00Z";
            let end = end.filter(|end| *end > now);
            Some(end.ok_or_else(|| Error::field("expiresAt", problem))?)
        }
    };
    body.finish()?;
    let uses_max = u32::try_from(uses_max).unwrap_or(u32::MAX);
    let hash = coupons::hash(&code);
    let coupon = Coupon { hash, amount, uses: 0, uses_max, expires_at, created_at: now };
    let again = idempotency::new_id(&call, &caller, &bytes).await?.again;
    let db = &call.app().db;
    if !coupons::create(db, &coupon).await? {
        return match coupons::find(db, hash).await? {
            // Where the first call was refused, the coupon is another's.
            Some(made) if again && made.is_like(&coupon) => Ok(CreatedOut { coupon: made.into() }),
            _ => Err(Error::Blocked(
                "COUPON_EXISTS",
                "code: there is a coupon of this code already".to_owned(),
            )),
        };
    }
    Ok(CreatedOut { coupon: coupon.into() })
}

async fn list(call: Call) -> Result<Paged<CouponOut>> {
    server_owner(&call).await?;
    let page = Page::read(&call.query()?)?;
    let (coupons, total) = coupons::list(&call.app().db, page.offset, page.limit).await?;
    let data: Vec<_> = coupons.into_iter().map(CouponOut::from).collect();
    Ok(Paged { pagination: page.of(total, data.len() as u64), data })
}

/// Reads a code, in capitals.
fn read_code(body: &mut Loose, key: &str) -> Result<String> {
    let field = body.name(key);
    let code = body.required_text(key)?.trim().to_ascii_uppercase();
    let plain = code.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if !plain || !(CODE_CHARS_MIN..=CODE_CHARS_MAX).contains(&code.len()) {
        let problem = "must be 8 to 64 letters, digits, - and _";
        return Err(Error::field(field, problem));
    }
    Ok(code)
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
