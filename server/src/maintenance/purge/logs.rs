//! Deletes what is kept as long as logs, after the end of its run.

use chrono::{DateTime, Utc};

use super::{Error, PAGE};
use crate::data::Data;
use crate::data::bucket::blob_key::BlobKey;
use crate::store::Db;
use crate::store::logs::segments::Segment;
use crate::store::logs::{segments, tail};
use crate::store::market::{call_answers, samples};

/// Deletes lines, answers of calls and samples of runs that ended before `then`.
pub async fn purge(db: &Db, data: &Data, then: DateTime<Utc>) -> Result<(), Error> {
    while tail::purge(db, then).await? {}
    while call_answers::purge(db, then).await? {}
    while samples::purge(db, then).await? {}
    old_segments(db, data, then).await
}

/// Deletes segments of logs, each row before its object: an object that is left over is found by
/// the sweep.
async fn old_segments(db: &Db, data: &Data, then: DateTime<Utc>) -> Result<(), Error> {
    loop {
        let page = segments::ended_before(db, then, PAGE).await?;
        if page.is_empty() {
            return Ok(());
        }
        for segment in page {
            segments::delete(db, &segment).await?;
            let Segment { run, seq, digest, .. } = segment;
            data.purge(&BlobKey::Log { run, seq, digest }).await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use common::protocol::{Level, LogLine, Stream};
    use common::testing::process;
    use serde_json::json;

    use super::*;
    use crate::api::testing::TestServer;
    use crate::clock;
    use crate::logs::compactor::compact;
    use crate::logs::reader::Logs;
    use crate::store::logs::Batch;
    use crate::store::testing::runs_of;

    #[tokio::test]
    async fn logs_are_deleted_some_days_after_their_run_has_ended() {
        let server = TestServer::open().await;
        let id = server.running_job().await;
        let (db, data) = (&server.app.db, &server.app.data);
        let run = runs_of(db, server.workspace, id.parse().unwrap()).await[0].id;
        let batch = |number: u32| {
            let (level, stream, text) = (Level::Info, Stream::Node, "x".to_owned());
            let line = LogLine { at_us: 0, level, stream, text };
            let lease = process(run, 0, 1);
            Batch { number: number.into(), lease, first: number - 1, lines: vec![line] }
        };
        tail::insert(db, &[batch(1)]).await.unwrap();
        compact(db, data, run).await.unwrap();
        tail::insert(db, &[batch(2)]).await.unwrap();
        let logs = Logs { db, data };
        let kept = async || {
            let found = [logs.find(run, 1).await.unwrap(), logs.find(run, 2).await.unwrap()];
            found.into_iter().flatten().count()
        };

        purge(db, data, clock::now() + TimeDelta::days(1)).await.unwrap();
        assert_eq!(kept().await, 2, "the run has not ended");
        let abort = format!("/v1/customer/jobs/{id}/abort");
        assert_eq!(server.post(&abort, json!({})).await.0, 200);
        purge(db, data, clock::now() - TimeDelta::days(1)).await.unwrap();
        assert_eq!(kept().await, 2, "it has just ended");
        purge(db, data, clock::now() + TimeDelta::days(1)).await.unwrap();

        assert_eq!(kept().await, 0);
        assert_eq!(std::fs::read_dir(server.bucket().join("logs")).map_or(0, Iterator::count), 0);
    }
}
