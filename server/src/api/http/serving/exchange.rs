//! One request with its answer, as the log shows it: its id, the span of all log lines that are
//! written while it is handled, and its line in the access log.
//!
//! The exchange is a value of the task that answers the request. So whatever writes an answer
//! finds the id there, and no handler passes it on.

use std::sync::{Arc, OnceLock};

use tokio::time::Instant;
use tracing::field::Empty;
use tracing::span::Entered;
use tracing::{Instrument as _, Span};
use warp::http::{Method, StatusCode};

use super::request_id::RequestId;
use crate::metrics::Metrics;
use crate::people::caller::Caller;

tokio::task_local! {
    static CURRENT: Arc<Exchange>;
}

/// The route of a path that no route has.
const UNKNOWN: &str = "unknown";
/// The status in the log where the client closed the connection before it got an answer.
const NO_ANSWER: u16 = 499;

/// What is known of a request.
struct Exchange {
    id: RequestId,
    method: &'static str,
    /// The pattern of its path.
    route: OnceLock<Arc<str>>,
    caller: OnceLock<Caller>,
    began: Instant,
    span: Span,
}

/// A request from its head to the end of its answer. Dropping it is the end.
pub struct Open {
    exchange: Arc<Exchange>,
    metrics: Arc<Metrics>,
    status: u16,
    /// Of the answer's body.
    bytes: u64,
}

impl Open {
    pub fn new(id: RequestId, method: &Method, metrics: Arc<Metrics>) -> Self {
        let method = known_name(method);
        // An error's span, so that a log of errors alone has it too.
        let span = tracing::error_span!("request", request_id = %id, method, route = Empty);
        let (route, caller) = (OnceLock::new(), OnceLock::new());
        let exchange = Exchange { id, method, route, caller, began: Instant::now(), span };
        Self { exchange: Arc::new(exchange), metrics, status: NO_ANSWER, bytes: 0 }
    }

    pub fn id(&self) -> &RequestId {
        &self.exchange.id
    }

    /// Answers the request: the work is done in its span, and finds its id.
    pub fn answer<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        CURRENT.scope(self.exchange.clone(), work).instrument(self.exchange.span.clone())
    }

    /// The head of the answer is known.
    pub fn answered(&mut self, status: StatusCode) {
        self.status = status.as_u16();
        let Exchange { method, began, .. } = &*self.exchange;
        self.metrics.http.answered(method, self.exchange.route(), self.status, began.elapsed());
    }

    /// A part of the answer's body is sent.
    pub fn sent(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// Enters the request's span, for what writes the answer's body.
    pub fn enter(&self) -> Entered<'_> {
        self.exchange.span.enter()
    }
}

impl Exchange {
    /// The pattern of the path, or a word for a path that no route has.
    fn route(&self) -> &str {
        self.route.get().map_or(UNKNOWN, |route| route)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        ended(&self.exchange, self.status, self.bytes);
    }
}

/// The one place where each request ends: answered, failed, or left by its client.
fn ended(exchange: &Exchange, status: u16, bytes: u64) {
    let Exchange { id, method, caller, began, .. } = exchange;
    let route = exchange.route();
    let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (workspace, caller) = match caller.get() {
        Some(caller) => (caller.workspace.to_string(), caller.log_name()),
        None => ("-".to_owned(), "-".to_owned()),
    };
    tracing::info!(
        target: "access",
        parent: None,
        request_id = %id,
        method,
        route,
        status,
        ms,
        bytes,
        %workspace,
        %caller,
        "request ended"
    );
}

/// The id of the request that this task answers; empty where it answers none.
pub fn request_id() -> String {
    CURRENT.try_with(|exchange| exchange.id.to_string()).unwrap_or_default()
}

/// Notes the pattern of the route that the request's path has.
pub fn note_route(pattern: &Arc<str>) {
    // A router by itself, as some tests have it, answers no request.
    let _ = CURRENT.try_with(|exchange| {
        exchange.span.record("route", &**pattern);
        let _ = exchange.route.set(Arc::clone(pattern));
    });
}

/// Notes who makes the request.
pub fn note_caller(caller: Caller) {
    let _ = CURRENT.try_with(|exchange| exchange.caller.set(caller));
}

/// The method, where it is one that routes have: a client can make up any number of others.
fn known_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
