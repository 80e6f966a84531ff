//! Whom a job tells how its runs have ended, as bodies say it and as it is shown.

use std::collections::BTreeSet;

use common::call::Method;
use common::order::callback::{Callbacks, InvalidCallback, InvalidCallbacks, OrderedCallback};
use common::package::loose::Loose;
use common::run::callback::{CALLBACKS_MAX, RunEnd};
use serde::Serialize;
use utoipa::ToSchema;

use super::call::{self, CALL, CallOut};
use super::container_in::objects;
use crate::api::http::shape::{Field, Kind, Shape, one, texts};
use crate::error::{Error, Result};

pub const CALLBACKS: Field = Field::new(
    "callbacks",
    Kind::Many(&CALLBACK),
    "Requests that tell how each run has ended; all of them, in place of those before",
);

const CALLBACK: Shape = Shape {
    name: "NewCallback",
    fields: &[
        texts("on", "succeeded, failed or cancelled; all of them where it is left out"),
        one("call", &CALL, "The request, POST where it names no method; its body is the event")
            .required(),
    ],
};

/// A request that tells how a run has ended.
#[derive(Serialize, ToSchema)]
#[schema(as = Callback)]
pub struct CallbackOut {
    /// The ends that are told.
    on: Vec<&'static str>,
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
                InvalidCallback::NoEnd => "on",
                InvalidCallback::Body => "call.body",
                InvalidCallback::Call(call) => &format!("call.{}", call.field()),
            };
            Error::field(format!("{field}[{n}].{inner}"), why.to_string())
        }
    }
}

fn read_one(mut callback: Loose) -> Result<OrderedCallback> {
    let on = read_ends(&mut callback)?;
    let field = callback.name("call");
    let call = callback.object("call")?.ok_or_else(|| Error::field(field, "is missing"))?;
    let work = call::read_as(call, Method::Post)?;
    callback.finish()?;
    Ok(OrderedCallback { on, work })
}

fn read_ends(callback: &mut Loose) -> Result<BTreeSet<RunEnd>> {
    let (field, is_given) = (callback.name("on"), callback.has("on"));
    let names = callback.texts("on", RunEnd::ALL.len())?;
    if !is_given {
        return Ok(RunEnd::ALL.into());
    }
    let end = |name: &String| {
        let problem = "must be of succeeded, failed and cancelled";
        RunEnd::from_name(name).ok_or_else(|| Error::field(field.as_str(), problem))
    };
    names.iter().map(end).collect()
}

impl From<&OrderedCallback> for CallbackOut {
    fn from(OrderedCallback { on, work }: &OrderedCallback) -> Self {
        Self { on: on.iter().map(|end| end.as_str()).collect(), call: work.into() }
    }
}
