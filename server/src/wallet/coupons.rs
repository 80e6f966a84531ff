//! Coupons: made by the server's owner, redeemed once by each workspace.

use chrono::{DateTime, Utc};
use common::ids::RedemptionId;
use common::money::credits::Credits;

use crate::app::App;
use crate::clock;
use crate::coordinator::Booking;
use crate::error::{Error, Result};
use crate::listing::Page;
use crate::people::caller::Caller;
use crate::people::server_owner::ServerOwner;
use crate::store::money::coupons;
pub use crate::store::money::coupons::{Coupon, Redemption};

/// A shorter code is guessed too soon.
const CODE_CHARS_MIN: usize = 8;
const CODE_CHARS_MAX: usize = 64;
/// A billion credits: more is a mistake.
const UNITS_MAX: i64 = 100_000_000_000_000_000;
pub const USES_MAX: u32 = 1_000_000;

/// What a coupon is redeemed with, in capitals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code(String);

/// Why there can be no such coupon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadCoupon {
    #[error("must be 8 to 64 letters, digits, - and _")]
    Code,
    #[error("must be above 0, up to 1000000000")]
    Amount,
    #[error("must be 1 to {USES_MAX}")]
    Uses,
    #[error("must be a time to come, such as 2030-01-31T12:00:00Z")]
    Expiry,
}

impl Code {
    pub fn parse(text: &str) -> std::result::Result<Self, BadCoupon> {
        let code = text.trim().to_ascii_uppercase();
        let plain = code.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if !plain || !(CODE_CHARS_MIN..=CODE_CHARS_MAX).contains(&code.len()) {
            return Err(BadCoupon::Code);
        }
        Ok(Self(code))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A coupon that is new now.
///
/// # Errors
/// Says which part of it cannot be.
pub fn new(
    code: &Code,
    amount: Option<Credits>,
    uses_max: u32,
    expires_at: Option<DateTime<Utc>>,
) -> std::result::Result<Coupon, BadCoupon> {
    let now = clock::now();
    let amount = amount.filter(|amount| !amount.is_zero() && amount.units() <= UNITS_MAX);
    let amount = amount.ok_or(BadCoupon::Amount)?;
    if !(1..=USES_MAX).contains(&uses_max) {
        return Err(BadCoupon::Uses);
    }
    if expires_at.is_some_and(|end| end <= now) {
        return Err(BadCoupon::Expiry);
    }
    let hash = coupons::hash(code.as_str());
    Ok(Coupon { hash, amount, uses: 0, uses_max, expires_at, created_at: now })
}

/// Makes a coupon. `again` says that the same was asked for before, and may have been made then.
///
/// # Errors
/// `Blocked` where there is another coupon of this code.
pub async fn create(app: &App, _: ServerOwner, coupon: Coupon, again: bool) -> Result<Coupon> {
    let refused = match app.coordinator.book(Booking::Coupon(coupon.clone())).await {
        Ok(()) => return Ok(coupon),
        Err(refused) => refused,
    };
    match coupons::find(&app.db, coupon.hash).await? {
        // Where the first call was refused, the coupon is another's.
        Some(made) if again && made.is_like(&coupon) => Ok(made),
        Some(_) | None => Err(refused.into()),
    }
}

/// Redeems a coupon for the caller's workspace.
///
/// # Errors
/// `Blocked` where it cannot be redeemed, and `RateLimited` where too many codes were tried.
pub async fn redeem(
    app: &App,
    caller: &Caller,
    id: RedemptionId,
    code: &Code,
) -> Result<Redemption> {
    let by = caller.workspace;
    app.attempts.take(&format!("coupon {by}"))?;
    let (coupon, code) = (coupons::hash(code.as_str()), code.as_str().to_owned());
    app.coordinator.book(Booking::Redeem { id, by, coupon, code }).await?;
    coupons::redeemed(&app.db, by, coupon).await?.ok_or(Error::Unavailable)
}

/// A part of all coupons, newest first, and how many there are.
pub async fn list(app: &App, _: ServerOwner, page: Page) -> Result<(Vec<Coupon>, u64)> {
    Ok(coupons::list(&app.db, page.offset, page.limit).await?)
}
