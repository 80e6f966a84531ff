//! The window of time that a query asks for.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::api::http::shape::{Field, date, integer};
use crate::clock;
use crate::error::{Error, Result};
use crate::jobs::history::{WINDOW_MAX, Window};

const WINDOW: TimeDelta = TimeDelta::hours(1);

pub const FIELDS: [Field; 3] = [
    integer("since", "The last so many seconds; an hour where no time is given"),
    date("start", "The beginning of the window, in place of since"),
    date("end", "The end of the window; now where it is left out"),
];

pub fn read(query: &BTreeMap<String, String>) -> Result<Window> {
    let now = clock::now();
    let (start, end) = (time(query, "start")?, time(query, "end")?);
    match (query.get("since"), start, end) {
        (Some(_), None, None) => Window::new(now - since(query)?, now),
        (Some(_), _, _) => {
            Err(Error::field("since", "and start or end are one too many: give one of them"))
        }
        (None, Some(start), end) => Window::new(start, end.unwrap_or(now)),
        (None, None, Some(_)) => Err(Error::field("start", "is missing: an end needs one")),
        (None, None, None) => Window::new(now - WINDOW, now),
    }
}

fn since(query: &BTreeMap<String, String>) -> Result<TimeDelta> {
    let most = WINDOW_MAX.num_seconds();
    let secs = query.get("since").and_then(|text| text.parse().ok());
    let secs = secs.filter(|secs| (1..=most).contains(secs)).map(TimeDelta::seconds);
    secs.ok_or_else(|| Error::field("since", format!("must be seconds, from 1 to {most}")))
}

fn time(query: &BTreeMap<String, String>, name: &str) -> Result<Option<DateTime<Utc>>> {
    let Some(text) = query.get(name) else { return Ok(None) };
    let time = DateTime::parse_from_rfc3339(text).map(|time| Some(time.to_utc()));
    time.map_err(|_| Error::field(name, "must be a time such as 2026-04-22T15:30:00Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(parts: &[(&str, &str)]) -> Result<Window> {
        let query = parts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        read(&query.collect())
    }

    #[test]
    fn window_is_relative_or_absolute_and_never_both() {
        let (early, late) = ("2026-04-22T15:30:00Z", "2026-04-22T16:30:00+00:00");
        for fine in [
            &[][..],
            &[("since", "60")],
            &[("since", "604800")],
            &[("start", early), ("end", late)],
        ] {
            assert!(asked(fine).is_ok(), "{fine:?}");
        }
        for wrong in [
            &[("since", "0")][..],
            &[("since", "604801")],
            &[("since", "x")],
            &[("since", "60"), ("start", early)],
            &[("end", late)],
            &[("start", late), ("end", early)],
            &[("start", early), ("end", early)],
            &[("start", early), ("end", "2026-05-22T15:30:00Z")],
            &[("start", "yesterday")],
        ] {
            assert!(asked(wrong).is_err(), "{wrong:?}");
        }
    }
}
