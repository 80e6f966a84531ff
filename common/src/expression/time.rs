//! Times and durations.

use std::fmt::Write as _;

use chrono::{DateTime, Datelike as _, SecondsFormat, TimeDelta, TimeZone, Timelike as _};
use chrono_tz::Tz;

use super::Fault;
use super::evaluator::Evaluation;
use super::syntax::Arithmetic;
use super::value::Value;

/// The parts of a layout, and what stands for them in a format. Longer parts stand before those
/// that they begin with.
const LAYOUT: [(&str, &str); 22] = [
    ("January", "%B"),
    ("Monday", "%A"),
    ("2006", "%Y"),
    ("Z07:00", "%:z"),
    ("-07:00", "%:z"),
    ("-0700", "%z"),
    (".000000000", "%.9f"),
    (".000000", "%.6f"),
    (".000", "%.3f"),
    ("Jan", "%b"),
    ("Mon", "%a"),
    ("MST", "%Z"),
    ("002", "%j"),
    ("01", "%m"),
    ("02", "%d"),
    ("03", "%I"),
    ("04", "%M"),
    ("05", "%S"),
    ("06", "%y"),
    ("15", "%H"),
    ("PM", "%p"),
    ("pm", "%P"),
];
/// The most bytes of a layout.
const LAYOUT_BYTES_MAX: usize = 256;

const UNITS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3_600 * 1_000_000_000),
    ("d", 86_400 * 1_000_000_000),
];

/// The years that times of expressions lie in, so that they can be shown in every zone.
const YEARS: std::ops::RangeInclusive<i32> = 1..=9999;

/// A time as a value; `None` where it is too far away.
pub(super) fn value<Z: TimeZone>(time: &DateTime<Z>, zone: Tz) -> Option<Value> {
    let is_near = YEARS.contains(&time.naive_utc().year());
    is_near.then(|| Value::Time(time.with_timezone(&zone)))
}

