//! What came out of a job.

use common::ids::JobId;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::http::call::{Call, Segment};
use crate::api::http::query;
use crate::api::http::route::{Route, get};
use crate::api::http::shape::{flag, text};
use crate::error::Result;
use crate::jobs::runs::results;
use crate::jobs::runs::results::{ResultFile, ResultPage};

pub fn routes() -> Vec<Route> {
    vec![
        get("Customer_GetJobResults", "/jobs/{jobId}/results", get_results)
            .summary("Lists a finished job's files, with links")
            .query(vec![
                text("after", "The next of the answer before"),
                flag("partial", "Of a job that failed or was aborted: lists what was accepted"),
            ]),
    ]
}

#[derive(Serialize, ToSchema)]
struct ResultsOut {
    results: Vec<ResultOut>,
    /// True where the job did not complete: these are its accepted tasks' own results, not folded.
    /// Left out of ordinary results, which published clients compare as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    partial: Option<bool>,
    /// Where there are more: the `after` that asks for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct ResultOut {
    name: String,
    link: String,
    size: String,
}

impl From<ResultFile> for ResultOut {
    fn from(file: ResultFile) -> Self {
        Self { name: file.name, link: file.link, size: file.size.to_string() }
    }
}

/// The output files: links where Fanfold keeps them, addresses where they were delivered.
async fn get_results(id: Segment, call: Call) -> Result<ResultsOut> {
    let caller = call.caller().await?;
    let query = call.query()?;
    let takes_partial = query::flag(&query, "partial")?.unwrap_or(false);
    let after = query.get("after").map(String::as_str);
    let _permit = call.answer_permit(&caller).await;
    let page =
        results::read(call.app(), &caller, id.id::<JobId>("job")?, takes_partial, after).await?;
    let ResultPage { files, is_partial, next } = page;
    let results = files.into_iter().map(ResultOut::from).collect();
    Ok(ResultsOut { results, partial: is_partial.then_some(true), next })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use common::digest::Digest;
    use common::protocol::Output;
    use futures::StreamExt as _;
    use reqwest::Method;
    use serde_json::json;

    use crate::api::testing::TestServer;
    use crate::coordinator::testing::Worker;
    use crate::data::Stored;
    use crate::data::bucket::blob_key::BlobKey;

    #[tokio::test]
    async fn partial_results_of_an_aborted_job_are_listed_and_can_be_downloaded() {
        let server = TestServer::open().await;
        let app = &server.app;
        app.coordinator.grant(server.workspace, "100".parse().unwrap(), "first").await.unwrap();
        server.template("replicate", "zip").await;
        let id = server
            .job(json!({"templateId": "t", "params": {"partitioner": {"num_replicas": 3}},
                        "dataSource": {"dataSourceDescriptor": "bypass"},
                        "dataDestination": {"dataSourceDescriptor": "bucket"}}))
            .await;
        let job = format!("/v1/customer/jobs/{id}");
        assert_eq!(server.post(&format!("{job}/run"), json!({})).await.0, 200);
        let mut worker = Worker::join(&app.db, server.workspace).await;
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
        let put = app.data.put_result(server.workspace, lease.task.run, &key, stored, stream);
        put.await.unwrap();
        let output = Output { name: "out.txt".to_owned(), size: 5, digest: stored.digest };
        worker.gives(&app.coordinator, lease, vec![output]).await;

        let (_, aborted) = server.post(&format!("{job}/abort"), json!({})).await;
        let (refused, why) = server.get(&format!("{job}/results")).await;
        let (status, partial) = server.get(&format!("{job}/results?partial=true")).await;

        let message = aborted["message"].as_str().unwrap();
        assert!(message.starts_with("1 of 3 chunks, 0.0"), "{message}");
        let why = why["message"].as_str().unwrap();
        assert!(refused == 400 && why.contains("aborted") && why.contains("partial=true"), "{why}");
        assert_eq!((status, &partial["partial"]), (200, &json!(true)));
        let file = &partial["results"][0];
        let name = format!("{:07}_out.txt", lease.task.index);
        assert_eq!((&file["name"], &file["size"]), (&json!(name), &json!("5")));
        let got = server.client.get(file["link"].as_str().unwrap()).send().await.unwrap();
        assert_eq!(got.bytes().await.unwrap(), "hello");
        assert_eq!(partial["results"].as_array().unwrap().len(), 1);
        let stranger = server.stranger().await;
        let path = format!("{job}/results?partial=true");
        assert_eq!(server.call_as(&stranger, Method::GET, &path, None).await.0, 404);
        let (_, progress) = server.get(&format!("{job}/progress")).await;
        assert_eq!(
            (&progress["status"], &progress["held"]),
            (&json!("ending"), &json!("0.00000000"))
        );
        // Once told, the node says that it holds nothing of it any more.
        worker.turn(&app.coordinator).await;
        worker.turn(&app.coordinator).await;
        let (_, progress) = server.get(&format!("{job}/progress")).await;
        assert_eq!(progress["status"], "cancelled");
    }
}
