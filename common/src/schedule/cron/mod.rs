//! Cron patterns of five fields in a time zone.

mod field;
#[cfg(test)]
mod tests;

use std::fmt;

use chrono::{DateTime, NaiveDateTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use croner::parser::{CronParser, Seconds, Year};
use serde::{Deserialize, Serialize};

use field::FIELDS;

/// The longest text of a pattern.
pub const CRON_BYTES_MAX: usize = 256;

/// How far the clocks of two zones can be apart, which bounds where a change of a clock lies.
const OFFSET_MAX: TimeDelta = TimeDelta::hours(26);

const NICKNAMES: [(&str, &str); 7] = [
    ("@YEARLY", "0 0 1 1 *"),
    ("@ANNUALLY", "0 0 1 1 *"),
    ("@MONTHLY", "0 0 1 * *"),
    ("@WEEKLY", "0 0 * * 0"),
    ("@DAILY", "0 0 * * *"),
    ("@MIDNIGHT", "0 0 * * *"),
    ("@HOURLY", "0 * * * *"),
];

/// A cron pattern in a time zone.
///
/// A pattern without `*` in its minute and its hour names local times, each of which comes once on
/// each of its days: one that a change of the clock leaves out comes at the first instant after the
/// change, and one that the clock shows twice comes the first time only. Other patterns follow the
/// clock: what it leaves out does not come, and what it shows twice comes twice.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Text", into = "Text")]
pub struct Cron {
    text: String,
    zone: Tz,
    pattern: croner::Cron,
    names_times: bool,
}

/// A pattern as it is stored.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    pattern: String,
    zone: String,
}

/// Why a text is no cron pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotCron {
    #[error("is longer than {CRON_BYTES_MAX} bytes")]
    Long,
    #[error(
        "has {0} fields: give five (minute, hour, day of month, month, day of week), without seconds"
    )]
    Fields(usize),
    #[error("`{0}` is unknown: use @hourly, @daily, @weekly, @monthly or @yearly, or five fields")]
    Nickname(String),
    #[error("the field {name} {why}")]
    Field { name: &'static str, why: String },
    #[error("{0}")]
    Other(String),
    #[error("`{0}` is no time zone: give an IANA name such as UTC or Europe/Berlin")]
    Zone(String),
}

impl Cron {
    /// Reads a pattern and the IANA name of its time zone.
    pub fn parse(text: &str, zone: &str) -> Result<Self, NotCron> {
        let zone = zone.parse().map_err(|_| NotCron::Zone(shown(zone)))?;
        let text = text.trim();
        if text.len() > CRON_BYTES_MAX {
            return Err(NotCron::Long);
        }
        let capitals = text.to_ascii_uppercase();
        let fields: Vec<&str> = plain(&capitals)?.split_ascii_whitespace().collect();
        if fields.len() != FIELDS.len() {
            return Err(NotCron::Fields(fields.len()));
        }
        for (field, text) in FIELDS.iter().zip(&fields) {
            let wrong = |why| NotCron::Field { name: field.name, why };
            field.check(text).map_err(wrong)?;
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed);
        let pattern = parser.build().parse(&fields.join(" "));
        let pattern = pattern.map_err(|error| NotCron::Other(error.to_string()))?;
        let names_times = !fields[..2].iter().any(|field| field.contains('*'));
        Ok(Self { text: text.to_owned(), zone, pattern, names_times })
    }

    /// The pattern as its customer wrote it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The IANA name of its time zone.
    pub fn zone(&self) -> &'static str {
        self.zone.name()
    }

    /// The first time after an instant; `None` where there is none before the year 5000.
    pub fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let local = after.with_timezone(&self.zone);
        if self.names_times {
            self.next_named(local.naive_local(), after)
        } else {
            Some(self.pattern.find_next_occurrence(&local, false).ok()?.to_utc())
        }
    }

    /// Local times in their order stand for instants in their order, so the first that is late
    /// enough is the next.
    fn next_named(&self, mut local: NaiveDateTime, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        loop {
            local = self.pattern.find_next_occurrence(&local, false).ok()?;
            let at = self.instant(local);
            if at > after {
                return Some(at);
            }
        }
    }

    /// The first instant at which the clock shows a local time, or a later one.
    fn instant(&self, local: NaiveDateTime) -> DateTime<Utc> {
        if let Some(at) = self.zone.from_local_datetime(&local).earliest() {
            return at.to_utc();
        }
        let (mut before, mut at) = (local.and_utc() - OFFSET_MAX, local.and_utc() + OFFSET_MAX);
        while at - before > TimeDelta::seconds(1) {
            let middle = before + TimeDelta::seconds((at - before).num_seconds() / 2);
            let shows = middle.with_timezone(&self.zone).naive_local();
            *(if shows < local { &mut before } else { &mut at }) = middle;
        }
        at
    }
}

/// A pattern's five fields, where a nickname stands for them.
fn plain(capitals: &str) -> Result<&str, NotCron> {
    if !capitals.starts_with('@') {
        return Ok(capitals);
    }
    let known = NICKNAMES.iter().find(|(name, _)| *name == capitals);
    known.map(|(_, fields)| *fields).ok_or_else(|| NotCron::Nickname(shown(capitals)))
}

/// As much of a text as a message shows.
fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} in {}", self.text, self.zone)
    }
}

impl TryFrom<Text> for Cron {
    type Error = NotCron;

    fn try_from(Text { pattern, zone }: Text) -> Result<Self, NotCron> {
        Self::parse(&pattern, &zone)
    }
}

impl From<Cron> for Text {
    fn from(cron: Cron) -> Self {
        Self { zone: cron.zone().to_owned(), pattern: cron.text }
    }
}
