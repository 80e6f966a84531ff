//! Deletes from the bucket what no link leads to any more: the data of runs that ended 48 hours
//! ago.
//!
//! It takes no input, so a pass that is lost costs time and nothing else.

use std::time::Duration;

use chrono::TimeDelta;
use common::ids::{JobId, RunId};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::data::{self, Data};
use crate::store::{Db, runs};

/// How long results can be downloaded.
pub const RESULTS_LIVE: TimeDelta = TimeDelta::hours(48);
const PERIOD: Duration = Duration::from_secs(600);
const PAGE: u64 = 100;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("database")]
    Db(#[from] crate::store::Error),
    #[error("bucket")]
    Data(#[from] data::Error),
}

/// Passes every ten minutes, until told to stop.
pub async fn run(db: Db, data: Data, stop: CancellationToken) {
    let mut period = tokio::time::interval(PERIOD);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = period.tick() => {}
        }
        if let Err(error) = pass(&db, &data).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "old results could not be deleted, trying again later");
        }
    }
}

/// Goes through what is old enough. What cannot be deleted now stays for the next pass and holds
/// up nothing else.
async fn pass(db: &Db, data: &Data) -> Result<(), Error> {
    loop {
        let page = runs::ended_before(db, clock::now() - RESULTS_LIVE, PAGE).await?;
        let mut deleted = 0;
        for (run, job) in page {
            match delete(db, data, run, job).await {
                Ok(()) => deleted += 1,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(%run, error, "old results could not be deleted");
                }
            }
        }
        if deleted == 0 {
            return Ok(());
        }
    }
}

async fn delete(db: &Db, data: &Data, run: RunId, job: JobId) -> Result<(), Error> {
    data.purge_run(run).await?;
    data.purge_upload(job).await?;
    runs::set_purged(db, run).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use common::credits::Credits;
    use common::ids::WorkspaceId;
    use common::market::{Market, Policy, Stored};
    use futures::stream;
    use uuid::Uuid;

    use super::*;
    use crate::data::address::Guard;
    use crate::data::key::BlobKey;
    use crate::secrets::Secrets;
    use crate::store::commit::commit;
    use crate::store::testing::{databases, spec};

    /// A run that ended so long ago, with a file of its own in the bucket.
    async fn ended(db: &Db, data: &Data, ago: TimeDelta) -> (RunId, BlobKey) {
        let workspace = WorkspaceId::new(Uuid::now_v7());
        let run = RunId::new(Uuid::now_v7());
        let then = clock::now() - ago;
        let ledger = crate::store::load(db).await.unwrap().ledger;
        let stored = Stored { ledger, ..Stored::default() };
        let mut market = Market::load(Policy::default(), stored, then);
        market.grant(workspace, Credits::from_units(500_000_000).unwrap(), "gift", then).unwrap();
        market.start_run(run, Arc::new(spec(workspace)), then).unwrap();
        market.abort(run, "enough".to_owned(), then).unwrap();
        commit(db, &market.drain(), &[]).await.unwrap();
        let key = BlobKey::Final { run, name: "result.txt".to_owned() };
        let bytes = stream::iter([Ok(Bytes::from_static(b"result"))]);
        data.put(&key, Box::pin(bytes)).await.unwrap();
        (run, key)
    }

    #[tokio::test]
    async fn results_live_for_48_hours_and_no_longer() {
        for fresh in databases().await {
            let folder = tempfile::tempdir().unwrap();
            let options = data::Options {
                bucket: data::Bucket::Folder(folder.path().to_owned()),
                guard: Guard::new(false),
                public_url: "http://localhost".to_owned(),
                link_key: [8; 32],
            };
            let db = &fresh.db;
            let data = Data::open(options, Secrets::new(db.clone(), [7; 32])).await.unwrap();
            let (_, old) = ended(db, &data, TimeDelta::hours(49)).await;
            let (_, young) = ended(db, &data, TimeDelta::hours(47)).await;

            pass(db, &data).await.unwrap();

            assert_eq!(data.size(&old).await.unwrap(), None, "{}", fresh.name);
            assert_eq!(data.size(&young).await.unwrap(), Some(6), "{}", fresh.name);
            let left = runs::ended_before(db, clock::now(), 10).await.unwrap();
            assert_eq!(left.len(), 1, "{}", fresh.name);
        }
    }
}
