//! Callbacks: requests that tell a receiver how a run has ended.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::RunState;
use super::cause::Cause;
use super::spec::RunSpec;
use crate::call::CallTask;
use crate::ids::{JobId, RunId};
use crate::money::credits::Credits;
use crate::plan::{Block, Body, Plan};

/// The most callbacks of a run.
pub const CALLBACKS_MAX: usize = 8;
/// Of a message, so that an event stays far below what a request may send.
const MESSAGE_CHARS_MAX: usize = 16 * 1024;

/// A receiver of a run's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Callback {
    /// The ends that it is told of.
    pub on: BTreeSet<RunEnd>,
    /// The request without a body, which is the event.
    pub task: CallTask,
}

/// How a run can end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunEnd {
    Succeeded,
    Failed,
    Cancelled,
}

impl RunEnd {
    pub const ALL: [Self; 3] = [Self::Succeeded, Self::Failed, Self::Cancelled];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|end| end.as_str() == name)
    }

    /// The end that a state is, where it is one.
    pub const fn of(state: RunState) -> Option<Self> {
        match state {
            RunState::Succeeded => Some(Self::Succeeded),
            RunState::Failed => Some(Self::Failed),
            RunState::Cancelled => Some(Self::Cancelled),
            RunState::Scheduled | RunState::Accepted | RunState::Running | RunState::Ending => None,
        }
    }
}

/// How a run has ended, as its receivers are told.
#[derive(Debug)]
pub struct EndedRun<'a> {
    pub id: RunId,
    pub spec: &'a RunSpec,
    pub end: RunEnd,
    pub cause: Option<&'a Cause>,
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: DateTime<Utc>,
    pub price: Credits,
}

/// The body of a callback, in the shape that Standard Webhooks has.
#[derive(Serialize)]
struct Event<'a> {
    r#type: String,
    timestamp: DateTime<Utc>,
    data: EventData<'a>,
}

#[derive(Serialize)]
struct EventData<'a> {
    run: RunId,
    job: JobId,
    name: &'a str,
    state: &'static str,
    cause: Option<EventCause>,
    scheduled_for: Option<DateTime<Utc>>,
    started_at: Option<DateTime<Utc>>,
    ended_at: DateTime<Utc>,
    price: Credits,
}

#[derive(Serialize)]
struct EventCause {
    kind: &'static str,
    message: String,
}

impl Callback {
    /// What tells the receiver of this end: a plan of one call.
    pub fn plan(&self, ended: &EndedRun<'_>) -> Plan {
        let mut task = self.task.clone();
        task.call.body = Some(ended.event());
        let body = Body::Call(Box::new(task));
        Plan::new(vec![Block::new("callback", body)])
            .expect("one block with a call that was checked is a plan")
    }
}

impl EndedRun<'_> {
    fn event(&self) -> String {
        let state = self.end.as_str();
        let cause = self.cause.map(|cause| EventCause {
            kind: cause.kind.as_str(),
            message: cause.message.chars().take(MESSAGE_CHARS_MAX).collect(),
        });
        let data = EventData {
            run: self.id,
            job: self.spec.job,
            name: &self.spec.name,
            state,
            cause,
            scheduled_for: self.spec.origin.nominal(),
            started_at: self.started_at,
            ended_at: self.ended_at,
            price: self.price,
        };
        let event = Event { r#type: format!("run.{state}"), timestamp: self.ended_at, data };
        serde_json::to_string(&event).expect("an event is written as JSON")
    }
}
