//! Sends spans to a collector, one request after the other. One that does not answer costs a
//! warning a minute.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use opentelemetry::KeyValue;
use opentelemetry_otlp::{
    ExporterBuildError, RetryPolicy, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::ended::{Ended, TaskEnd, What};
use super::spans;
use crate::config::TracesConfig;
use crate::data::ssrf_guard;
use crate::store::Db;
use crate::store::market::tasks::attempts;

/// What has ended that one request tells of.
const REQUEST_MAX: usize = 512;
/// Between two requests, unless so much waits that they would be full.
const PAUSE: Duration = Duration::from_millis(500);
/// A request that fails is sent again after waits that double, four times and for this long.
const RETRIES: usize = 4;
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LAST_WAIT: Duration = Duration::from_secs(4);
const RETRYING: Duration = Duration::from_secs(10);
/// The longest that a request may take, with all that.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// Between two warnings.
const WARNINGS: Duration = Duration::from_secs(60);
/// How long what is left may take when the server stops.
const LAST: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the HTTP client for the collector of traces cannot be made")]
    Client(#[from] reqwest::Error),
    #[error("traces.otlp_endpoint: the collector cannot be used")]
    Exporter(#[from] ExporterBuildError),
}

pub fn exporter(url: &Url, config: &TracesConfig) -> Result<SpanExporter, Error> {
    let retries = RetryPolicy::default()
        .with_max_retries(RETRIES)
        .with_initial_delay(FIRST_WAIT)
        .with_max_delay(LAST_WAIT);
    let mut exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(ssrf_guard::own_client()?)
        .with_endpoint(url.as_str())
        .with_headers(config.headers.0.clone())
        .with_timeout(RETRYING)
        .with_retry_policy(retries)
        .build()?;
    let resource = Resource::builder_empty()
        .with_service_name(config.service_name.clone())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    exporter.set_resource(&resource.build());
    Ok(exporter)
}

/// The task that sends.
pub struct Exporting {
    exporter: SpanExporter,
    db: Db,
    waiting: mpsc::Receiver<Ended>,
    losses: Losses,
}

impl Exporting {
    /// `lost` also counts what found no place in the queue.
    pub fn new(
        exporter: SpanExporter,
        db: Db,
        waiting: mpsc::Receiver<Ended>,
        lost: Arc<AtomicU64>,
    ) -> Self {
        Self { exporter, db, waiting, losses: Losses { lost, warned: None, error: None } }
    }

    /// Sends until `stop`, and then what is left.
    pub async fn run(mut self, stop: CancellationToken) {
        let sending = self.send_all(&stop);
        tokio::pin!(sending);
        tokio::select! {
            () = &mut sending => return,
            () = stop.cancelled() => {}
        }
        if timeout(LAST, sending).await.is_err() {
            tracing::warn!("the collector of traces takes too long: the last spans are lost");
        }
    }

    /// Sends until the queue is closed.
    async fn send_all(&mut self, stop: &CancellationToken) {
        let mut ended = Vec::with_capacity(REQUEST_MAX);
        loop {
            let count = self.waiting.recv_many(&mut ended, REQUEST_MAX).await;
            if count == 0 {
                return;
            }
            let mut spans = Vec::with_capacity(2 * count);
            for ended in ended.drain(..) {
                let begun = begun(&self.db, &ended).await;
                spans.extend(spans::of(&ended, begun));
            }
            let sent = spans.len();
            if let Err(error) = self.send(spans).await {
                self.losses.count(sent, &error);
            }
            self.losses.warn();
            if count < REQUEST_MAX {
                stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
            }
        }
    }

    async fn send(&self, spans: Vec<SpanData>) -> OTelSdkResult {
        let sent = timeout(REQUEST_TIMEOUT, self.exporter.export(spans)).await;
        sent.unwrap_or(Err(OTelSdkError::Timeout(REQUEST_TIMEOUT)))
    }
}

/// When a task was first handed out. Its record has the time of its last attempt; those before
/// are stored beside it. Where they cannot be read, the span begins with the last.
pub(super) async fn begun(db: &Db, ended: &Ended) -> Option<DateTime<Utc>> {
    let What::Task(TaskEnd { record, .. }) = &ended.what else { return None };
    if record.attempt == 1 && record.leased_at.is_some() {
        return record.leased_at;
    }
    let before = attempts::find(db, record.task).await.unwrap_or_default();
    before.first().and_then(|first| first.leased_at)
}

/// Counts the spans that nobody gets, and warns of them once in a while.
struct Losses {
    lost: Arc<AtomicU64>,
    warned: Option<Instant>,
    /// The last one.
    error: Option<String>,
}

impl Losses {
    fn count(&mut self, spans: usize, error: &OTelSdkError) {
        self.lost.fetch_add(spans as u64, Ordering::Relaxed);
        self.error = Some(error.to_string());
    }

    fn warn(&mut self) {
        if self.warned.is_some_and(|at| at.elapsed() < WARNINGS) {
            return;
        }
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            self.warned = Some(Instant::now());
            let error = self.error.take();
            tracing::warn!(
                lost,
                error,
                "spans are lost: the collector of traces does not take them"
            );
        }
    }
}
