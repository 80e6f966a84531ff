//! Coupons: made by the server's owner, redeemed once by each workspace.

use chrono::{DateTime, Utc};
use common::access::Scope;
use common::ids::RedemptionId;
use common::money::credits::Credits;
use common::package::loose::Loose;
use serde::Serialize;
use utoipa::ToSchema;

use super::exchange::amount;
use crate::api::http::call::{BODY_BYTES_MAX, Call};
use crate::api::http::idempotency;
use crate::api::http::route::{Route, get, post};
use crate::api::http::shape::{Field, date, integer, text};
use crate::api::native::page::{self, PAGE};
use crate::error::{Error, Result};
use crate::wallet::coupons::{self, BadCoupon, Code, Coupon, USES_MAX};

pub fn routes() -> Vec<Route> {
    vec![
        post("Fanfold_RedeemCoupon", "/coupons/redeem", redeem)
            .creates()
            .summary("Redeems a coupon; each workspace can do so once")
            .body(vec![CODE])
            .needs(Scope::WalletWrite),
        post("Fanfold_CreateCoupon", "/coupons", create)
            .creates()
            .summary("Creates a coupon; for the server's owner")
            .body(vec![
                CODE,
                text("credits", "For each who redeems it").required().example("100"),
                integer("uses", "How many workspaces can redeem it; 1 where it is left out"),
                date("expires_at", "Never, where it is left out"),
            ])
            .fails(&[(409, "There is a coupon of this code")])
            .needs(Scope::WalletWrite),
        get("Fanfold_ListCoupons", "/coupons", list)
            .summary("Lists coupons, without their codes; for the server's owner")
            .query(&PAGE[..])
            .needs(Scope::WalletWrite),
    ]
}

const CODE: Field = text("code", "8 to 64 letters, digits, - and _; of any case")
    .required()
    .example("WELCOME-2026");

/// What a coupon gave.
#[derive(Serialize, ToSchema)]
#[schema(as = Redemption)]
struct RedemptionOut {
    #[schema(value_type = String)]
    id: RedemptionId,
    /// What it was redeemed with.
    code: String,
    #[schema(value_type = String)]
    credits: Credits,
}

/// A coupon without its code, which is not kept.
#[derive(Serialize, ToSchema)]
#[schema(as = Coupon)]
struct CouponOut {
    /// The first digits of the hash of its code.
    id: String,
    /// For each who redeems it.
    #[schema(value_type = String)]
    credits: Credits,
    /// How often it was redeemed.
    uses: u32,
    /// How often it can be.
    uses_max: u32,
    /// Null for never.
    expires_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

#[derive(Serialize, ToSchema)]
struct CouponList {
    /// The newest first.
    coupons: Vec<CouponOut>,
    next_cursor: Option<String>,
}

async fn redeem(mut call: Call) -> Result<RedemptionOut> {
    let caller = call.caller().await?;
    let bytes = call.bytes(BODY_BYTES_MAX).await?;
    let mut body = call.object(&bytes)?;
    let code = read_code(&mut body)?;
    body.finish()?;
    let id = RedemptionId::new(idempotency::new_id(&call, &caller, &bytes).await?.id);
    let redeemed = coupons::redeem(call.app(), &caller, id, &code).await;
    let credits = redeemed.map_err(|error| error.about("code"))?.amount;
    Ok(RedemptionOut { id, code: code.as_str().to_owned(), credits })
}

async fn create(mut call: Call) -> Result<CouponOut> {
    let (caller, owner) = call.server_owner().await?;
    let bytes = call.bytes(BODY_BYTES_MAX).await?;
    let mut body = call.object(&bytes)?;
    let code = read_code(&mut body)?;
    let credits = body.text("credits")?.map(|text| amount("credits", &text)).transpose()?;
    let uses_max = body.small("uses", USES_MAX)?.unwrap_or(1);
    let expires_at = body.text("expires_at")?.map(|text| read_time(&text)).transpose()?;
    body.finish()?;
    let coupon = coupons::new(&code, credits, uses_max, expires_at).map_err(named)?;
    let again = idempotency::new_id(&call, &caller, &bytes).await?.again;
    let coupon = coupons::create(call.app(), owner, coupon, again).await;
    Ok(coupon.map_err(|error| error.about("code"))?.into())
}

async fn list(call: Call) -> Result<CouponList> {
    let (_, owner) = call.server_owner().await?;
    let page = page::numbered(&call.query()?)?;
    let (found, total) = coupons::list(call.app(), owner, page).await?;
    let next_cursor = page::after(page, found.len(), total);
    Ok(CouponList { coupons: found.into_iter().map(CouponOut::from).collect(), next_cursor })
}

fn read_code(body: &mut Loose) -> Result<Code> {
    Code::parse(&body.required_text("code")?).map_err(named)
}

fn read_time(text: &str) -> Result<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(text).map_err(|_| named(BadCoupon::Expiry))?;
    Ok(time.to_utc())
}

/// Names the field that is wrong.
fn named(bad: BadCoupon) -> Error {
    let field = match bad {
        BadCoupon::Code => "code",
        BadCoupon::Amount => "credits",
        BadCoupon::Uses => "uses",
        BadCoupon::Expiry => "expires_at",
    };
    Error::field(field, bad.to_string())
}

impl From<Coupon> for CouponOut {
    fn from(coupon: Coupon) -> Self {
        Self {
            id: coupon.hash.to_string().chars().take(16).collect(),
            credits: coupon.amount,
            uses: coupon.uses,
            uses_max: coupon.uses_max,
            expires_at: coupon.expires_at,
            created_at: coupon.created_at,
        }
    }
}
