//! The whole log of a run as a text, streamed.

use std::fmt::Write as _;
use std::io;

use bytes::Bytes;
use common::error_chain::chain;
use common::ids::RunId;
use futures::TryStreamExt as _;
use sync_wrapper::SyncStream;
use warp::Reply as _;
use warp::http::Method;
use warp::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};

use crate::api::Answer;
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Route, raw};
use crate::error::Result;
use crate::jobs::monitoring::whole_log;
use crate::jobs::monitoring::whole_log::Line;

const MEDIA: &str = "text/plain; charset=utf-8";

pub fn routes() -> Vec<Route> {
    vec![
        raw(Method::GET, "Fanfold_DownloadLog", "/runs/{run}/logs/download", MEDIA, download)
            .summary(
                "Downloads a run's log: time, stage, task, attempt, stream, text of each line",
            ),
    ]
}

async fn download(run: Segment, call: Call) -> Result<Answer> {
    let caller = call.caller().await?;
    let place = call.state().permits.downloads.take(caller.workspace).await?;
    let parts = whole_log::read(call.app(), &caller, run.id::<RunId>("run")?).await?;
    let texts = parts.map_ok(move |lines| {
        // It is held until the stream ends.
        let _ = &place;
        Bytes::from(text(&lines))
    });
    let texts = texts.map_err(|error| {
        tracing::error!(error = %chain(&error), "a download of a log broke off");
        io::Error::other(error)
    });
    let mut answer = warp::reply::stream(SyncStream::new(texts)).into_response();
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

fn text(lines: &[Line]) -> String {
    let mut text = String::new();
    for Line { stage, index, attempt, at, stream, text: said, .. } in lines {
        let at = at.format("%Y-%m-%dT%H:%M:%S%.6fZ");
        let stream = whole_log::name_of(*stream);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{at} {stage} {index} {attempt} {stream} {said}");
    }
    text
}
