//! What happens to jobs, as it happens: server-sent events, or one JSON object a line.

use common::ids::{JobId, NotAnId};
use warp::http::Method;

use super::event_json;
use crate::api::Answer;
use crate::api::http::call::Call;
use crate::api::http::event_stream::{self, Words};
use crate::api::http::route::{Route, raw};
use crate::api::http::shape::{Field, Shape, map, one, text, word};
use crate::error::{Error, Result};

pub fn routes() -> Vec<Route> {
    vec![
        raw(Method::GET, "Customer_Events", "/events", "text/event-stream", events)
            .summary(
                "Streams what happens to the workspace's jobs: server-sent events, or lines of \
                 JSON where the Accept header does not ask for them",
            )
            .query(vec![
                text("jobId", "Of this job only"),
                text("lastEventId", "As the header Last-Event-ID: goes on after it"),
            ])
            .endless(LINE),
    ]
}

/// A line of JSON. A server-sent event has the event's name and its data by themselves.
const LINE: &[Field] = &[one("result", &EVENT, "What happened")];
const EVENT: Shape = Shape {
    name: "Event",
    fields: &[
        word(
            "event",
            &["job.state", "job.progress", "task.state", "task.log", "reset"],
            "reset says that events were lost, and gives the state of all jobs in their place",
        ),
        map("data", "What is known of it: jobId, runId, state, and what belongs to the event"),
    ],
};

/// Streams what happens. `Last-Event-ID` (or `lastEventId` in the query) asks for what came after
/// an event; where that is no longer known, a `reset` event gives the states of the jobs instead.
async fn events(call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let query = call.query()?;
    let job = query.get("jobId").filter(|id| !id.is_empty()).map(|id| id.parse::<JobId>());
    let job = job.transpose().map_err(|e: NotAnId| Error::field("jobId", e.to_string()))?;
    let last = query.get("lastEventId").map(String::as_str);
    event_stream::answer(&call, caller, job, last, WORDS)
}

const WORDS: Words = Words { describe: event_json::describe, reset: event_json::reset };

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::StreamExt as _;
    use serde_json::{Value, json};

    use crate::api::testing::TestServer;

    /// Reads a stream until it holds the text, or fails after a while.
    async fn read_until(answer: &mut reqwest::Response, text: &str) -> String {
        let mut heard = String::new();
        let reading = async {
            while !heard.contains(text) {
                let piece = answer.chunk().await.unwrap().expect("the stream ended early");
                heard.push_str(str::from_utf8(&piece).unwrap());
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reading).await.expect("nothing was heard");
        heard
    }

    async fn listen(server: &TestServer, key: &str, accept: &str) -> reqwest::Response {
        let url = format!("{}/v1/customer/events", server.url);
        let asked = server.client.get(url).header("authorization", key).header("accept", accept);
        asked.send().await.unwrap()
    }

    async fn run_a_job(server: &TestServer) -> String {
        let id = server.running_job().await;
        let abort = format!("/v1/customer/jobs/{id}/abort");
        assert_eq!(server.post(&abort, json!({})).await.0, 200);
        id
    }

    #[tokio::test]
    async fn events_in_both_forms_show_the_callers_jobs_only() {
        let server = TestServer::open().await;
        let stranger = server.stranger().await;
        let mut sent = listen(&server, &server.key, "text/event-stream").await;
        let mut lines = listen(&server, &server.key, "*/*").await;
        let mut other = listen(&server, &stranger, "*/*").await;
        assert_eq!(sent.headers()["content-type"], "text/event-stream");

        let id = run_a_job(&server).await;
        let sent = read_until(&mut sent, "JOB_STATE_FAILED").await;
        let lines = read_until(&mut lines, "JOB_STATE_FAILED").await;

        assert!(sent.contains("event: job.state") && sent.contains(&id), "{sent}");
        let last: Value = serde_json::from_str(lines.trim().lines().last().unwrap()).unwrap();
        assert_eq!(last["result"]["event"], "job.state");
        assert_eq!(last["result"]["data"]["errorMessage"], "aborted by user");
        server.stop.cancel();
        let mut heard = String::new();
        while let Ok(Some(piece)) = other.chunk().await {
            heard.push_str(str::from_utf8(&piece).unwrap());
        }
        assert_eq!(heard.trim(), "");
    }

    #[tokio::test]
    async fn event_streams_end_when_the_server_stops() {
        let server = TestServer::open().await;
        let answer = listen(&server, &server.key, "text/event-stream").await;

        server.stop.cancel();

        let end = answer.bytes_stream().for_each(|_| async {});
        tokio::time::timeout(Duration::from_secs(10), end).await.expect("the stream goes on");
    }

    async fn listen_after(server: &TestServer, last: &str, query: &str) -> reqwest::Response {
        let url = format!("{}/v1/customer/events{query}", server.url);
        let asked = server.client.get(url).header("authorization", &server.key);
        let asked = asked.header("accept", "text/event-stream").header("last-event-id", last);
        asked.send().await.unwrap()
    }

    #[tokio::test]
    async fn event_stream_resumes_where_it_broke_off() {
        let server = TestServer::open().await;
        let mut before = listen(&server, &server.key, "text/event-stream").await;
        let id = run_a_job(&server).await;
        let whole = read_until(&mut before, "JOB_STATE_FAILED").await;
        let first = whole.lines().find_map(|line| line.strip_prefix("id: ")).unwrap();
        drop(before);

        let mut after = listen_after(&server, first, "").await;
        let rest = read_until(&mut after, "JOB_STATE_FAILED").await;

        assert!(rest.contains(&id) && !rest.contains("event: reset"), "{rest}");
        assert!(!rest.contains(&format!("id: {first}\n")), "{rest}");
    }

    #[tokio::test]
    async fn events_after_an_unknown_id_begin_with_the_current_state() {
        let server = TestServer::open().await;
        let id = run_a_job(&server).await;
        let draft = server.job(json!({"templateId": "t"})).await;
        for (last, query, told) in [
            ("1-1", String::new(), 2),
            ("nonsense", String::new(), 2),
            ("1-1", format!("?jobId={draft}"), 1),
        ] {
            let mut answer = listen_after(&server, last, &query).await;

            let heard = read_until(&mut answer, "JOB_STATE_NEW").await;

            let data = heard.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
            let data: Value = serde_json::from_str(data).unwrap();
            assert!(heard.contains("event: reset"), "{heard}");
            let jobs = data["jobs"].as_array().unwrap();
            assert_eq!(jobs.len(), told, "{data}");
            assert_eq!(
                (&jobs[0]["jobId"], &jobs[0]["state"]),
                (&json!(draft), &json!("JOB_STATE_NEW"))
            );
            if told == 2 {
                assert_eq!(jobs[1]["jobId"], id);
                assert_eq!(jobs[1]["errorMessage"], "aborted by user");
            }
        }
    }
}
