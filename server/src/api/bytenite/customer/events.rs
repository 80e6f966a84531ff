//! What happens to jobs, as it happens: server-sent events, or one JSON object a line.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use common::ids::{JobId, NotAnId, WorkspaceId};
use futures::Stream;
use serde_json::{Value, json};
use sync_wrapper::SyncStream;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use warp::Reply as _;
use warp::http;
use warp::http::Method;
use warp::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};

use super::{event_out, states};
use crate::api::Answer;
use crate::api::http::call::Call;
use crate::api::http::route::{Route, raw};
use crate::api::http::shape::{Field, Shape, map, one, text, word};
use crate::app::App;
use crate::concurrency::Place;
use crate::coordinator::{Change, EventId, RunEvent};
use crate::error::{Error, Result};
use crate::people::caller;
use crate::store;
use crate::store::jobs::{self, JobField};
use crate::store::market::runs;
use crate::store::query::selection::{Comparison, Operand, Rest, Selection, Start, Test};

/// Says that the stream is alive while nothing happens, and finds out who has gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The most jobs of a fresh start, newest first.
const RESET_JOBS_MAX: u64 = 1_000;

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
    /// What is to be told before anything new.
    first: VecDeque<RunEvent>,
    /// Events are lost: the state of things is told in their place.
    reset: bool,
    _place: Place<WorkspaceId>,
}

