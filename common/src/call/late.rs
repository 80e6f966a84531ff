//! Texts of calls that are known only when they are made.

use serde::{Deserialize, Serialize};

use super::{Call, CallTask, HeaderText, InvalidCall};
use crate::expression::Template;

/// The most such texts of a call.
const TEXTS_MAX: usize = 66;

/// A text of a call that is evaluated before the call is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LateCallText {
    pub place: CallPlace,
    pub text: Template,
}

/// Where in a call a text stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum CallPlace {
    Url,
    Header(String),
    Body,
}

impl CallTask {
    /// The address where it is a template.
    pub fn late_url(&self) -> Option<&Template> {
        self.late.iter().find(|late| late.place == CallPlace::Url).map(|late| &late.text)
    }

    /// Headers and the body as far as they are templates: evaluated for each attempt.
    pub fn late_texts(&self) -> impl Iterator<Item = &LateCallText> {
        self.late.iter().filter(|late| late.place != CallPlace::Url)
    }

    /// The call with its address, and with these texts at the places of [`Self::late_texts`].
    ///
    /// # Errors
    /// No call can have them.
    pub fn filled(&self, url: Option<&str>, texts: Vec<String>) -> Result<Call, InvalidCall> {
        let mut call = self.call.clone();
        if let Some(url) = url {
            url.clone_into(&mut call.url);
        }
        for (late, text) in self.late_texts().zip(texts) {
            put(&mut call, &late.place, text);
        }
        let whole = Self { call, late: Vec::new(), ..self.clone() };
        whole.check()?;
        Ok(whole.call)
    }

    /// Every late text has a place of its own.
    pub(super) fn check_late(&self) -> Result<(), InvalidCall> {
        let mut places: Vec<&CallPlace> = self.late.iter().map(|late| &late.place).collect();
        places.sort_unstable();
        let is_fine = places.len() <= TEXTS_MAX && places.windows(2).all(|two| two[0] != two[1]);
        if is_fine { Ok(()) } else { Err(InvalidCall::Late) }
    }
}

fn put(call: &mut Call, place: &CallPlace, text: String) {
    match place {
        CallPlace::Url => call.url = text,
        CallPlace::Header(name) => {
            call.headers.insert(name.clone(), HeaderText::Text(text));
        }
        CallPlace::Body => call.body = Some(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn late(place: CallPlace) -> LateCallText {
        LateCallText { place, text: "{{ tasks.a }}".parse().unwrap() }
    }

    #[test]
    fn late_texts_of_a_call_are_put_in_and_checked() {
        let header = || CallPlace::Header("x-a".to_owned());
        let call = testing::call("https://h.example/", 0);
        let late = [CallPlace::Body, CallPlace::Url, header()].map(late).to_vec();
        let call = CallTask { late, ..call };
        assert_eq!(call.check(), Ok(()));
        let texts = |header: &str| vec!["body".to_owned(), header.to_owned()];

        let whole = call.filled(Some("http://other.example/b"), texts("1")).unwrap();

        assert_eq!((whole.body.as_deref(), &*whole.url), (Some("body"), "http://other.example/b"));
        assert_eq!(whole.headers["x-a"], HeaderText::Text("1".to_owned()));
        assert_eq!(call.filled(Some("ftp://x/"), texts("1")), Err(InvalidCall::Url));
        assert!(call.filled(Some("http://x/"), texts("1\r\nhost: y")).is_err());
    }

    #[test]
    fn late_texts_of_a_call_have_places_of_their_own() {
        let late = vec![late(CallPlace::Body), late(CallPlace::Body)];
        let call = CallTask { late, ..testing::call("https://h.example/", 0) };

        assert_eq!(call.check(), Err(InvalidCall::Late));
    }
}
