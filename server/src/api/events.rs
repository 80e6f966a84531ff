//! What happens to jobs, as it happens: server-sent events, or one JSON object a line.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::ids::{JobId, NotAnId, WorkspaceId};
use futures::Stream;
use serde_json::{Value, json};
use sync_wrapper::SyncStream;
use tokio::sync::{OwnedSemaphorePermit, broadcast};
use tokio_util::sync::CancellationToken;
use warp::Reply as _;
use warp::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use warp::{Filter as _, http};

use super::call::{Call, call};
use super::error::{Error, Result};
use super::{Answer, App, Doors, Route, job_out, reply};
use crate::coordinator::{Change, RunEvent};

/// Says that the stream is alive while nothing happens, and finds out who has gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub fn routes(doors: &Arc<Doors>) -> Route {
    warp::path!("events")
        .and(warp::get())
        .and(call(doors))
        .then(events)
        .map(reply::raw_reply)
        .boxed()
}

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    ServerSent,
    Lines,
}

/// A listener and what it may hear.
struct Listener {
    app: App,
    events: broadcast::Receiver<RunEvent>,
    stop: CancellationToken,
    workspace: WorkspaceId,
    job: Option<JobId>,
    format: Format,
    ended: bool,
    _place: OwnedSemaphorePermit,
}

async fn events(call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let job = match call.query()?.get("jobId").filter(|id| !id.is_empty()) {
        None => None,
        Some(id) => {
            let id = id.parse().map_err(|e: NotAnId| Error::field("jobId", e.to_string()))?;
            Some(id)
        }
    };
    let accept = call.headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    let format =
        if accept.contains("text/event-stream") { Format::ServerSent } else { Format::Lines };
    let doors = call.doors();
    let place = doors.streams.clone().try_acquire_owned().map_err(|_| Error::Unavailable)?;
    let listener = Listener {
        app: call.app().clone(),
        events: call.app().coordinator.events(),
        stop: doors.stop.clone(),
        workspace: caller.workspace,
        job,
        format,
        ended: false,
        _place: place,
    };
    let mut answer = warp::reply::stream(SyncStream::new(stream(listener))).into_response();
    let headers: &mut http::HeaderMap = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

fn stream(listener: Listener) -> impl Stream<Item = std::io::Result<Bytes>> + Send {
    let first = listener.format.comment();
    let opening = futures::stream::iter([Ok(Bytes::from_static(first))]);
    let rest = futures::stream::unfold(listener, |mut listener| async {
        let text = listener.next().await?;
        Some((Ok(Bytes::from(text)), listener))
    });
    // The first bytes go out at once, so that the client knows it listens.
    futures::StreamExt::chain(opening, rest)
}

impl Listener {
    /// The next piece of the stream, or `None` at its end.
    async fn next(&mut self) -> Option<Vec<u8>> {
        if self.ended {
            return None;
        }
        let alive = tokio::time::sleep(KEEP_ALIVE);
        tokio::pin!(alive);
        loop {
            let heard = tokio::select! {
                () = self.stop.cancelled() => return None,
                () = &mut alive => return Some(self.format.comment().to_vec()),
                heard = self.events.recv() => heard,
            };
            match heard {
                Ok(event) if self.hears(&event) => return Some(self.write(&event)),
                Ok(_) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    self.ended = true;
                    return Some(self.format.missed(missed));
                }
            }
        }
    }

    fn hears(&self, event: &RunEvent) -> bool {
        event.workspace == self.workspace && self.job.is_none_or(|job| job == event.job)
    }

    fn write(&self, event: &RunEvent) -> Vec<u8> {
        let (name, data) = describe(event);
        let mut text = self.format.event(event.seq, name, &data);
        // Progress has no event of its own: it is told with each change of a task.
        if let Change::Task { .. } = event.change
            && let Some(progress) = self.app.coordinator.progress(event.run)
        {
            let data = json!({
                "jobId": event.job,
                "runId": event.run,
                "chunks": progress.chunks,
                "chunksDone": progress.chunks_done,
                "tasksRunning": progress.tasks_running,
                "nodesBusy": progress.nodes_busy,
                "spent": progress.spent,
            });
            text.extend(self.format.event(event.seq, "job.progress", &data));
        }
        text
    }
}

