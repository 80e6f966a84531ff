//! What receivers are told of a run: as the body of a request, and as values that expressions read.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::callback::{BlockState, CALLBACKS_MAX, RunEvent};
use super::cause::Cause;
use super::spec::{EventScope, RunSpec};
use super::task::TaskRef;
use crate::ids::{JobId, RunId, TaskId};
use crate::money::credits::Credits;
use crate::plan::{BlockId, Body};

/// Of a message, so that an event stays far below what a request may send.
const MESSAGE_CHARS_MAX: usize = 16 * 1024;
/// Of what a run gives, as conditions and bodies of callbacks read it.
const OUTPUT_CHARS_MAX: usize = 64 * 1024;

/// A block that is opened once, as receivers are told of it.
#[derive(Debug, Clone)]
pub struct ToldBlock {
    pub block: BlockId,
    pub state: BlockState,
    pub opened_at: DateTime<Utc>,
    /// What it gave.
    pub output: Option<Arc<str>>,
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
    /// How many of its outermost blocks have ended, and how many there are, while it goes on.
    pub blocks: Option<(usize, usize)>,
    /// The block that the event is of.
    pub block: Option<ToldBlock>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    blocks: Option<EventBlocks>,
    #[serde(skip_serializing_if = "Option::is_none")]
    block: Option<EventBlock<'a>>,
}

#[derive(Serialize)]
struct EventBlocks {
    done: usize,
    total: usize,
}

#[derive(Serialize)]
struct EventBlock<'a> {
    task: TaskId,
    name: &'a str,
    state: &'static str,
    opened_at: DateTime<Utc>,
}

#[derive(Serialize)]
struct EventCause {
    kind: &'static str,
    message: String,
}

impl ToldRun<'_> {
    /// The run that tells it to the receiver of this number.
    pub fn callback(&self, receiver: u32) -> RunId {
        let kind = match (self.event, &self.block) {
            (RunEvent::Succeeded | RunEvent::Failed | RunEvent::Cancelled, _) => 0,
            (RunEvent::Running, _) => 1,
            (RunEvent::Progress, _) => 2,
            (RunEvent::Block, Some(ToldBlock { state: BlockState::Running, .. })) => 3,
            (RunEvent::Block, _) => 4,
        };
        let receivers = u32::try_from(CALLBACKS_MAX).unwrap_or(u32::MAX);
        let number = receivers * kind + receiver;
        match &self.block {
            None => self.id.of_callback(number, self.at),
            Some(ToldBlock { block, .. }) => {
                self.id.of_block_callback(number, block.number(), self.at)
            }
        }
    }

    /// What expressions know of it.
    pub fn scope(&self) -> EventScope {
        let cause = self.cause.map(|cause| cause.message.as_str()).unwrap_or_default();
        let count = |n: Option<usize>| n.map(|n| n.to_string()).unwrap_or_default();
        let mut scope: EventScope = [
            ("type", self.event.as_str().to_owned()),
            ("state", self.event.state().to_owned()),
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
            ("blocks_done", count(self.blocks.map(|(done, _)| done))),
            ("blocks_total", count(self.blocks.map(|(_, total)| total))),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        scope.extend(self.block.iter().flat_map(|block| self.scope_of(block)));
        scope
    }

    /// What they know of the block.
    fn scope_of(&self, told: &ToldBlock) -> EventScope {
        let plan = &self.spec.plan;
        let place = plan.place(told.block).map(|place| (place + 1).to_string());
        [
            ("block", plan.block(told.block).name.clone()),
            ("block_state", told.state.as_str().to_owned()),
            ("block_opened_at", time(Some(told.opened_at))),
            ("block_output", cut(told.output.as_deref().unwrap_or_default(), OUTPUT_CHARS_MAX)),
            ("block_place", place.unwrap_or_default()),
            ("block_task", self.task_of(told.block).to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// What names the work of a block.
    fn task_of(&self, block: BlockId) -> TaskId {
        match self.spec.plan.block(block).body {
            Body::Container(_) => TaskRef { run: self.id, stage: block.stage(), index: 0 }.id(),
            Body::Group(_) | Body::Each(_) | Body::Child(_) | Body::Data(_) | Body::Call(_) => {
                TaskRef::of_stage(self.id, block.stage()).id()
            }
        }
    }

    /// The body of a callback.
    pub(super) fn body(&self) -> String {
        let kind = self.event.as_str();
        let cause = self.cause.map(|cause| EventCause {
            kind: cause.kind.as_str(),
            message: cut(&cause.message, MESSAGE_CHARS_MAX),
        });
        let data = EventData {
            run: self.id,
            job: self.spec.job,
            name: &self.spec.name,
            state: self.event.state(),
            cause,
            scheduled_for: self.spec.origin.nominal(),
            started_at: self.started_at,
            ended_at: self.ended_at,
            price: self.price,
            blocks: self.blocks.map(|(done, total)| EventBlocks { done, total }),
            block: self.block.as_ref().map(|told| EventBlock {
                task: self.task_of(told.block),
                name: &self.spec.plan.block(told.block).name,
                state: told.state.as_str(),
                opened_at: told.opened_at,
            }),
        };
        let event = Event { r#type: format!("run.{kind}"), timestamp: self.at, data };
        serde_json::to_string(&event).expect("an event is written as JSON")
    }
}

fn time(at: Option<DateTime<Utc>>) -> String {
    at.map(|at| at.to_rfc3339_opts(SecondsFormat::AutoSi, true)).unwrap_or_default()
}

fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}
