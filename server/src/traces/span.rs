//! One span, as the exporter takes it, and the ways in which it can end.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use common::market::{TaskRecord, TaskState};
use common::run::RunState;
use opentelemetry::trace::{Event, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::ended::About;
use super::ids;

/// The most characters of a reason.
const REASON_MAX: usize = 300;

/// What a span tells, beside what all spans of its run tell.
pub struct Span<'a> {
    pub id: SpanId,
    pub parent: SpanId,
    pub name: Cow<'static, str>,
    pub began: DateTime<Utc>,
    pub ended: DateTime<Utc>,
    pub end: End,
    /// Why it was no success.
    pub reason: Option<&'a str>,
    pub attributes: Vec<KeyValue>,
    pub events: Vec<(&'static str, DateTime<Utc>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Succeeded,
    /// By its own doing, as far as anybody knows.
    Failed,
    /// An attempt whose node gave no receipt.
    Lost,
    Cancelled,
    /// Its run failed before it had ended.
    Unfinished,
}

impl Span<'_> {
    pub fn of(self, run: &About) -> SpanData {
        let status = match self.end {
            End::Succeeded => Status::Ok,
            End::Cancelled => Status::Unset,
            End::Failed | End::Lost | End::Unfinished => {
                Status::error(self.reason.map_or_else(String::new, short))
            }
        };
        let mut attributes = self.attributes;
        attributes.extend([
            KeyValue::new("fanfold.run", run.id.to_string()),
            KeyValue::new("fanfold.job", run.spec.job.to_string()),
            KeyValue::new("fanfold.workspace", run.spec.workspace.to_string()),
            KeyValue::new("fanfold.outcome", self.end.as_str()),
        ]);
        let mut events = SpanEvents::default();
        let event =
            |(name, at): (&'static str, DateTime<Utc>)| Event::new(name, at.into(), vec![], 0);
        events.events.extend(self.events.into_iter().map(event));
        let (flags, state) = (TraceFlags::SAMPLED, TraceState::default());
        let scope =
            InstrumentationScope::builder("fanfold").with_version(env!("CARGO_PKG_VERSION"));
        SpanData {
            span_context: SpanContext::new(ids::trace(run.id), self.id, flags, false, state),
            parent_span_id: self.parent,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: self.name,
            start_time: self.began.into(),
            // The clock may have been set back.
            end_time: self.ended.max(self.began).into(),
            attributes,
            dropped_attributes_count: 0,
            events,
            links: SpanLinks::default(),
            status,
            instrumentation_scope: scope.build(),
        }
    }
}

impl End {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Lost => "lost",
            Self::Cancelled => "cancelled",
            Self::Unfinished => "unfinished",
        }
    }

    pub const fn of_run(state: RunState) -> Self {
        match state {
            RunState::Succeeded => Self::Succeeded,
            RunState::Ending | RunState::Cancelled => Self::Cancelled,
            RunState::Scheduled | RunState::Accepted | RunState::Running | RunState::Failed => {
                Self::Failed
            }
        }
    }

    /// Of what ended because its run did.
    pub const fn with_run(state: RunState) -> Self {
        match Self::of_run(state) {
            Self::Cancelled => Self::Cancelled,
            Self::Succeeded | Self::Failed | Self::Lost | Self::Unfinished => Self::Unfinished,
        }
    }

    /// Of a task, and of its last attempt.
    pub const fn of_task(run: RunState, record: &TaskRecord) -> Self {
        match (record.state, &record.receipt) {
            (TaskState::Done, _) => Self::Succeeded,
            (TaskState::Waiting | TaskState::Leased | TaskState::Failed, Some(_)) => Self::Failed,
            (TaskState::Waiting | TaskState::Leased | TaskState::Failed, None) => {
                Self::with_run(run)
            }
        }
    }

    /// Of an attempt after which its task goes on.
    pub const fn of_attempt(record: &TaskRecord) -> Self {
        if record.receipt.is_some() { Self::Failed } else { Self::Lost }
    }
}

fn short(reason: &str) -> String {
    reason.chars().take(REASON_MAX).collect()
}
