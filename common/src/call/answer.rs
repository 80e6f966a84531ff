//! What an attempt of a call gave.

use serde::{Deserialize, Serialize};

use super::Call;

/// The most bytes of an answer's body that are kept.
pub const ANSWER_BYTES_MAX: u32 = 64 * 1024;

/// What became of an attempt, as the server that made it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The receiver has answered, or the attempt failed on its way to it.
    Ended(Answer),
    /// The server could not do it, for a reason of its own.
    Lost(String),
    /// There is no such request: an expression of it fails, or gives what none can have.
    Invalid(String),
}

/// What a receiver answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// `None` where no answer came.
    pub status: Option<u16>,
    pub headers: Vec<(String, String)>,
    /// The beginning of the body.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
    /// The body goes on beyond what is kept.
    pub truncated: bool,
    pub took_ms: u32,
    /// How long the receiver asks to be left alone.
    pub retry_after_secs: Option<u32>,
    /// Why there is no answer, or only a part of one.
    pub error: Option<String>,
}

impl Answer {
    /// An attempt that got no answer.
    pub fn none(error: impl Into<String>, took_ms: u32) -> Self {
        Self { error: Some(error.into()), took_ms, ..Self::default() }
    }

    /// Why it is no success of this call; `None` where it is one.
    pub fn failure(&self, call: &Call) -> Option<String> {
        match (&self.error, self.status) {
            (Some(error), _) => Some(error.clone()),
            (None, Some(status)) if call.accepts(status) => None,
            (None, Some(status)) => Some(format!("the receiver answered {status}")),
            (None, None) => Some("no answer came".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Method;

    #[test]
    fn answer_is_a_success_by_its_status_and_when_it_is_whole() {
        let call = Call { accept: vec![(200, 299), (409, 409)], ..Call::new(Method::Get, "") };
        let of = |status, error: Option<&str>| {
            let answer = Answer { status, error: error.map(str::to_owned), ..Answer::default() };
            answer.failure(&call)
        };

        assert_eq!(of(Some(200), None), None);
        assert_eq!(of(Some(409), None), None);
        assert_eq!(of(Some(301), None).as_deref(), Some("the receiver answered 301"));
        assert_eq!(of(Some(200), Some("cut off")).as_deref(), Some("cut off"));
        assert_eq!(of(None, None).as_deref(), Some("no answer came"));
    }
}