pub(super) fn print(time: DateTime<Tz>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// A duration as it is written: `1h30m0s`.
pub(super) fn print_duration(duration: TimeDelta) -> String {
    let mut text = String::new();
    let nanos = duration.num_nanoseconds().unwrap_or(i64::MAX);
    let (sign, nanos) = (if nanos < 0 { "-" } else { "" }, nanos.unsigned_abs());
    let (secs, fraction) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    let (hours, minutes, secs) = (secs / 3_600, secs / 60 % 60, secs % 60);
    text.push_str(sign);
    // Writing to a text does not fail.
    if hours > 0 {
        let _ = write!(text, "{hours}h");
    }
    if hours > 0 || minutes > 0 {
        let _ = write!(text, "{minutes}m");
    }
    let _ = write!(text, "{secs}");
    if fraction > 0 {
        let digits = format!("{fraction:09}");
        let _ = write!(text, ".{}", digits.trim_end_matches('0'));
    }
    text.push('s');
    text
}

/// The duration that a text such as `1h30m` or `1.5s` stands for.
pub(super) fn parse_duration(text: &str) -> Option<TimeDelta> {
    if text == "0" {
        return Some(TimeDelta::zero());
    }
    let (is_negative, mut rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    if rest.is_empty() {
        return None;
    }
    let mut nanos = 0_i64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let unit = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (name, after) = after.split_at(unit);
        let (_, unit) = UNITS.into_iter().find(|(unit, _)| *unit == name)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        nanos = nanos.checked_add(whole.parse::<i64>().ok()?.checked_mul(unit)?)?;
        if !fraction.is_empty() {
            let digits = fraction.get(..fraction.len().min(9))?;
            let tens = 10_i128.pow(u32::try_from(digits.len()).ok()?);
            let part = i128::from(digits.parse::<i64>().ok()?) * i128::from(unit) / tens;
            nanos = nanos.checked_add(i64::try_from(part).ok()?)?;
        }
        rest = after;
    }
    Some(TimeDelta::nanoseconds(if is_negative { -nanos } else { nanos }))
}

/// The format that a layout, which is written as an example time, stands for.
pub(super) fn format_of_layout(layout: &str) -> String {
    let mut rest = layout;
    let mut format = String::new();
    while let Some(first) = rest.chars().next() {
        if let Some((part, meaning)) = LAYOUT.iter().find(|(part, _)| rest.starts_with(part)) {
            format.push_str(meaning);
            rest = &rest[part.len()..];
            continue;
        }
        match first {
            '%' => format.push_str("%%"),
            other => format.push(other),
        }
        rest = &rest[first.len_utf8()..];
    }
    format
}

/// What an operator makes of values of which one is a time or a duration; `None` where none is.
pub(super) fn arithmetic(
    operator: Arithmetic,
    left: &Value,
    right: &Value,
) -> Option<Result<Value, Fault>> {
    let time = |time: Option<DateTime<Tz>>| {
        time.and_then(|time| value(&time, time.timezone())).ok_or(Fault::Overflow)
    };
    let duration =
        |duration: Option<TimeDelta>| duration.map(Value::Duration).ok_or(Fault::Overflow);
    match (operator, left, right) {
        (Arithmetic::Add, Value::Time(at), Value::Duration(by))
        | (Arithmetic::Add, Value::Duration(by), Value::Time(at)) => {
            Some(time(at.checked_add_signed(*by)))
        }
        (Arithmetic::Subtract, Value::Time(at), Value::Duration(by)) => {
            Some(time(at.checked_sub_signed(*by)))
        }
        (Arithmetic::Subtract, Value::Time(at), Value::Time(from)) => {
            Some(Ok(Value::Duration(at.signed_duration_since(from))))
        }
        (Arithmetic::Add, Value::Duration(left), Value::Duration(right)) => {
            Some(duration(left.checked_add(right)))
        }
        (Arithmetic::Subtract, Value::Duration(left), Value::Duration(right)) => {
            Some(duration(left.checked_sub(right)))
        }
        (Arithmetic::Multiply, Value::Duration(by), Value::Int(times))
        | (Arithmetic::Multiply, Value::Int(times), Value::Duration(by)) => {
            let times = i32::try_from(*times).ok();
            Some(duration(times.and_then(|times| by.checked_mul(times))))
        }
        _ => None,
    }
}

/// The value that a method of a time or a duration gives.
pub(super) fn method(
    evaluation: &mut Evaluation<'_>,
    of: &Value,
    name: &str,
    arguments: &[Value],
) -> Result<Value, Fault> {
    let no_method = || Fault::NoMethod { of: of.kind(), method: name.to_owned() };
    let int = |value: i64| Ok(Value::Int(value));
    match (of, name, arguments) {
        (Value::Time(time), "Unix", []) => int(time.timestamp()),
        (Value::Time(time), "UnixMilli", []) => int(time.timestamp_millis()),
        (Value::Time(time), "Year", []) => int(time.year().into()),
        (Value::Time(time), "Month", []) => int(time.month().into()),
        (Value::Time(time), "Day", []) => int(time.day().into()),
        (Value::Time(time), "YearDay", []) => int(time.ordinal().into()),
        (Value::Time(time), "Hour", []) => int(time.hour().into()),
        (Value::Time(time), "Minute", []) => int(time.minute().into()),
        (Value::Time(time), "Second", []) => int(time.second().into()),
        (Value::Time(time), "Weekday", []) => Ok(Value::text(&time.format("%A").to_string())),
        (Value::Time(time), "UTC", []) => Ok(Value::Time(time.with_timezone(&Tz::UTC))),
        (Value::Time(time), "In", [Value::Zone(zone)]) => Ok(Value::Time(time.with_timezone(zone))),
        (Value::Time(time), "Format", [Value::Text(layout)]) => {
            if layout.len() > LAYOUT_BYTES_MAX {
                return Err(Fault::TooLong);
            }
            let mut text = String::new();
            let format = format_of_layout(layout);
            write!(text, "{}", time.format(&format)).map_err(|_| no_method())?;
            evaluation.made_text(&text)
        }
        (Value::Time(_), "Add", [by @ Value::Duration(_)]) => {
            evaluation.arithmetic(Arithmetic::Add, of, by)
        }
        (Value::Time(_), "Sub", [from @ Value::Time(_)]) => {
            evaluation.arithmetic(Arithmetic::Subtract, of, from)
        }
        (Value::Time(time), "Before", [Value::Time(other)]) => Ok((time < other).into()),
        (Value::Time(time), "After", [Value::Time(other)]) => Ok((time > other).into()),
        (Value::Duration(by), "Hours", []) => int(by.num_hours()),
        (Value::Duration(by), "Minutes", []) => int(by.num_minutes()),
        (Value::Duration(by), "Seconds", []) => int(by.num_seconds()),
        (Value::Duration(by), "Milliseconds", []) => int(by.num_milliseconds()),
        _ => Err(no_method()),
    }
}
