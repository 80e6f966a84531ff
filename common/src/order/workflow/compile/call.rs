//! The calls of a job file.

use super::super::InvalidWorkflow;
use super::super::document::CallFile;
use super::super::step::Step;
use super::place::Place;
use super::{Compiler, retry};
use crate::call::{Call, CallPlace, CallTask, HeaderText, LateCallText, Method, Retry, Waits};
use crate::expression::Template;
use crate::money::credits::Credits;
use crate::plan::Name;

/// What stands at the place of an address that is known later.
const ADDRESS: &str = "https://example.com/";
/// What stands at the place of another text that is known later.
const TEXT: &str = "x";
/// The price is that of the day on which a run starts.
const NO_PRICE: Credits = Credits::ZERO;
/// How a call waits where the file says nothing.
const FIRST_SECS: u32 = 10;
const MOST_SECS: u32 = 3_600;

impl<'a> Compiler<'a> {
    pub(super) fn call(
        &self,
        step: &Step,
        file: &'a CallFile,
        place: &Place,
    ) -> Result<CallTask, InvalidWorkflow> {
        let mut late = Vec::new();
        let mut text = |at: CallPlace, text: &Template, stand_in: &str, field: Place| {
            self.check_text(text, &field)?;
            if text.is_plain() {
                return Ok(text.source().to_owned());
            }
            late.push(LateCallText { place: at, text: text.clone() });
            Ok(stand_in.to_owned())
        };
        let url = text(CallPlace::Url, &file.url, ADDRESS, place.field("url"))?;
        let mut call = Call::new(file.method.unwrap_or(Method::Get), url);
        for (name, value) in &file.headers {
            let field = place.field("headers").field(name);
            let value = text(CallPlace::Header(name.clone()), value, TEXT, field)?;
            call.headers.insert(name.clone(), HeaderText::Text(value));
        }
        if let Some(body) = &file.body {
            call.body = Some(text(CallPlace::Body, body, TEXT, place.field("body"))?);
        }
        if !file.accept.is_empty() {
            let range = |text: &String| {
                let (from, to) = text.split_once('-').unwrap_or((text, text));
                let both = from.trim().parse().ok().zip(to.trim().parse().ok());
                let refused = || place.field("accept").refuse("must be statuses such as 200-299");
                both.ok_or_else(refused)
            };
            call.accept = file.accept.iter().map(range).collect::<Result<_, _>>()?;
        }
        let defaults = self.common.defaults;
        call.timeout_secs =
            step.timeout.or(defaults.timeout).map_or(call.timeout_secs, |time| time.0);
        let secret = |name: &Name| {
            let id = self.common.secrets.get(name).cloned();
            id.ok_or_else(|| place.field("sign").refuse(format!("{name} is not in secrets")))
        };
        call.sign = file.sign.iter().map(secret).collect::<Result<_, _>>()?;
        let retry = retry(step, defaults).map_or_else(Retry::default, |retry| Retry {
            waits: waits(retry),
            honours_retry_after: true,
        });
        let task = CallTask { call, retry, price: NO_PRICE, late };
        task.check().map_err(|why| place.field(why.field()).refuse(why.to_string()))?;
        Ok(task)
    }
}

/// The waits before further attempts.
pub(super) fn waits(retry: super::Retry) -> Waits {
    let first_secs = retry.delay.map_or(FIRST_SECS, |delay| delay.0);
    Waits::Backoff {
        retries: retry.limit,
        first_secs,
        factor: retry.factor.unwrap_or(1),
        most_secs: MOST_SECS.max(first_secs),
        jitter_percent: 0,
    }
}
