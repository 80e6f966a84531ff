//! Streams of events: server-sent events, or one JSON object a line. What the events are called and
//! what they say is an API's.

use std::time::Duration;

use bytes::Bytes;
use common::error_chain::chain;
use common::ids::{JobId, WorkspaceId};
use futures::{Stream, StreamExt as _};
use serde_json::{Value, json};
use sync_wrapper::SyncStream;
use tokio_util::sync::CancellationToken;
use warp::Reply as _;
use warp::http::HeaderMap;
use warp::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};

use super::call::Call;
use crate::api::Answer;
use crate::error::Result;
use crate::jobs::monitoring::events::{Event, EventId, Listener, Report, Since, Summary, listen};
use crate::limits::concurrency::Permit;
use crate::people::caller::{self, Caller};

/// Says that the stream is alive while nothing happens, and finds out who has gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// An API's words for events.
#[derive(Clone, Copy)]
pub struct Words {
    /// The names of the events that tell of one, and their data.
    pub describe: fn(Event) -> Vec<(&'static str, Value)>,
    /// The data of the event `reset`: the states of jobs, in place of events that were lost.
    pub reset: fn(Vec<Summary>) -> Value,
}

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    ServerSent,
    Lines,
}

/// A stream of what a listener hears.
struct Feed {
    listener: Listener,
    words: Words,
    format: Format,
    stop: CancellationToken,
    _place: Permit<WorkspaceId>,
}

/// Streams what happens to the caller's jobs, or to one of them. The header `Last-Event-ID`, or
/// `last` in its place, asks for what came after an event.
pub fn answer(
    call: &Call,
    caller: Caller,
    job: Option<JobId>,
    last: Option<&str>,
    words: Words,
) -> Result<Answer> {
    let accept = call.headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    let format =
        if accept.contains("text/event-stream") { Format::ServerSent } else { Format::Lines };
    let header = call.headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let since = match header.or(last).filter(|id| !id.is_empty()).map(str::parse::<EventId>) {
        None => Since::Now,
        Some(Ok(last)) => Since::After(last),
        Some(Err(_)) => Since::States,
    };
    let state = call.state();
    let place = state.permits.streams.try_take(caller.workspace)?;
    let listener = listen(call.app(), &caller, job, since);
    let feed = Feed { listener, words, format, stop: state.stop.clone(), _place: place };
    let gone = Box::pin(caller::gone(call.app().clone(), caller));
    let mut answer =
        warp::reply::stream(SyncStream::new(stream(feed).take_until(gone))).into_response();
    let headers: &mut HeaderMap = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

fn stream(feed: Feed) -> impl Stream<Item = std::io::Result<Bytes>> + Send {
    let first = feed.format.comment();
    let opening = futures::stream::iter([Ok(Bytes::from_static(first))]);
    let rest = futures::stream::unfold(feed, |mut feed| async {
        let text = feed.next().await?;
        Some((Ok(Bytes::from(text)), feed))
    });
    // The first bytes go out at once, so that the client knows it listens.
    opening.chain(rest)
}

impl Feed {
    /// The next piece of the stream, or `None` at its end.
    async fn next(&mut self) -> Option<Vec<u8>> {
        let signal = tokio::select! {
            () = self.stop.cancelled() => return None,
            () = tokio::time::sleep(KEEP_ALIVE) => return Some(self.format.comment().to_vec()),
            signal = self.listener.next() => signal?,
        };
        match self.listener.report(signal).await {
            Ok(Report::Reset(jobs)) => {
                Some(self.format.event(None, "reset", &(self.words.reset)(jobs)))
            }
            Ok(Report::Event(event)) => {
                let id = Some(event.id);
                let events = (self.words.describe)(event).into_iter();
                Some(events.flat_map(|(name, data)| self.format.event(id, name, &data)).collect())
            }
            Err(error) => {
                tracing::error!(error = %chain(&error), "event stream ended");
                None
            }
        }
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
