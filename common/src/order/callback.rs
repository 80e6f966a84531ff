//! Whom a job tells what becomes of its runs.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::call::CallWork;
use crate::call::{CallTask, HeaderText, InvalidCall, LateCallText};
use crate::expression::Template;
use crate::money::credits::Credits;
use crate::run::callback::{CALLBACKS_MAX, Callback, RunEvent};

const CONTENT_TYPE: &str = "content-type";

/// Whom a job tells what becomes of its runs, checked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<OrderedCallback>", into = "Vec<OrderedCallback>")]
pub struct Callbacks(Vec<OrderedCallback>);

/// A receiver that a job names, and what of its runs it is told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderedCallback {
    pub on: BTreeSet<RunEvent>,
    /// It is told nothing where this gives the text `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Template>,
    /// The request. It has no body of its own.
    pub work: CallWork,
    /// Headers that are templates, and a body in place of the event.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub late: Vec<LateCallText>,
}

/// Why callbacks cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCallbacks {
    #[error("must be at most {CALLBACKS_MAX}")]
    TooMany,
    #[error("the callback {n} cannot be made: {why}")]
    One { n: usize, why: InvalidCallback },
}

/// Why a callback cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCallback {
    #[error("must name at least one of running, progress, block, succeeded, failed and cancelled")]
    NoEvent,
    #[error("is the event: leave it out")]
    Body,
    #[error(transparent)]
    Call(#[from] InvalidCall),
    #[error("has an expression that names what is not there")]
    Names,
}

impl Callbacks {
    /// # Errors
    /// There are too many, or one of them cannot be made.
    pub fn new(callbacks: Vec<OrderedCallback>) -> Result<Self, InvalidCallbacks> {
        if callbacks.len() > CALLBACKS_MAX {
            return Err(InvalidCallbacks::TooMany);
        }
        for (n, callback) in callbacks.iter().enumerate() {
            callback.check().map_err(|why| InvalidCallbacks::One { n, why })?;
        }
        Ok(Self(callbacks))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &OrderedCallback> {
        self.0.iter()
    }

    /// Those of a run, each of which costs this.
    pub fn pinned(&self, price: Credits) -> Vec<Callback> {
        self.iter().map(|callback| callback.pinned(price)).collect()
    }
}

impl OrderedCallback {
    fn check(&self) -> Result<(), InvalidCallback> {
        if self.on.is_empty() {
            return Err(InvalidCallback::NoEvent);
        }
        if self.work.call.body.is_some() {
            return Err(InvalidCallback::Body);
        }
        let callback = self.pinned(Credits::ZERO);
        callback.task.check()?;
        if callback.task.late_url().is_some() {
            return Err(InvalidCall::Url.into());
        }
        callback.plan_of(callback.task.clone()).map(drop).map_err(|_| InvalidCallback::Names)
    }

    fn pinned(&self, price: Credits) -> Callback {
        let CallWork { mut call, retry } = self.work.clone();
        if !call.headers.keys().any(|name| name.eq_ignore_ascii_case(CONTENT_TYPE)) {
            let json = HeaderText::Text("application/json".to_owned());
            call.headers.insert(CONTENT_TYPE.to_owned(), json);
        }
        let task = CallTask { call, retry, price, late: self.late.clone() };
        Callback { on: self.on.clone(), when: self.when.clone(), task }
    }
}

impl TryFrom<Vec<OrderedCallback>> for Callbacks {
    type Error = InvalidCallbacks;

    fn try_from(callbacks: Vec<OrderedCallback>) -> Result<Self, InvalidCallbacks> {
        Self::new(callbacks)
    }
}

impl From<Callbacks> for Vec<OrderedCallback> {
    fn from(Callbacks(callbacks): Callbacks) -> Self {
        callbacks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{Call, Method, Retry};

    fn callback() -> OrderedCallback {
        let call = Call::new(Method::Post, "https://h.example/x");
        let work = CallWork { call, retry: Retry::default() };
        OrderedCallback { on: RunEvent::ENDS.into(), when: None, work, late: Vec::new() }
    }

    #[test]
    fn callback_says_that_it_sends_json_unless_its_customer_says_otherwise() {
        let mut own = callback();
        own.work.call.headers.insert("Content-Type".to_owned(), HeaderText::Text("a/b".to_owned()));

        let pinned = Callbacks::new(vec![callback(), own]).unwrap().pinned(Credits::ZERO);

        let headers = |n: usize| format!("{:?}", pinned[n].task.call.headers);
        assert!(headers(0).contains("application/json"), "{}", headers(0));
        assert!(!headers(1).contains("application/json"), "{}", headers(1));
    }

    #[test]
    fn callbacks_that_cannot_be_made_are_named() {
        let mut none = callback();
        none.on.clear();
        let mut with_body = callback();
        with_body.work.call.body = Some("x".to_owned());
        let mut nowhere = callback();
        nowhere.work.call.url = "nowhere".to_owned();
        let mut with_task = callback();
        with_task.when = Some("{{ tasks.a }}".parse().unwrap());
        let mut with_event = callback();
        with_event.when = Some("{{ event.state == 'failed' }}".parse().unwrap());
        assert!(Callbacks::new(vec![with_event]).is_ok());
        let refused = |callbacks: Vec<OrderedCallback>| Callbacks::new(callbacks).unwrap_err();
        let one = |n, why| InvalidCallbacks::One { n, why };

        assert_eq!(refused(vec![callback(), none]), one(1, InvalidCallback::NoEvent));
        assert_eq!(refused(vec![with_body]), one(0, InvalidCallback::Body));
        assert_eq!(refused(vec![nowhere]), one(0, InvalidCallback::Call(InvalidCall::Url)));
        assert_eq!(refused(vec![with_task]), one(0, InvalidCallback::Names));
        assert_eq!(refused(vec![callback(); 9]), InvalidCallbacks::TooMany);
    }
}