fn describe(event: &RunEvent) -> (&'static str, Value) {
    match &event.change {
        Change::State { state, error } => (
            "job.state",
            json!({
                "jobId": event.job,
                "runId": event.run,
                "state": job_out::state_name(*state),
                "errorMessage": error,
            }),
        ),
        Change::Task { task, attempt, state } => (
            "task.state",
            json!({
                "jobId": event.job,
                "runId": event.run,
                "stage": task.stage.as_str(),
                "index": task.index,
                "attempt": attempt,
                "state": state.as_str(),
            }),
        ),
    }
}

impl Format {
    const fn content_type(self) -> &'static str {
        match self {
            Self::ServerSent => "text/event-stream",
            Self::Lines => "application/json",
        }
    }

    /// A piece that says nothing.
    const fn comment(self) -> &'static [u8] {
        match self {
            Self::ServerSent => b":\n\n",
            Self::Lines => b"\n",
        }
    }

    fn event(self, seq: u64, name: &str, data: &Value) -> Vec<u8> {
        match self {
            Self::ServerSent => format!("id: {seq}\nevent: {name}\ndata: {data}\n\n"),
            Self::Lines => format!("{}\n", json!({"result": {"event": name, "data": data}})),
        }
        .into_bytes()
    }

    /// Tells a listener that it was too slow: it must read the state and listen again.
    fn missed(self, events: u64) -> Vec<u8> {
        let message = format!("{events} events were missed: read the jobs, then listen again");
        let error = json!({"code": 11, "message": message, "details": []});
        match self {
            Self::ServerSent => format!("event: error\ndata: {error}\n\n"),
            Self::Lines => format!("{}\n", json!({ "error": error })),
        }
        .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use common::credits::Credits;
    use futures::StreamExt as _;

    use super::super::testing::Door;
    use super::*;

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

    async fn listen(door: &Door, key: &str, accept: &str) -> reqwest::Response {
        let url = format!("{}/v1/customer/events", door.url);
        let asked = door.client.get(url).header("authorization", key).header("accept", accept);
        asked.send().await.unwrap()
    }

    async fn run_a_job(door: &Door) -> String {
        let amount = Credits::from_units(100_000_000_000).unwrap();
        door.app.coordinator.grant(door.workspace, amount, "first").await.unwrap();
        door.template("passthrough", "passthrough").await;
        let id = door
            .job(json!({"templateId": "t", "dataSource": {"dataSourceDescriptor": "bypass"},
                        "dataDestination": {"dataSourceDescriptor": "bucket"}}))
            .await;
        let run = format!("/v1/customer/jobs/{id}/run");
        assert_eq!(door.post(&run, json!({})).await.0, 200);
        let abort = format!("/v1/customer/jobs/{id}/abort");
        assert_eq!(door.post(&abort, json!({})).await.0, 200);
        id
    }

    #[tokio::test]
    async fn both_forms_tell_what_happens_to_the_callers_jobs_alone() {
        let door = Door::open().await;
        let stranger = door.stranger().await;
        let mut sent = listen(&door, &door.key, "text/event-stream").await;
        let mut lines = listen(&door, &door.key, "*/*").await;
        let mut other = listen(&door, &stranger, "*/*").await;
        assert_eq!(sent.headers()["content-type"], "text/event-stream");

        let id = run_a_job(&door).await;
        let sent = read_until(&mut sent, "JOB_STATE_FAILED").await;
        let lines = read_until(&mut lines, "JOB_STATE_FAILED").await;

        assert!(sent.contains("event: job.state") && sent.contains(&id), "{sent}");
        let last: Value = serde_json::from_str(lines.trim().lines().last().unwrap()).unwrap();
        assert_eq!(last["result"]["event"], "job.state");
        assert_eq!(last["result"]["data"]["errorMessage"], "aborted by user");
        door.stop.cancel();
        let mut heard = String::new();
        while let Ok(Some(piece)) = other.chunk().await {
            heard.push_str(str::from_utf8(&piece).unwrap());
        }
        assert_eq!(heard.trim(), "");
    }

    #[tokio::test]
    async fn streams_end_when_the_server_stops() {
        let door = Door::open().await;
        let answer = listen(&door, &door.key, "text/event-stream").await;

        door.stop.cancel();

        let end = answer.bytes_stream().for_each(|_| async {});
        tokio::time::timeout(Duration::from_secs(10), end).await.expect("the stream goes on");
    }
}
