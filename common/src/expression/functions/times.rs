//! Functions of times.

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeZone};
use chrono_tz::Tz;

use super::super::evaluator::Evaluation;
use super::super::value::Value;
use super::super::{Fault, time};
use super::{Call, Function, of_values};

pub(super) const FUNCTIONS: &[Function] = &[
    of_values("now", 0, 0, |e, _| Ok(Value::Time(e.fixed().now.with_timezone(&Tz::UTC)))),
    of_values("date", 1, 3, date),
    of_values("duration", 1, 1, |_, call| {
        let duration = time::parse_duration(call.text(0)?);
        duration.map(Value::Duration).ok_or_else(|| call.wrong(0, "a duration such as 1h30m"))
    }),
    of_values("timezone", 1, 1, |_, call| zone(call, 0).map(Value::Zone)),
];

fn zone(call: &Call<'_>, place: usize) -> Result<Tz, Fault> {
    call.text(place)?.parse().map_err(|_| call.wrong(place, "a time zone such as Europe/Berlin"))
}

/// A time from text: with a layout such as `2006-01-02`, and in a zone where it names none.
fn date(evaluation: &mut Evaluation<'_>, call: &Call<'_>) -> Result<Value, Fault> {
    let text = call.text(0)?;
    let zone = if call.has(2) { zone(call, 2)? } else { Tz::UTC };
    let wrong = || call.wrong(0, "a time such as 2026-01-31T08:00:00Z");
    let local = |local: NaiveDateTime| {
        let time = local.and_utc();
        // A time that is too far away has no local time.
        time::value(&time, zone).ok_or_else(wrong)?;
        let time = zone.from_local_datetime(&local).earliest();
        time.map(Value::Time).ok_or_else(wrong)
    };
    let formats = if call.has(1) {
        // A layout is compared with each part that it may have.
        evaluation.spend(call.text(1)?.len().saturating_mul(4))?;
        vec![time::format_of_layout(call.text(1)?)]
    } else {
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return time::value(&time, zone).ok_or_else(wrong);
        }
        ["%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%H:%M:%S"].map(str::to_owned).to_vec()
    };
    for format in formats {
        if let Ok(time) = DateTime::parse_from_str(text, &format) {
            return time::value(&time, zone).ok_or_else(wrong);
        }
        if let Ok(time) = NaiveDateTime::parse_from_str(text, &format) {
            return local(time);
        }
        if let Ok(date) = NaiveDate::parse_from_str(text, &format) {
            return local(date.and_time(chrono::NaiveTime::MIN));
        }
    }
    Err(wrong())
}
