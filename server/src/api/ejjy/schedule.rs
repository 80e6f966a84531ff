//! When a job makes runs by itself.

use common::package::loose::Loose;
use common::schedule::cron::Cron;
use common::schedule::{ALLOW_MAX, Missed, Overlap, Rules, Schedule, When};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::http::shape::{Field, integer, text, word};
use crate::clock;
use crate::error::{Error, Result};

const ZONE: &str = "UTC";
const OVERLAPS: [&str; 3] = ["forbid", "allow", "replace"];
const MISSED: [&str; 3] = ["skip", "run_once", "run_all"];

pub const FIELDS: [Field; 5] = [
    text("schedule", "A standard cron expression; none where it is left out, null or empty"),
    text("timezone", "The IANA name of the schedule's time zone; UTC where it is left out"),
    word(
        "concurrency_policy",
        &OVERLAPS,
        "What becomes of a run that is due while another goes on",
    ),
    integer("max_concurrent_runs", "Of the policy allow"),
    word("missed_policy", &MISSED, "What becomes of runs that could not begin in time"),
];

/// What a body says of the schedule.
pub struct ScheduleChange {
    /// `Some(None)` removes it.
    cron: Option<Option<String>>,
    zone: Option<String>,
    overlap: Option<Overlap>,
    missed: Option<Missed>,
}

/// What becomes of the schedule of a job.
pub enum Decided {
    Stays,
    Removed,
    Set(Rules),
}

/// The text is no schedule.
pub struct NotASchedule(pub String);

/// A schedule as it is shown.
#[derive(Serialize, ToSchema)]
#[schema(as = EjjySchedule)]
pub struct ScheduleOut {
    /// The cron expression; null where it has no schedule.
    schedule: Option<String>,
    /// The IANA name of the schedule's time zone.
    timezone: String,
    /// What becomes of a run that is due while another goes on.
    concurrency_policy: &'static str,
    /// Of the policy allow.
    max_concurrent_runs: Option<u16>,
    /// What becomes of runs that could not begin in time.
    missed_policy: &'static str,
}

/// The schedule of a job, if it has one.
pub struct Shown<'a>(pub Option<&'a Schedule>);

/// Reads `FIELDS` of a body, which may say that the schedule is to go.
pub fn read(body: &mut Loose, is_removed: bool) -> Result<ScheduleChange> {
    let cron = body.text("schedule")?.filter(|text| !text.trim().is_empty());
    let cron = if is_removed { Some(None) } else { cron.map(Some) };
    let runs = body.small("max_concurrent_runs", ALLOW_MAX.into())?;
    let runs = runs.map_or(Ok(2), u16::try_from).unwrap_or(ALLOW_MAX).max(1);
    let overlap = choice(body, "concurrency_policy", &OVERLAPS)?;
    let missed = choice(body, "missed_policy", &MISSED)?;
    Ok(ScheduleChange {
        cron,
        zone: body.text("timezone")?,
        overlap: overlap.map(|n| [Overlap::Forbid, Overlap::Allow(runs), Overlap::Replace][n]),
        missed: missed.map(|n| [Missed::Skip, Missed::RunOnce, Missed::RunAll][n]),
    })
}

fn choice(body: &mut Loose, key: &str, words: &[&str]) -> Result<Option<usize>> {
    let Some(text) = body.text(key)? else { return Ok(None) };
    let found = words.iter().position(|word| *word == text);
    let problem = || format!("must be one of {}", words.join(", "));
    found.map(Some).ok_or_else(|| Error::field(key, problem()))
}

impl ScheduleChange {
    /// What becomes of the schedule that a job has, where it has one.
    pub fn decide(&self, before: Option<&Schedule>) -> std::result::Result<Decided, NotASchedule> {
        let old = before.and_then(cron_of);
        let text = match &self.cron {
            Some(None) if before.is_some() => return Ok(Decided::Removed),
            Some(None) => return Ok(Decided::Stays),
            Some(Some(text)) => text.as_str(),
            None => match old {
                Some(cron) => cron.text(),
                None => return Ok(Decided::Stays),
            },
        };
        if self.cron.is_none()
            && self.zone.is_none()
            && self.overlap.is_none()
            && self.missed.is_none()
        {
            return Ok(Decided::Stays);
        }
        let zone = self.zone.as_deref().or(old.map(Cron::zone)).unwrap_or(ZONE);
        let cron = Cron::parse(text, zone)
            .map_err(|refused| NotASchedule(format!("schedule: {refused}")))?;
        let rules = before.map(|before| before.rules.clone());
        let mut rules = rules.unwrap_or_else(|| Rules::new(When::Cron(Box::new(cron.clone()))));
        rules.when = When::Cron(Box::new(cron));
        rules.overlap = self.overlap.unwrap_or(rules.overlap);
        rules.missed = self.missed.unwrap_or(rules.missed);
        rules
            .check(clock::now())
            .map_err(|refused| NotASchedule(format!("schedule: {refused}")))?;
        Ok(Decided::Set(rules))
    }
}

/// The cron expression of a schedule.
pub fn cron_of(schedule: &Schedule) -> Option<&Cron> {
    match &schedule.rules.when {
        When::Cron(cron) => Some(cron),
        When::Once(_) | When::Every { .. } => None,
    }
}

impl From<Shown<'_>> for ScheduleOut {
    fn from(Shown(schedule): Shown<'_>) -> Self {
        let cron = schedule.and_then(cron_of);
        let rules = schedule.map(|schedule| &schedule.rules);
        let overlap = rules.map_or(Overlap::default(), |rules| rules.overlap);
        let missed = rules.map_or(Missed::default(), |rules| rules.missed);
        let (overlap, max_concurrent_runs) = match overlap {
            Overlap::Forbid => (OVERLAPS[0], None),
            Overlap::Allow(runs) => (OVERLAPS[1], Some(runs)),
            Overlap::Replace => (OVERLAPS[2], None),
        };
        Self {
            schedule: cron.map(|cron| cron.text().to_owned()),
            timezone: cron.map_or(ZONE, Cron::zone).to_owned(),
            concurrency_policy: overlap,
            max_concurrent_runs,
            missed_policy: match missed {
                Missed::Skip => MISSED[0],
                Missed::RunOnce => MISSED[1],
                Missed::RunAll => MISSED[2],
            },
        }
    }
}
