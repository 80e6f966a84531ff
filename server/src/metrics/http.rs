//! Requests of the HTTP APIs.

use std::time::Duration;

use instruments::{Builder, HistogramVec, IntCounterVec};

/// The answer to a wait or a download can take long, so the buckets go far.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

#[derive(Debug)]
pub struct HttpMetrics {
    requests: IntCounterVec,
    durations: HistogramVec,
}

impl HttpMetrics {
    pub(super) fn new(builder: &mut Builder) -> Self {
        Self {
            requests: builder.counters(
                "fanfold_http_requests_total",
                "Requests that have been answered; `route` is the pattern of the path, and \
                 `status` the class, such as `2xx`",
                &["method", "route", "status"],
            ),
            durations: builder.histograms(
                "fanfold_http_request_duration_seconds",
                "Time from the head of a request to the head of its answer",
                &["method", "route"],
                &BUCKETS,
            ),
        }
    }

    /// Counts a request. Clients can make up methods and paths: `method` is one that the server
    /// knows, and `route` is one of the table of routes, or each is the word for all others.
    pub fn answered(&self, method: &str, route: &str, status: u16, took: Duration) {
        self.requests.with_label_values(&[method, route, class(status)]).inc();
        self.durations.with_label_values(&[method, route]).observe(took.as_secs_f64());
    }
}

const fn class(status: u16) -> &'static str {
    match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}
