use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::{Datelike as _, TimeDelta, Timelike as _};
use proptest::prelude::*;
use proptest::sample::subsequence;

use super::*;
use crate::schedule::when::{NotWhen, When};

const ZONES: [&str; 6] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Africa/Casablanca",
];

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The next fires of a pattern, each as `12-31T23:59Z`.
fn fires(pattern: &str, zone: &str, after: &str, n: usize) -> Vec<String> {
    let cron = Cron::parse(pattern, zone).unwrap_or_else(|error| panic!("{pattern}: {error}"));
    let times = std::iter::successors(cron.next(utc(after)), |at| cron.next(*at)).take(n);
    times.map(|at| at.format("%m-%dT%H:%MZ").to_string()).collect()
}

#[test]
fn cron_patterns_of_all_kinds_come_when_they_should() {
    for (pattern, expected) in [
        ("0 3 * * *", ["01-01T03:00Z", "01-02T03:00Z"]),
        ("*/20 * * * *", ["01-01T00:20Z", "01-01T00:40Z"]),
        ("10-20/5 0 * * *", ["01-01T00:10Z", "01-01T00:15Z"]),
        ("0 0 * jun mon", ["06-01T00:00Z", "06-08T00:00Z"]),
        // A day of the month or a day of the week, where both are given.
        ("0 0 13 * Fri", ["01-02T00:00Z", "01-09T00:00Z"]),
        ("0 0 * * 0", ["01-04T00:00Z", "01-11T00:00Z"]),
        ("0 0 * * 7", ["01-04T00:00Z", "01-11T00:00Z"]),
        ("0 0 * * SAT-SUN", ["01-03T00:00Z", "01-04T00:00Z"]),
        ("0 0 L * *", ["01-31T00:00Z", "02-28T00:00Z"]),
        ("0 0 LW * *", ["01-30T00:00Z", "02-27T00:00Z"]),
        ("0 0 * * 5L", ["01-30T00:00Z", "02-27T00:00Z"]),
        ("0 0 * * mon#2", ["01-12T00:00Z", "02-09T00:00Z"]),
        ("@hourly", ["01-01T01:00Z", "01-01T02:00Z"]),
        ("@Daily", ["01-02T00:00Z", "01-03T00:00Z"]),
        ("@midnight", ["01-02T00:00Z", "01-03T00:00Z"]),
        ("@weekly", ["01-04T00:00Z", "01-11T00:00Z"]),
        ("@monthly", ["02-01T00:00Z", "03-01T00:00Z"]),
        ("@yearly", ["01-01T00:00Z", "01-01T00:00Z"]),
    ] {
        assert_eq!(fires(pattern, "UTC", "2026-01-01T00:00:00Z", 2), expected, "{pattern}");
    }
}

#[test]
fn cron_patterns_that_are_wrong_name_their_field() {
    for (pattern, message) in [
        ("60 * * * *", "the field minute `60`: must be a number from 0 to 59"),
        ("MON * * * *", "the field minute `MON`: must be a number from 0 to 59"),
        ("* 24 * * *", "the field hour `24`: must be a number from 0 to 23"),
        ("* * 0 * *", "the field day of month `0`: must be a number from 1 to 31"),
        ("* * 32W * *", "the field day of month `32`: must be a number from 1 to 31"),
        (
            "* * * 13 *",
            "the field month `13`: must be a number from 1 to 12, or a name such as JAN",
        ),
        ("* * * 1JAN *", "the field month `1JAN`: must be"),
        ("* * * * 8", "the field day of week `8`: must be a number from 0 to 7"),
        ("* * * * L", "the field day of week `L`: must be"),
        ("* * * * 1#6", "the field day of week `1#6`: a number from 1 to 5 must follow the `#`"),
        ("* * * * 1#mon", "the field day of week `1#MON`"),
        ("*/0 * * * *", "the field minute `*/0`: the step must be a number from 1 to 59"),
        ("*/60 * * * *", "the field minute `*/60`: the step"),
        ("5/10 * * * *", "the field minute `5/10`: a step follows `*` or a range"),
        ("0-99999999999 * * * *", "the field minute `99999999999`: must be"),
        ("30-10 * * * *", "the field minute `30-10`: the range ends before it begins"),
        ("1,,2 * * * *", "the field minute has an empty part in its list"),
        ("-5 * * * *", "the field minute ``: must be"),
        ("* * ? * *", "the field day of month `?`: must be"),
        ("* * * * +1", "the field day of week `+1`: must be"),
        ("* * * *", "has 4 fields: give five"),
        ("0 * * * * *", "has 6 fields: give five"),
        ("", "has 0 fields"),
        ("@reboot", "`@REBOOT` is unknown: use @hourly"),
        ("\u{663} * * * *", "the field minute `\u{663}`: must be"),
    ] {
        let error = Cron::parse(pattern, "UTC").expect_err(pattern).to_string();
        assert!(error.starts_with(message), "{pattern}: {error}");
    }
    let error = Cron::parse("@daily", "Mars/Olympus").expect_err("no zone").to_string();
    assert!(error.starts_with("`Mars/Olympus` is no time zone"), "{error}");
}

