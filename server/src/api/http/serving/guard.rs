//! What every request passes before warp gets it, and every answer after.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Buf as _;
use futures::FutureExt as _;
use hyper::Request;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::Service;
use tokio::time::Instant;
use warp::http::Response;

use super::connection::Connection;
use super::exchange::Open;
use super::headers::secure;
use super::request_id::{self, RequestId};
use super::table::{Peer, Seat};
use super::target::path_of;
use crate::api::Answer;
use crate::api::http::problem_json::ERRORS;
use crate::error::Error;
use crate::metrics::Metrics;

/// A body that tells its connection when it is over, and the log what was sent.
pub struct Told<B> {
    body: Pin<Box<B>>,
    connection: Arc<Connection>,
    open: Open,
}

/// Answers one request. Nothing that it does or says ends the connection without an answer.
pub async fn answer<S>(
    routes: S,
    seat: Arc<Seat>,
    metrics: Arc<Metrics>,
    request: Request<Incoming>,
) -> Result<Response<Told<impl Body<Data = bytes::Bytes, Error = warp::Error>>>, Infallible>
where
    S: Service<Request<Incoming>, Response = Answer, Error = Infallible>,
{
    let connection = seat.connection.clone();
    connection.begin_request();
    // Anybody else could make the log say what they like.
    let given = if seat.is_of_proxy() { RequestId::read(request.headers()) } else { None };
    let mut open = Open::new(given.unwrap_or_else(RequestId::generate), request.method(), metrics);
    let mut answer = open.answer(answered(routes, &seat, request)).await;
    secure(answer.headers_mut());
    answer.headers_mut().insert(request_id::HEADER, open.id().header());
    open.answered(answer.status());
    Ok(answer.map(|body| Told { body: Box::pin(body), connection, open }))
}

/// The answer, whether or not the request reaches the routes.
async fn answered<S>(routes: S, seat: &Arc<Seat>, request: Request<Incoming>) -> Answer
where
    S: Service<Request<Incoming>, Response = Answer, Error = Infallible>,
{
    let target = match path_of(request.method(), request.uri()) {
        Ok(target) => target,
        Err(rejected) => return ERRORS.answer(&rejected.into()),
    };
    let (mut parts, body) = request.into_parts();
    parts.uri = target;
    parts.extensions.insert(Peer::new(seat));
    let request = Request::from_parts(parts, body);
    tokio::select! {
        answer = routed(routes, request) => answer,
        () = no_progress(&seat.connection) => {
            tracing::warn!("request given up: it took too long");
            ERRORS.answer(&ERRORS.problem(&Error::Unavailable))
        }
    }
}

/// The routes' answer. A panic is an error of ours and not the end of the connection; the hook for
/// panics has logged where it was.
async fn routed<S>(routes: S, request: Request<Incoming>) -> Answer
where
    S: Service<Request<Incoming>, Response = Answer, Error = Infallible>,
{
    let answering = AssertUnwindSafe(async { routes.call(request).await }).catch_unwind();
    match answering.await {
        Ok(Ok(answer)) => answer,
        Err(_) => ERRORS.answer(&ERRORS.problem(&Error::Internal("a handler panicked".into()))),
    }
}

/// Waits until a request has neither been answered nor taken in a part of its body for too long.
async fn no_progress(connection: &Connection) {
    loop {
        let end = connection.last_progress() + connection.limits.request;
        if end <= Instant::now() {
            return;
        }
        tokio::time::sleep_until(end).await;
    }
}

impl<B: Body> Body for Told<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let Self { body, open, .. } = &mut *self;
        let polled = {
            let _span = open.enter();
            body.as_mut().poll_frame(cx)
        };
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            open.sent(data.remaining());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Told<B> {
    fn drop(&mut self) {
        self.connection.end_request();
    }
}
