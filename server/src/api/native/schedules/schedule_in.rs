//! What a caller says of a schedule.

use chrono::{DateTime, Utc};
use common::package::loose::Loose;
use common::schedule::cron::{Cron, NotCron};
use common::schedule::when::EVERY_SECS_MAX;
use common::schedule::{ALLOW_MAX, GRACE_SECS_MAX, JITTER_SECS_MAX, Missed, Overlap, Rules, When};

use super::schedule_out::{MISSED, OVERLAPS};
use crate::api::http::shape::{Field, date, integer, text, word};
use crate::clock;
use crate::error::{Error, Result};

const UTC: &str = "UTC";
/// Runs that go on at once where a schedule allows them and gives no number.
const RUNS_DEFAULT: u16 = 2;

/// When runs are due: a cron pattern, an interval, or a single time.
pub const WHEN: [Field; 5] = [
    text("cron", "Five fields, or @hourly, @daily, @weekly, @monthly, @yearly")
        .example("30 9 * * mon-fri"),
    text("time_zone", "IANA name of the time zone of cron; UTC where it is left out")
        .example("Europe/Berlin"),
    integer("every_secs", "A run each so many seconds"),
    date("from", "The first time of every_secs; where it is left out, one interval from now"),
    date("at", "A single time; at once where it has passed"),
];

pub const RULES: [Field; 5] = [
    word("overlap", &OVERLAPS, "While a run goes on: forbid skips the time (the default)"),
    integer("max_runs", "With overlap allow: at most so many runs at once; 2 where it is left out"),
    word("missed", &MISSED, "Of times that could not be kept; run_once where it is left out"),
    integer("grace_secs", "How late a run may start at the most"),
    integer("jitter_secs", "Runs start up to so much later, each by another time"),
];

pub fn read_rules(body: &mut Loose) -> Result<Rules> {
    let when = read_when(body)?;
    let overlap = read_overlap(body)?;
    let missed = match read_word(body, "missed", &MISSED)? {
        Some("skip") => Missed::Skip,
        Some("run_all") => Missed::RunAll,
        Some(_) | None => Missed::RunOnce,
    };
    let grace_secs = body.small("grace_secs", GRACE_SECS_MAX)?;
    let jitter_secs = body.small("jitter_secs", JITTER_SECS_MAX)?.unwrap_or(0);
    Ok(Rules { when, overlap, missed, grace_secs, jitter_secs })
}

pub fn read_when(body: &mut Loose) -> Result<When> {
    let (cron, zone) = (body.text("cron")?, body.text("time_zone")?);
    let every = body.number("every_secs", 1..=EVERY_SECS_MAX.into())?;
    let (from, at) = (read_time(body, "from")?, read_time(body, "at")?);
    let stray = |name: &str, of: &str| Error::field(name, format!("belongs to {of}: leave it out"));
    if zone.is_some() && cron.is_none() {
        return Err(stray("time_zone", "cron"));
    }
    if from.is_some() && every.is_none() {
        return Err(stray("from", "every_secs"));
    }
    match (cron, every, at) {
        (Some(cron), None, None) => {
            let zone = zone.unwrap_or_else(|| UTC.to_owned());
            let cron = Cron::parse(&cron, &zone).map_err(|wrong| {
                let field = if matches!(wrong, NotCron::Zone(_)) { "time_zone" } else { "cron" };
                Error::field(field, wrong.to_string())
            })?;
            Ok(When::Cron(Box::new(cron)))
        }
        (None, Some(secs), None) => {
            let secs = u32::try_from(secs).unwrap_or(EVERY_SECS_MAX);
            Ok(When::Every { secs, from: from.unwrap_or_else(clock::now) })
        }
        (None, None, Some(at)) => Ok(When::Once(at)),
        (None, None, None) => {
            Err(Error::field("cron", "is missing, and so are every_secs and at: give one of them"))
        }
        (Some(_), _, _) => {
            Err(Error::field("cron", "stands beside another time: leave out every_secs and at"))
        }
        (None, Some(_), Some(_)) => Err(Error::field("at", "stands beside every_secs: give one")),
    }
}

fn read_overlap(body: &mut Loose) -> Result<Overlap> {
    let overlap = read_word(body, "overlap", &OVERLAPS)?;
    let runs = body.number("max_runs", 1..=ALLOW_MAX.into())?;
    match (overlap, runs) {
        (Some("allow"), runs) => {
            let runs = runs.and_then(|runs| u16::try_from(runs).ok());
            Ok(Overlap::Allow(runs.unwrap_or(RUNS_DEFAULT)))
        }
        (_, Some(_)) => Err(Error::field("max_runs", "belongs to overlap allow: leave it out")),
        (Some("replace"), None) => Ok(Overlap::Replace),
        (Some(_) | None, None) => Ok(Overlap::Forbid),
    }
}

/// One of these words.
fn read_word(body: &mut Loose, key: &str, words: &[&'static str]) -> Result<Option<&'static str>> {
    let field = body.name(key);
    let Some(text) = body.text(key)? else { return Ok(None) };
    let word = words.iter().find(|word| **word == text);
    let word =
        word.ok_or_else(|| Error::field(field, format!("must be one of {}", words.join(", "))));
    word.map(|word| Some(*word))
}

fn read_time(body: &mut Loose, key: &str) -> Result<Option<DateTime<Utc>>> {
    let field = body.name(key);
    let Some(text) = body.text(key)? else { return Ok(None) };
    let time = DateTime::parse_from_rfc3339(&text).map(|time| Some(time.to_utc()));
    time.map_err(|_| Error::field(field, "must be a time such as 2027-01-31T12:00:00Z"))
}
