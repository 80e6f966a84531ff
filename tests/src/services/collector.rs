//! A collector of traces on loopback: it takes OTLP over HTTP and keeps every span.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::{Context as _, Result, ensure};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1;
use prost::Message as _;
use tokio::net::TcpListener;

use crate::wait::until;

pub struct Collector {
    pub url: String,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    spans: Vec<Span>,
    /// All requests, as they are printed.
    text: String,
}

/// A span, with its attributes as texts.
#[derive(Debug, Clone)]
pub struct Span {
    pub trace: String,
    pub id: String,
    /// Empty where it has none.
    pub parent: String,
    pub name: String,
    pub attributes: BTreeMap<String, String>,
    pub events: Vec<String>,
    /// Nanoseconds since 1970.
    pub began: u64,
    pub ended: u64,
}

impl Collector {
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let taken: Arc<Mutex<Taken>> = Arc::default();
        let kept = Arc::clone(&taken);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let kept = Arc::clone(&kept);
                let answer = service_fn(move |request: Request<Incoming>| {
                    let kept = Arc::clone(&kept);
                    async move {
                        let taken = take(request, &kept).await;
                        let status = if taken.is_ok() { 200 } else { 400 };
                        let status = StatusCode::from_u16(status).expect("a plain status");
                        let answer = Response::builder().status(status);
                        let answer = answer.header("content-type", "application/x-protobuf");
                        let answer = answer.body(reqwest::Body::default());
                        Ok::<_, Infallible>(answer.expect("its header is plain"))
                    }
                });
                let serve = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), answer);
                tokio::spawn(serve);
            }
        });
        Ok(Self { url, taken })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().expect("no request panics")
    }

    /// Everything that was sent, headers too.
    pub fn text(&self) -> String {
        self.taken().text.clone()
    }

    /// The spans of a job so far.
    pub fn spans_of(&self, job: &str) -> Vec<Span> {
        let is_of = |span: &&Span| span.attributes.get("fanfold.job").is_some_and(|id| id == job);
        self.taken().spans.iter().filter(is_of).cloned().collect()
    }

    /// Waits until a job has a span of this name, and gives all that it has.
    pub async fn has(&self, job: &str, name: &str) -> Result<Vec<Span>> {
        until(&format!("the span {name:?} of job {job}"), async || {
            let spans = self.spans_of(job);
            Ok(spans.iter().any(|span| span.name == name).then_some(spans))
        })
        .await
    }
}

async fn take(request: Request<Incoming>, taken: &Mutex<Taken>) -> Result<()> {
    ensure!(request.uri().path() == "/v1/traces", "{}", request.uri());
    let headers = format!("{:?}\n", request.headers());
    let (mut body, mut bytes) = (pin!(request.into_body()), Vec::new());
    while let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
        bytes.extend(frame?.into_data().ok().context("a trailer")?);
    }
    let sent = ExportTraceServiceRequest::decode(&bytes[..])?;
    let mut taken = taken.lock().expect("no request panics");
    taken.text += &format!("{headers}{sent:?}\n");
    for part in sent.resource_spans {
        let spans = part.scope_spans.into_iter().flat_map(|scope| scope.spans);
        taken.spans.extend(spans.map(Span::from));
    }
    Ok(())
}

impl From<v1::Span> for Span {
    fn from(span: v1::Span) -> Self {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            name: span.name,
            attributes: span.attributes.into_iter().map(text).collect(),
            events: span.events.into_iter().map(|event| event.name).collect(),
            began: span.start_time_unix_nano,
            ended: span.end_time_unix_nano,
        }
    }
}

fn text(attribute: KeyValue) -> (String, String) {
    let value = match attribute.value {
        Some(AnyValue { value: Some(Value::StringValue(text)) }) => text,
        Some(AnyValue { value: Some(Value::IntValue(number)) }) => number.to_string(),
        other => format!("{other:?}"),
    };
    (attribute.key, value)
}
