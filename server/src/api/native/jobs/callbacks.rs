//! Whom a job tells what becomes of its runs, as bodies say it and as it is shown.

use std::collections::BTreeSet;

use common::call::Method;
use common::expression::Template;
use common::order::callback::{Callbacks, InvalidCallback, InvalidCallbacks, OrderedCallback};
use common::package::loose::Loose;
use common::run::callback::{CALLBACKS_MAX, RunEvent};
use serde::Serialize;
use utoipa::ToSchema;

use super::call::{self, CALL, CallOut};
use super::container_in::objects;
use crate::api::http::shape::{Field, Kind, Shape, one, text, texts};
use crate::error::{Error, Result};

pub const CALLBACKS: Field = Field::new(
    "callbacks",
    Kind::Many(&CALLBACK),
    "Requests that tell what becomes of each run; all of them, in place of those before",
);

const CALLBACK: Shape = Shape {
    name: "NewCallback",
    fields: &[
        texts(
            "on",
            "running, progress, block, succeeded, failed or cancelled; the last three if left out",
        ),
        text("when", "An expression over `event` and `inputs`; where it gives false, none is made"),
        one("call", &CALL, "The request, POST where it names no method; its body is the event")
            .required(),
    ],
};

/// A request that tells what has become of a run.
#[derive(Serialize, ToSchema)]
#[schema(as = Callback)]
pub struct CallbackOut {
    /// What is told.
    on: Vec<&'static str>,
    /// The request is not made where it gives false.
    #[serde(skip_serializing_if = "Option::is_none")]
    when: Option<String>,
    /// The request. Its body is the event.
    call: CallOut,
}

/// Reads the callbacks of a body, where it has any.
pub fn read(body: &mut Loose) -> Result<Option<Callbacks>> {
    if !body.has(CALLBACKS.name) {
        return Ok(None);
    }
    let field = body.name(CALLBACKS.name);
    let callbacks = objects(body, CALLBACKS.name, CALLBACKS_MAX)?;
    let callbacks = callbacks.into_iter().map(read_one).collect::<Result<_>>()?;
    Callbacks::new(callbacks).map(Some).map_err(|invalid| refusal(&field, &invalid))
}

fn refusal(field: &str, invalid: &InvalidCallbacks) -> Error {
    match invalid {
        InvalidCallbacks::TooMany => Error::field(field, invalid.to_string()),
        InvalidCallbacks::One { n, why } => {
            let inner = match why {
                InvalidCallback::NoEvent => "on",
                InvalidCallback::Names => "when",
                InvalidCallback::Body => "call.body",
                InvalidCallback::Call(call) => &format!("call.{}", call.field()),
            };
            Error::field(format!("{field}[{n}].{inner}"), why.to_string())
        }
    }
}

fn read_one(mut callback: Loose) -> Result<OrderedCallback> {
    let on = read_events(&mut callback)?;
    let when = callback.name("when");
    let condition = callback.text("when")?.map(|text| Template::new(&text)).transpose();
    let condition = condition.map_err(|bad| Error::field(when, bad.to_string()))?;
    let field = callback.name("call");
    let call = callback.object("call")?.ok_or_else(|| Error::field(field, "is missing"))?;
    let work = call::read_as(call, Method::Post)?;
    callback.finish()?;
    Ok(OrderedCallback { on, when: condition, work, late: Vec::new() })
}

fn read_events(callback: &mut Loose) -> Result<BTreeSet<RunEvent>> {
    let (field, is_given) = (callback.name("on"), callback.has("on"));
    let names = callback.texts("on", RunEvent::ALL.len())?;
    if !is_given {
        return Ok(RunEvent::ENDS.into());
    }
    let event = |name: &String| {
        let problem = "must be of running, progress, block, succeeded, failed and cancelled";
        RunEvent::from_name(name).ok_or_else(|| Error::field(field.as_str(), problem))
    };
    names.iter().map(event).collect()
}

impl From<&OrderedCallback> for CallbackOut {
    fn from(OrderedCallback { on, when, work, .. }: &OrderedCallback) -> Self {
        let when = when.as_ref().map(|when| when.source().to_owned());
        Self { on: on.iter().map(|event| event.as_str()).collect(), when, call: work.into() }
    }
}
