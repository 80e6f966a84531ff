//! What a restart of the server changes of a trace: nothing.

use super::*;
use crate::store::testing::{commit_next, databases};
use crate::store::{load, nodes};

/// Stores what has changed, and gives its spans as the exporter makes them.
async fn commit(db: &Db, market: &mut Market) -> Vec<SpanData> {
    let mut changes = market.drain();
    commit_next(db, &changes, &[]).await.unwrap();
    let mut told = Vec::new();
    for ended in ended::take(&mut changes, market, |_| true) {
        told.extend(spans::of(&ended, export::begun(db, &ended).await));
    }
    told
}

#[tokio::test]
async fn run_that_is_traced_across_a_restart_has_one_trace() {
    for fresh in databases().await {
        let db = &fresh.db;
        let token = nodes::issue_token(db, OPERATOR).await.unwrap();
        let node = nodes::join(db, "peer", &token).await.unwrap().unwrap();
        let restarted = async |secs| {
            let mut market = Market::load(Policy::default(), load(db).await.unwrap(), at(secs));
            market.trust(OPERATOR);
            market
        };
        let hear = |market: &mut Market, heard, secs| {
            market.sync(node, OPERATOR, heard, at(secs));
            market.dispatch(at(secs));
        };
        let mut market = restarted(0).await;
        market.grant(CUSTOMER, "1000".parse().unwrap(), "gift", at(0)).unwrap();
        start_cut(&mut market, RUN, spec(1), 2, at(0));
        let [first, second, again] = [process(RUN, 0, 1), process(RUN, 1, 1), process(RUN, 0, 2)];
        hear(&mut market, says(&[], &[]), 1);
        hear(&mut market, says(&[(first, fails()), (second, succeeds())], &[]), 3);
        let mut spans = commit(db, &mut market).await;

        let mut market = restarted(10).await;
        hear(&mut market, says(&[], &[again]), 11);
        hear(&mut market, says(&[(again, succeeds())], &[]), 12);
        do_steps(&mut market, RUN, 2, at(13));
        spans.extend(commit(db, &mut market).await);

        let paths = paths(&spans);
        assert_eq!(paths.len(), 9, "{paths:?}");
        assert!(!paths.iter().any(|path| path.contains("MISSING")), "{}: {paths:?}", fresh.name);
        let task = spans.iter().find(|span| id(span) == ids::task(first.task)).unwrap();
        assert_eq!(task.start_time, moment(1), "the first attempt's, before the restart");
        assert_eq!(attribute(task, "fanfold.attempts"), "2");
    }
}
