//! Callbacks: requests that tell a receiver how a run goes on: that it has begun, and how it has
//! ended.

use std::collections::BTreeSet;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use super::RunState;
use super::cause::Cause;
use super::spec::{EventScope, RunSpec};
use crate::call::CallTask;
use crate::expression::Template;
use crate::ids::{JobId, RunId};
use crate::money::credits::Credits;
use crate::plan::{Block, Body, Plan, PlanError};

/// The most callbacks of a run.
pub const CALLBACKS_MAX: usize = 8;
/// The numbers of callbacks that are told that a run is worked on are behind those of its end.
const RUNNING_FROM: u32 = 8;
/// Of a message, so that an event stays far below what a request may send.
const MESSAGE_CHARS_MAX: usize = 16 * 1024;
/// Of what a run gives, as conditions and bodies of callbacks read it.
const OUTPUT_CHARS_MAX: usize = 64 * 1024;

/// A receiver of what becomes of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Callback {
    /// What it is told of.
    pub on: BTreeSet<RunEvent>,
    /// It is told nothing where this gives the text `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Template>,
    /// The request without a body, which is the event, unless a late text says otherwise.
    pub task: CallTask,
}

/// What becomes of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunEvent {
    /// Something of it is worked on.
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

impl RunEvent {
    pub const ALL: [Self; 4] = [Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];
    /// How a run can end.
    pub const ENDS: [Self; 3] = [Self::Succeeded, Self::Failed, Self::Cancelled];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.as_str() == name)
    }

    /// The end that a state is, where it is one.
    pub const fn of_end(state: RunState) -> Option<Self> {
        match state {
            RunState::Succeeded => Some(Self::Succeeded),
            RunState::Failed => Some(Self::Failed),
            RunState::Cancelled => Some(Self::Cancelled),
            RunState::Scheduled | RunState::Accepted | RunState::Running | RunState::Ending => None,
        }
    }

    /// The number of a callback that is told of it, among all that are told of its run.
    pub fn number(self, callback: u32) -> u32 {
        match self {
            Self::Running => callback.saturating_add(RUNNING_FROM),
            Self::Succeeded | Self::Failed | Self::Cancelled => callback,
        }
    }
}

/// What has become of a run, as its receivers are told.
#[derive(Debug)]
pub struct ToldRun<'a> {
    pub id: RunId,
    pub spec: &'a RunSpec,
    pub event: RunEvent,
    pub at: DateTime<Utc>,
    pub cause: Option<&'a Cause>,
    pub accepted_at: Option<DateTime<Utc>>,
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub price: Credits,
    /// What it gives.
    pub output: Option<&'a str>,
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
    ended_at: Option<DateTime<Utc>>,
    price: Credits,
}

#[derive(Serialize)]
struct EventCause {
    kind: &'static str,
    message: String,
}

impl Callback {
    /// What tells the receiver: a plan of one call, which reads what [`ToldRun::scope`] gives.
    pub fn plan(&self, told: &ToldRun<'_>) -> Plan {
        let mut task = self.task.clone();
        task.call.body = Some(told.body());
        self.plan_of(task).expect("one block with a call that was checked is a plan")
    }

    /// # Errors
    /// It reads what no receiver is told.
    pub fn plan_of(&self, task: CallTask) -> Result<Plan, PlanError> {
        let body = Body::Call(Box::new(task));
        Plan::new(vec![Block { when: self.when.clone(), ..Block::new("callback", body) }])
    }
}

impl ToldRun<'_> {
    /// What expressions know of it.
    pub fn scope(&self) -> EventScope {
        let time = |at: Option<DateTime<Utc>>| {
            at.map(|at| at.to_rfc3339_opts(SecondsFormat::AutoSi, true)).unwrap_or_default()
        };
        let cut = |text: &str, most: usize| text.chars().take(most).collect();
        let cause = self.cause.map(|cause| cause.message.as_str()).unwrap_or_default();
        [
            ("state", self.event.as_str().to_owned()),
            ("run", self.id.to_string()),
            ("job", self.spec.job.to_string()),
            ("name", self.spec.name.clone()),
            ("at", time(Some(self.at))),
            ("accepted_at", time(self.accepted_at)),
            ("started_at", time(self.started_at)),
            ("ended_at", time(self.ended_at)),
            ("cause", self.cause.map_or("", |cause| cause.kind.as_str()).to_owned()),
            ("error", cut(cause, MESSAGE_CHARS_MAX)),
            ("output", cut(self.output.unwrap_or_default(), OUTPUT_CHARS_MAX)),
            ("price", self.price.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    fn body(&self) -> String {
        let state = self.event.as_str();
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
        let event = Event { r#type: format!("run.{state}"), timestamp: self.at, data };
        serde_json::to_string(&event).expect("an event is written as JSON")
    }
}
