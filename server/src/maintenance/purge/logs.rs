//! Deletes what is kept as long as logs, after the end of its run.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Error, PAGE, RESULTS_LIVE};
use crate::data::Data;
use crate::data::bucket::blob_key::BlobKey;
use crate::store::Db;
use crate::store::logs::segments::Segment;
use crate::store::logs::{segments, tail};
use crate::store::market::runs::purge::Ended;
use crate::store::market::stages::{resolutions, values};
use crate::store::market::tasks::{call_answers, samples};
use crate::store::people::retention;

/// Deletes lines, answers of calls, samples and values of runs that ended so many days ago: as many
/// as the server says, or the workspace, where it says fewer.
pub async fn purge(db: &Db, data: &Data, now: DateTime<Utc>, age: TimeDelta) -> Result<(), Error> {
    delete(db, data, Ended { before: now - age, workspace: None }, now).await?;
    for (workspace, days) in retention::own_log_days(db).await? {
        let days = TimeDelta::days(days.get().into());
        if days < age {
            let ended = Ended { before: now - days, workspace: Some(workspace) };
            delete(db, data, ended, now).await?;
        }
    }
    Ok(())
}

async fn delete(db: &Db, data: &Data, ended: Ended, now: DateTime<Utc>) -> Result<(), Error> {
    while tail::purge(db, ended).await? {}
    while call_answers::purge(db, ended).await? {}
    while samples::purge(db, ended).await? {}
    old_segments(db, data, ended).await?;
    // What runs knew is what a retry goes on from, as long as their data is there.
    let before = ended.before.min(now - RESULTS_LIVE);
    let ended = Ended { before, ..ended };
    while resolutions::purge(db, ended).await? {}
    while values::purge(db, ended).await? {}
    Ok(())
}

/// Deletes segments of logs, each row before its object: an object that is left over is found by
/// the sweep.
async fn old_segments(db: &Db, data: &Data, ended: Ended) -> Result<(), Error> {
    loop {
        let page = segments::of_ended(db, ended, PAGE).await?;
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
    use common::protocol::{Level, LogLine, Stream};
    use common::testing::process;
    use serde_json::json;

    use super::*;
    use crate::api::testing::TestServer;
    use crate::clock;
    use crate::logs::compactor::compact;
    use crate::logs::reader::Logs;
    use crate::store::logs::Batch;
    use crate::store::people::workspaces;
    use crate::store::testing::runs_of;

    fn in_days(days: i64) -> DateTime<Utc> {
        clock::now() + TimeDelta::days(days)
    }

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

        purge(db, data, in_days(1), TimeDelta::zero()).await.unwrap();
        assert_eq!(kept().await, 2, "the run has not ended");
        let abort = format!("/v1/customer/jobs/{id}/abort");
        assert_eq!(server.post(&abort, json!({})).await.0, 200);
        purge(db, data, in_days(2), TimeDelta::days(3)).await.unwrap();
        assert_eq!(kept().await, 2, "it ended two days ago");
        purge(db, data, in_days(4), TimeDelta::days(3)).await.unwrap();

        assert_eq!(kept().await, 0);
        assert_eq!(std::fs::read_dir(server.bucket().join("logs")).map_or(0, Iterator::count), 0);
    }

    #[tokio::test]
    async fn logs_of_a_workspace_that_keeps_them_for_less_time_are_deleted_earlier() {
        let server = TestServer::open().await;
        let (db, data) = (&server.app.db, &server.app.data);
        let id = server.running_job().await;
        let run = runs_of(db, server.workspace, id.parse().unwrap()).await[0].id;
        let (level, stream, text) = (Level::Info, Stream::Node, "x".to_owned());
        let line = LogLine { at_us: 0, level, stream, text };
        let batch = Batch { number: 1, lease: process(run, 0, 1), first: 0, lines: vec![line] };
        tail::insert(db, &[batch]).await.unwrap();
        let abort = format!("/v1/customer/jobs/{id}/abort");
        assert_eq!(server.post(&abort, json!({})).await.0, 200);
        let logs = Logs { db, data };
        let foreign = workspaces::create_workspace(db, "other").await.unwrap();
        let days = |days| std::num::NonZeroU32::new(days);
        retention::set_log_days(db, foreign, days(1)).await.unwrap();

        purge(db, data, in_days(9), TimeDelta::days(30)).await.unwrap();
        assert!(logs.find(run, 1).await.unwrap().is_some(), "another workspace keeps them a day");
        retention::set_log_days(db, server.workspace, days(7)).await.unwrap();
        purge(db, data, in_days(6), TimeDelta::days(30)).await.unwrap();
        assert!(logs.find(run, 1).await.unwrap().is_some(), "its own keeps them for seven");
        purge(db, data, in_days(9), TimeDelta::days(30)).await.unwrap();

        assert!(logs.find(run, 1).await.unwrap().is_none());
    }
}