/// Streams what happens. `Last-Event-ID` (or `lastEventId` in the query) asks for what came after
/// an event; where that is no longer known, a `reset` event tells the state of things instead.
async fn events(call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let query = call.query()?;
    let job = match query.get("jobId").filter(|id| !id.is_empty()) {
        None => None,
        Some(id) => {
            let id = id.parse().map_err(|e: NotAnId| Error::field("jobId", e.to_string()))?;
            Some(id)
        }
    };
    let accept = call.headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    let format =
        if accept.contains("text/event-stream") { Format::ServerSent } else { Format::Lines };
    let last = call.headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let last = last.or(query.get("lastEventId").map(String::as_str)).filter(|id| !id.is_empty());
    let (missed, heard) = match last.map(str::parse::<EventId>) {
        None => (Some(Vec::new()), call.app().coordinator.events()),
        Some(Ok(last)) => call.app().coordinator.events_after(last),
        Some(Err(_)) => (None, call.app().coordinator.events()),
    };
    let doors = call.doors();
    let place = doors.places.streams.try_take(caller.workspace)?;
    let listener = Listener {
        app: call.app().clone(),
        events: heard,
        stop: doors.stop.clone(),
        workspace: caller.workspace,
        job,
        format,
        reset: missed.is_none(),
        first: missed.unwrap_or_default().into(),
        _place: place,
    };
    let gone = Box::pin(caller::gone(call.app().clone(), caller));
    let stream = futures::StreamExt::take_until(stream(listener), gone);
    let mut answer = warp::reply::stream(SyncStream::new(stream)).into_response();
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
        if std::mem::take(&mut self.reset) {
            return self.state_of_things().await;
        }
        while let Some(event) = self.first.pop_front() {
            if self.hears(&event) {
                return Some(self.write(&event).await);
            }
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
                Ok(event) if self.hears(&event) => return Some(self.write(&event).await),
                Ok(_) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    return self.state_of_things().await;
                }
            }
        }
    }

    /// A `reset` event: the states of the workspace's jobs, or of the one that is listened to. A
    /// listener forgets what it knew, and hears from here on what changes.
    async fn state_of_things(&self) -> Option<Vec<u8>> {
        match self.states().await {
            Ok(jobs) => Some(self.format.event(None, "reset", &json!({ "jobs": jobs }))),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "event stream ended");
                None
            }
        }
    }

    async fn states(&self) -> std::result::Result<Vec<Value>, store::Error> {
        let id = |job: JobId| Test::Compare(Comparison::Equal, Operand::Uuid(job.uuid()));
        let mut selection = Selection {
            tests: self.job.map(|job| (JobField::Id, id(job))).into_iter().collect(),
            order: vec![(JobField::CreatedAt, true)],
            start: Start::Place(None),
            limit: RESET_JOBS_MAX,
        };
        let mut states = Vec::new();
        // Jobs with large documents come on pages of few.
        loop {
            let found = jobs::list(&self.app.db, self.workspace, &selection).await?;
            states.extend(self.states_of(&found.rows).await?);
            selection.limit = selection.limit.saturating_sub(found.rows.len() as u64);
            match found.rest {
                Rest::After(Some(place)) if selection.limit > 0 => {
                    selection.start = Start::Place(Some(place));
                }
                Rest::After(_) | Rest::Total(_) => return Ok(states),
            }
        }
    }

    async fn states_of(
        &self,
        found: &[jobs::Job],
    ) -> std::result::Result<Vec<Value>, store::Error> {
        let db = &self.app.db;
        let ids: Vec<_> = found.iter().map(|job| job.id).collect();
        let runs = runs::find_by_jobs(db, self.workspace, &ids).await?;
        let by_job: HashMap<_, _> = runs.iter().map(|run| (run.job, run)).collect();
        let state = |job: &jobs::Job| {
            let run = by_job.get(&job.id).copied();
            json!({
                "jobId": job.id,
                "runId": run.map(|run| run.id),
                "state": states::of_job(run),
                "errorMessage": run.and_then(|run| run.error.as_deref()),
            })
        };
        Ok(found.iter().map(state).collect())
    }

    fn hears(&self, event: &RunEvent) -> bool {
        event.workspace == self.workspace && self.job.is_none_or(|job| job == event.job)
    }

    async fn write(&self, event: &RunEvent) -> Vec<u8> {
        let mut text = Vec::new();
        for (name, data) in event_out::describe(&self.app, event).await {
            text.extend(self.format.event(Some(event.id), name, &data));
        }
        // Progress has no event of its own: it is told with each change of a task.
        if let Change::Task { .. } = event.change
            && let Some(progress) = self.app.coordinator.progress(event.run)
        {
            let data = json!({
                "jobId": event.job,
                "runId": event.run,
                "chunks": progress.chunks,
                "chunksDone": progress.chunks_done,
                "tasksWithoutResults": progress.tasks_without_results,
                "tasksRunning": progress.tasks_running,
                "nodesBusy": progress.nodes_busy,
                "spent": progress.spent,
            });
            text.extend(self.format.event(Some(event.id), "job.progress", &data));
        }
        text
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

    fn event(self, id: Option<EventId>, name: &str, data: &Value) -> Vec<u8> {
        let id = id.map_or_else(String::new, |id| id.to_string());
        match self {
            // An empty id makes a client forget its last: it is of no use any more.
            Self::ServerSent => format!("id: {id}\nevent: {name}\ndata: {data}\n\n"),
            Self::Lines => {
                format!("{}\n", json!({"result": {"event": name, "data": data, "id": id}}))
            }
        }
        .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::StreamExt as _;

    use super::*;
    use crate::api::testing::Door;

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
        let id = door.running_job().await;
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

    async fn listen_after(door: &Door, last: &str, query: &str) -> reqwest::Response {
        let url = format!("{}/v1/customer/events{query}", door.url);
        let asked = door.client.get(url).header("authorization", &door.key);
        let asked = asked.header("accept", "text/event-stream").header("last-event-id", last);
        asked.send().await.unwrap()
    }

    #[tokio::test]
    async fn a_stream_goes_on_where_it_broke_off() {
        let door = Door::open().await;
        let mut before = listen(&door, &door.key, "text/event-stream").await;
        let id = run_a_job(&door).await;
        let whole = read_until(&mut before, "JOB_STATE_FAILED").await;
        let first = whole.lines().find_map(|line| line.strip_prefix("id: ")).unwrap();
        drop(before);

        let mut after = listen_after(&door, first, "").await;
        let rest = read_until(&mut after, "JOB_STATE_FAILED").await;

        assert!(rest.contains(&id) && !rest.contains("event: reset"), "{rest}");
        assert!(!rest.contains(&format!("id: {first}\n")), "{rest}");
    }

    #[tokio::test]
    async fn an_unknown_last_event_is_answered_with_the_state_of_things() {
        let door = Door::open().await;
        let id = run_a_job(&door).await;
        let draft = door.job(json!({"templateId": "t"})).await;
        for (last, query, told) in [
            ("1-1", String::new(), 2),
            ("nonsense", String::new(), 2),
            ("1-1", format!("?jobId={draft}"), 1),
        ] {
            let mut answer = listen_after(&door, last, &query).await;

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
