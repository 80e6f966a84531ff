//! What was accepted and paid of a run that did not complete: its tasks' own results, unfolded.

use common::plan::Phase;
use common::run::RunState;
use common::run::spec::result_name;

use super::run::done_and_paid;
use super::tasks::stage_of;
use super::view::{LINK_LIVES, RESULTS_BYTES_MAX, ResultOut, ResultsOut};
use crate::app::App;
use crate::data::bucket::blob_key::BlobKey;
use crate::data::bucket::links::{Holder, Linked};
use crate::error::{Error, Result};
use crate::store::market::runs::RunView;
use crate::store::market::tasks;

/// Tasks that are looked at in one go: one may have thousands of files.
const PAGE: u64 = 64;

/// Says that a run has no results as a whole, and how to get those that there are.
pub fn refusal(run: &RunView) -> Error {
    let why = run.error.as_deref().unwrap_or_default();
    let what = if matches!(run.state, RunState::Ending | RunState::Cancelled) {
        "was aborted"
    } else {
        "has failed"
    };
    let rest = if run.chunks_done == 0 {
        String::new()
    } else {
        let done = done_and_paid(run);
        format!(
            "; {done}: ask for the results of these with partial=true (--partial on the command \
             line)"
        )
    };
    Error::Blocked("JOB_FAILED", format!("job {what} and has no results as a whole: {why}{rest}"))
}

/// The files of accepted tasks after one of them, by the names that they are folded under.
pub async fn results(
    app: &App,
    run: &RunView,
    holder: Holder,
    after: Option<&str>,
) -> Result<ResultsOut> {
    let mut after = after
        .map(str::parse::<u32>)
        .transpose()
        .map_err(|_| Error::field("after", "must be the next of the answer before"))?;
    let total = run.chunks.unwrap_or(0);
    let Some(stage) = stage_of(app, run, Phase::Process).await? else {
        return Ok(ResultsOut::partial(Vec::new(), None));
    };
    let (mut shown, mut bytes) = (Vec::new(), 0);
    loop {
        let page = tasks::outputs(&app.db, run.id, stage, after, PAGE).await?;
        if page.is_empty() {
            return Ok(ResultsOut::partial(shown, None));
        }
        for task in page {
            for file in task.files {
                let name = result_name(task.index, total, &file.name);
                let key = BlobKey::Result { lease: file.lease, digest: file.digest };
                let linked = Linked { name: &name, digest: Some(file.digest) };
                let link = app.data.download_link(&key, linked, holder, LINK_LIVES);
                bytes += name.len() + link.len();
                shown.push(ResultOut { name, link, size: file.size.to_string() });
            }
            after = Some(task.index);
            if bytes > RESULTS_BYTES_MAX {
                return Ok(ResultsOut::partial(shown, Some(task.index.to_string())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use common::digest::Digest;
    use common::protocol::Output;
    use futures::StreamExt as _;
    use reqwest::Method;
    use serde_json::json;

    use super::*;
    use crate::api::testing::Door;
    use crate::coordinator::testing::Worker;
    use crate::data::Stored;

    #[tokio::test]
    async fn partial_results_of_an_aborted_job_are_listed_and_can_be_downloaded() {
        let door = Door::open().await;
        let app = &door.app;
        app.coordinator.grant(door.workspace, "100".parse().unwrap(), "first").await.unwrap();
        door.template("replicate", "zip").await;
        let id = door
            .job(json!({"templateId": "t", "params": {"partitioner": {"num_replicas": 3}},
                        "dataSource": {"dataSourceDescriptor": "bypass"},
                        "dataDestination": {"dataSourceDescriptor": "bucket"}}))
            .await;
        let job = format!("/v1/customer/jobs/{id}");
        assert_eq!(door.post(&format!("{job}/run"), json!({})).await.0, 200);
        let mut worker = Worker::join(&app.db, door.workspace).await;
        let lease = loop {
            worker.turn(&app.coordinator).await;
            if let Some(lease) = worker.first() {
                break lease;
            }
        };
        let bytes = Bytes::from_static(b"hello");
        let stored = Stored { size: 5, digest: Digest::of(&bytes) };
        let key = BlobKey::Result { lease, digest: stored.digest };
        let stream = futures::stream::iter([Ok(bytes)]).boxed();
        let put = app.data.put_result(door.workspace, lease.task.run, &key, stored, stream);
        put.await.unwrap();
        let output = Output { name: "out.txt".to_owned(), size: 5, digest: stored.digest };
        worker.gives(&app.coordinator, lease, vec![output]).await;

        let (_, aborted) = door.post(&format!("{job}/abort"), json!({})).await;
        let (refused, why) = door.get(&format!("{job}/results")).await;
        let (status, partial) = door.get(&format!("{job}/results?partial=true")).await;

        let message = aborted["message"].as_str().unwrap();
        assert!(message.starts_with("1 of 3 chunks, 0.0"), "{message}");
        let why = why["message"].as_str().unwrap();
        assert!(refused == 400 && why.contains("aborted") && why.contains("partial=true"), "{why}");
        assert_eq!((status, &partial["partial"]), (200, &json!(true)));
        let file = &partial["results"][0];
        let name = format!("{:07}_out.txt", lease.task.index);
        assert_eq!((&file["name"], &file["size"]), (&json!(name), &json!("5")));
        let got = door.client.get(file["link"].as_str().unwrap()).send().await.unwrap();
        assert_eq!(got.bytes().await.unwrap(), "hello");
        assert_eq!(partial["results"].as_array().unwrap().len(), 1);
        let stranger = door.stranger().await;
        let path = format!("{job}/results?partial=true");
        assert_eq!(door.call_as(&stranger, Method::GET, &path, None).await.0, 404);
        let (_, progress) = door.get(&format!("{job}/progress")).await;
        assert_eq!(
            (&progress["status"], &progress["held"]),
            (&json!("ending"), &json!("0.00000000"))
        );
        // Once told, the node says that it holds nothing of it any more.
        worker.turn(&app.coordinator).await;
        worker.turn(&app.coordinator).await;
        let (_, progress) = door.get(&format!("{job}/progress")).await;
        assert_eq!(progress["status"], "cancelled");
    }
}