#[test]
fn cron_patterns_that_are_hostile_are_refused_fast() {
    let now = utc("2026-01-01T00:00:00Z");
    let began = Instant::now();
    let long = format!("{} * * * *", "1,".repeat(1_000_000));
    assert_eq!(Cron::parse(&long, "UTC"), Err(NotCron::Long));
    let zone = "x".repeat(1_000_000);
    assert!(Cron::parse("@daily", &zone).is_err_and(|error| error.to_string().len() < 200));

    // Months without such a day, and a fifth Monday in a February, which comes in 2044.
    for never in ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 * 2 1#5"] {
        let when = When::Cron(Box::new(Cron::parse(never, "Pacific/Apia").unwrap()));
        assert_eq!(when.check(now), Err(NotWhen::Never), "{never}");
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[test]
fn cron_time_that_the_clock_leaves_out_comes_right_after_the_change() {
    for (zone, pattern, after, expected) in [
        // 02:00 becomes 03:00, which is 01:00 UTC.
        ("Europe/Berlin", "30 2 * * *", "2026-03-28T12:00:00Z", ["03-29T01:00Z", "03-30T00:30Z"]),
        ("Europe/Berlin", "0,30 2 * * *", "2026-03-28T12:00:00Z", ["03-29T01:00Z", "03-30T00:00Z"]),
        (
            "America/New_York",
            "15 2 * * *",
            "2026-03-08T00:00:00Z",
            ["03-08T07:00Z", "03-09T06:15Z"],
        ),
        // 02:00 becomes 02:30, which is 15:30 UTC of the day before.
        (
            "Australia/Lord_Howe",
            "10 2 * * *",
            "2026-10-03T12:00:00Z",
            ["10-03T15:30Z", "10-04T15:10Z"],
        ),
        // The 30th was left out as a whole.
        ("Pacific/Apia", "0 12 * * *", "2011-12-29T23:00:00Z", ["12-30T10:00Z", "12-30T22:00Z"]),
        ("Pacific/Apia", "0 12 30 12 *", "2011-12-01T00:00:00Z", ["12-30T10:00Z", "12-29T22:00Z"]),
    ] {
        assert_eq!(fires(pattern, zone, after, 2), expected, "{zone} {pattern}");
    }
    // What follows the clock goes on after the change.
    for (zone, pattern, after, expected) in [
        ("Europe/Berlin", "*/30 * * * *", "2026-03-29T00:20:00Z", ["03-29T00:30Z", "03-29T01:00Z"]),
        (
            "Pacific/Apia",
            "0 * 29-31 12 *",
            "2011-12-30T09:10:00Z",
            ["12-30T10:00Z", "12-30T11:00Z"],
        ),
    ] {
        assert_eq!(fires(pattern, zone, after, 2), expected, "{zone} {pattern}");
    }
}

#[test]
fn cron_time_that_the_clock_shows_twice_comes_once() {
    for (zone, pattern, after, expected) in [
        ("Europe/Berlin", "30 2 * * *", "2026-10-24T12:00:00Z", ["10-25T00:30Z", "10-26T01:30Z"]),
        (
            "America/New_York",
            "30 1 * * *",
            "2026-11-01T00:00:00Z",
            ["11-01T05:30Z", "11-02T06:30Z"],
        ),
        (
            "Australia/Lord_Howe",
            "45 1 * * *",
            "2026-04-04T12:00:00Z",
            ["04-04T14:45Z", "04-05T15:15Z"],
        ),
        // Asked for within the second pass, it has been.
        ("Europe/Berlin", "30 2 * * *", "2026-10-25T01:10:00Z", ["10-26T01:30Z", "10-27T01:30Z"]),
        // What follows the clock comes in both passes.
        ("Europe/Berlin", "*/30 2 * * *", "2026-10-25T00:20:00Z", ["10-25T00:30Z", "10-25T01:00Z"]),
    ] {
        assert_eq!(fires(pattern, zone, after, 2), expected, "{zone} {pattern}");
    }
}

#[test]
fn cron_reads_back_what_is_stored() {
    let cron = Cron::parse(" 0 12 * * mon ", "Europe/Berlin").unwrap();

    let text = serde_json::to_string(&cron).unwrap();

    assert_eq!(text, r#"{"pattern":"0 12 * * mon","zone":"Europe/Berlin"}"#);
    assert_eq!(serde_json::from_str::<Cron>(&text).unwrap(), cron);
    assert!(serde_json::from_str::<Cron>(r#"{"pattern":"61 * * * *","zone":"UTC"}"#).is_err());
}

/// A pattern, and what its fields allow.
#[derive(Debug, Clone)]
struct Made {
    minutes: Option<Vec<u32>>,
    hours: Option<Vec<u32>>,
    days: Option<Vec<u32>>,
    months: Option<Vec<u32>>,
    weekdays: Option<Vec<u32>>,
}

impl Made {
    fn text(&self) -> String {
        let fields = [&self.minutes, &self.hours, &self.days, &self.months, &self.weekdays];
        let text = |values: &Option<Vec<u32>>| match values {
            None => "*".to_owned(),
            Some(values) => values.iter().map(u32::to_string).collect::<Vec<_>>().join(","),
        };
        fields.map(text).join(" ")
    }

    fn shows(&self, local: NaiveDateTime) -> bool {
        let has = |values: &Option<Vec<u32>>, value: u32| {
            values.as_ref().is_none_or(|values| values.contains(&value))
        };
        let day = has(&self.days, local.day());
        let weekday = has(&self.weekdays, local.weekday().num_days_from_sunday());
        let is_either = self.days.is_some() && self.weekdays.is_some();
        has(&self.minutes, local.minute())
            && has(&self.hours, local.hour())
            && has(&self.months, local.month())
            && if is_either { day || weekday } else { day && weekday }
    }

    /// Every fire of some days, found by looking at each of their minutes.
    fn search(&self, zone: Tz, from: DateTime<Utc>, days: i64) -> BTreeSet<DateTime<Utc>> {
        let names_times = self.minutes.is_some() && self.hours.is_some();
        let minute = TimeDelta::minutes(1);
        let local = |at: DateTime<Utc>| at.with_timezone(&zone).naive_local();
        let mut fires = BTreeSet::new();
        let mut at = from;
        // The latest local time so far: what is not later has been shown before.
        let mut latest = local(from - TimeDelta::days(2));
        let mut before = from - TimeDelta::days(2);
        while before < from {
            latest = latest.max(local(before));
            before += minute;
        }
        while at < from + TimeDelta::days(days) {
            let shown = local(at);
            let mut left_out = latest + minute;
            while names_times && left_out < shown {
                if self.shows(left_out) {
                    fires.insert(at);
                }
                left_out += minute;
            }
            if self.shows(shown) && (!names_times || shown > latest) {
                fires.insert(at);
            }
            latest = latest.max(shown);
            at += minute;
        }
        fires
    }
}

fn some(values: std::ops::Range<u32>) -> impl Strategy<Value = Option<Vec<u32>>> {
    let all: Vec<u32> = values.collect();
    prop_oneof![Just(None), subsequence(all.clone(), 1..4).prop_map(Some)]
}

fn made() -> impl Strategy<Value = Made> {
    // Hours of the night, in which clocks change, are drawn often.
    let hours = prop_oneof![some(0..24), some(0..4)];
    (some(0..60), hours, some(1..32), prop_oneof![Just(None), some(1..13)], some(0..7)).prop_map(
        |(minutes, hours, days, months, weekdays)| Made { minutes, hours, days, months, weekdays },
    )
}

/// Days on which clocks change in one of the zones, and others.
fn day() -> impl Strategy<Value = DateTime<Utc>> {
    let changes = [
        "2026-03-28",
        "2026-10-24",
        "2026-03-07",
        "2026-10-31",
        "2026-04-04",
        "2026-10-03",
        "2011-12-29",
        "2026-02-14",
        "2026-03-21",
    ];
    let any = (14_000i64..21_000).prop_map(|days| DateTime::UNIX_EPOCH + TimeDelta::days(days));
    let change = prop::sample::select(changes.to_vec());
    prop_oneof![any, change.prop_map(|day| utc(&format!("{day}T00:00:00Z")))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn cron_fires_rise_and_are_those_of_a_search_by_minutes(
        made in made(),
        zone in prop::sample::select(ZONES.to_vec()),
        from in day(),
    ) {
        let cron = Cron::parse(&made.text(), zone).unwrap();
        let until = from + TimeDelta::days(4);
        let before = from - TimeDelta::seconds(1);

        let fires: Vec<_> = std::iter::successors(cron.next(before), |at| cron.next(*at))
            .take_while(|at| *at < until)
            .collect();

        prop_assert!(fires.is_sorted_by(|a, b| a < b), "{fires:?}");
        let searched = made.search(zone.parse().unwrap(), from, 4);
        prop_assert_eq!(fires.into_iter().collect::<BTreeSet<_>>(), searched, "{}", made.text());
    }

    #[test]
    fn cron_parser_takes_any_text(text in "[@*/,#\\-0-9A-Z a-zLW]{0,40}", zone in "[A-Za-z/]{0,12}") {
        let _ = Cron::parse(&text, &zone);
        if let Ok(cron) = Cron::parse(&text, "America/New_York") {
            let after = utc("2026-01-01T00:00:00Z");
            prop_assert!(cron.next(after).is_none_or(|at| at > after));
        }
    }
}
