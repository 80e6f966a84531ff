//! Takes the price of what workspaces keep, once a day for each.
//!
//! It takes no input, and each day has a key, so a pass that is lost or repeated takes nothing
//! twice.

use std::time::Duration;

use chrono::{DateTime, Utc};
use common::error_chain::chain;
use common::money::credits::Credits;
use common::money::price;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::StorageConfig;
use crate::coordinator::{self, Booking, Coordinator};
use crate::store;
use crate::store::Db;
use crate::store::storage::holdings;

/// A day's price is taken in the first pass of the day, for what is kept then.
const PERIOD: Duration = Duration::from_secs(3600);

/// What keeping costs.
#[derive(Debug, Clone, Copy)]
pub struct Fee {
    /// Bytes that cost nothing.
    pub free: u64,
    pub per_gib_month: Credits,
}

impl Fee {
    pub fn of(config: StorageConfig) -> Self {
        Self { free: u64::from(config.free_gib) << 30, per_gib_month: config.gib_month_price }
    }
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("database")]
    Db(#[from] store::Error),
    #[error(transparent)]
    Coordinator(#[from] coordinator::Error),
}

/// Passes every hour, until told to stop.
pub async fn run(db: Db, coordinator: Coordinator, fee: Fee, stop: CancellationToken) {
    let mut period = tokio::time::interval(PERIOD);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = period.tick() => {}
        }
        if let Err(error) = pass(&db, &coordinator, fee, clock::now()).await {
            tracing::warn!(
                error = %chain(&error),
                "storage could not be charged, trying again later"
            );
        }
    }
}

async fn pass(
    db: &Db,
    coordinator: &Coordinator,
    fee: Fee,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let day = now.format("%Y-%m-%d");
    for (of, bytes) in holdings::totals_above(db, fee.free).await? {
        let price = price::stored_for_a_day(bytes - fee.free, fee.per_gib_month);
        if price.is_zero() {
            continue;
        }
        let what = format!("storage of {} MiB on {day}", bytes >> 20);
        let key = format!("storage {day} {of}");
        coordinator.book(Booking::Storage { of, price, what, key }).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use reqwest::Method;

    use super::*;
    use crate::api::testing::TestServer;
    use crate::data::bucket::blob_key::BlobKey;

    async fn available(server: &TestServer) -> Credits {
        let balance =
            store::money::statement::balance(&server.app.db, server.workspace).await.unwrap();
        balance.available
    }

    #[tokio::test]
    async fn storage_fee_of_a_day_is_charged_once_and_at_most_the_balance() {
        let server = TestServer::open().await;
        let coordinator = &server.app.coordinator;
        let gift = Credits::from_units(1_500).unwrap();
        coordinator.grant(server.workspace, gift, "gift").await.unwrap();
        let key = BlobKey::Upload(common::ids::JobId::new(uuid::Uuid::from_u128(1)));
        server.app.data.quotas().reserve(server.workspace, &key, 3 << 20).await.unwrap();
        // A MiB beyond the two that are free costs 1,000 units a day.
        let per_gib_month = Credits::from_units(30 * 1_000 * 1_024).unwrap();
        let fee = Fee { free: 2 << 20, per_gib_month };
        let now = clock::now();

        for _ in 0..2 {
            pass(&server.app.db, coordinator, fee, now).await.unwrap();
            assert_eq!(available(&server).await.units(), 500);
        }
        pass(&server.app.db, coordinator, fee, now + TimeDelta::days(1)).await.unwrap();
        assert_eq!(available(&server).await.units(), 0);
        pass(&server.app.db, coordinator, fee, now + TimeDelta::days(2)).await.unwrap();

        let (_, lines) = server.call(Method::GET, "/v1/wallet/transactions", None).await;
        let kinds: Vec<_> = lines["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| line["transactionType"].as_str().unwrap())
            .collect();
        assert_eq!(kinds, ["storage", "storage", "coupon"]);
        let (_, books) = server.call(Method::GET, "/v1/wallet/reconciliation", None).await;
        assert_eq!(books["differences"], 0, "{books}");
    }

    #[tokio::test]
    async fn storage_within_the_free_amount_costs_nothing() {
        let server = TestServer::open().await;
        let key = BlobKey::Upload(common::ids::JobId::new(uuid::Uuid::from_u128(1)));
        server.app.data.quotas().reserve(server.workspace, &key, 2 << 20).await.unwrap();
        let gift = Credits::from_units(1_500).unwrap();
        server.app.coordinator.grant(server.workspace, gift, "gift").await.unwrap();
        let fee = Fee { free: 2 << 20, per_gib_month: Credits::ONE };

        pass(&server.app.db, &server.app.coordinator, fee, clock::now()).await.unwrap();

        assert_eq!(available(&server).await, gift);
    }
}
