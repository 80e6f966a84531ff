use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use uuid::Uuid;

use super::cron::Cron;
use super::*;
use crate::testing::{at, author};

const JOB: JobId = JobId::new(Uuid::from_u128(7));

fn every(secs: u32) -> When {
    When::Every { secs, from: at(0) }
}

fn schedule(rules: Rules) -> Schedule {
    Schedule::set(JOB, author(WorkspaceId::new(Uuid::nil())), rules, None, at(0))
}

fn secs(times: &[DateTime<Utc>]) -> Vec<i64> {
    times.iter().map(DateTime::timestamp).collect()
}

#[test]
fn times_of_an_interval_are_counted_from_its_beginning() {
    let when = When::Every { secs: 10, from: at(100) };

    assert_eq!(secs(&when.preview(at(0), 3)), [100, 110, 120]);
    assert_eq!(secs(&when.preview(at(110), 2)), [120, 130]);
    assert_eq!(when.next(at(119) + TimeDelta::milliseconds(999)), Some(at(120)));
}

#[test]
fn single_time_comes_once_and_at_once_where_it_has_passed() {
    let schedule = schedule(Rules::new(When::Once(at(-500))));
    assert_eq!(schedule.due_at(), Some(at(-500)));

    let due = schedule.due(at(0)).unwrap();
    assert_eq!((due.runs, due.missed, due.next), (vec![at(-500)], None, None));

    let ended = schedule.moved_on(due.last, due.next);
    assert_eq!((ended.state, ended.next), (ScheduleState::Ended, None));
}

#[test]
fn missed_times_make_as_many_runs_as_the_rules_say() {
    for (missed, grace_secs, now, runs, skipped) in [
        // The server was away until 95 s; times come each 10 s.
        (Missed::RunOnce, None, 95, vec![90], Some((10, 80))),
        (Missed::RunOnce, Some(4), 95, vec![], Some((10, 90))),
        (Missed::RunOnce, Some(5), 95, vec![90], Some((10, 80))),
        (Missed::Skip, None, 95, vec![90], Some((10, 80))),
        (Missed::Skip, Some(0), 95, vec![], Some((10, 90))),
        (Missed::Skip, Some(0), 90, vec![90], Some((10, 80))),
        (Missed::RunAll, None, 45, vec![10, 20, 30, 40], None),
        (Missed::RunAll, Some(20), 45, vec![30, 40], Some((10, 20))),
        (Missed::RunAll, None, 115, vec![20, 30, 40, 50, 60, 70, 80, 90, 100, 110], Some((10, 10))),
        (
            Missed::RunAll,
            None,
            10_000_005,
            (9_999_910..=10_000_000).step_by(10).collect(),
            Some((10, 9_999_900)),
        ),
        (Missed::RunOnce, None, 10, vec![10], None),
    ] {
        let schedule = schedule(Rules { missed, grace_secs, ..Rules::new(every(10)) });

        let due = schedule.due(at(now)).unwrap();

        assert_eq!(secs(&due.runs), runs, "{missed:?} {grace_secs:?} {now}");
        let between = due.missed.map(|(first, last)| (first.timestamp(), last.timestamp()));
        assert_eq!(between, skipped, "{missed:?} {grace_secs:?} {now}");
        assert_eq!(due.next, Some(at(now / 10 * 10 + 10)));
    }
}

#[test]
fn usual_grace_is_the_interval_and_at_most_an_hour() {
    let daily = When::Cron(Box::new(Cron::parse("0 0 * * *", "UTC").unwrap()));
    let schedule = schedule(Rules::new(daily));
    let day = 24 * 3600;

    let in_time = schedule.due(at(day + 3600)).unwrap();
    let late = schedule.due(at(day + 3601)).unwrap();

    assert_eq!((secs(&in_time.runs), in_time.missed), (vec![day], None));
    assert_eq!((secs(&late.runs), late.missed), (vec![], Some((at(day), at(day)))));
}

#[test]
fn pause_makes_no_runs_and_resuming_none_of_its_time() {
    let paused = schedule(Rules::new(every(10))).paused();
    assert_eq!((paused.state, paused.due_at()), (ScheduleState::Paused, None));
    assert_eq!(paused.due(at(1000)), None);

    let resumed = paused.resumed(at(1000));

    assert_eq!((resumed.revision, resumed.next), (3, Some(at(1010))));
    let once = schedule(Rules::new(When::Once(at(5)))).paused().resumed(at(6));
    assert_eq!((once.state, once.next), (ScheduleState::Ended, None));
}

#[test]
fn settled_time_never_comes_again() {
    let when = When::Once(at(5));
    let settled = schedule(Rules::new(when.clone())).moved_on(at(5), None);

    let author = settled.author;
    let again = Schedule::set(JOB, author, Rules::new(when), Some(&settled.removed()), at(9));
    assert_eq!((again.state, again.revision, again.next), (ScheduleState::Ended, 3, None));

    // The clock went back.
    let settled = schedule(Rules::new(every(10))).moved_on(at(100), Some(at(110)));
    let set = Schedule::set(JOB, author, Rules::new(every(10)), Some(&settled), at(50));
    assert_eq!(set.next, Some(at(110)));
    assert_eq!(settled.paused().resumed(at(50)).next, Some(at(110)));
}

#[test]
fn rules_out_of_range_are_refused() {
    let rules = || Rules::new(every(10));
    for (wrong, message) in [
        (Rules::new(every(0)), "must be from 1 to 31622400"),
        (Rules::new(every(u32::MAX)), "must be from 1 to 31622400"),
        (Rules::new(When::Once(DateTime::<Utc>::MAX_UTC)), "must be before the year 10000"),
        (Rules { overlap: Overlap::Allow(0), ..rules() }, "must be from 1 to 100"),
        (Rules { overlap: Overlap::Allow(101), ..rules() }, "must be from 1 to 100"),
        (Rules { grace_secs: Some(u32::MAX), ..rules() }, "must be at most 31622400"),
        (Rules { jitter_secs: 3601, ..rules() }, "must be at most 3600"),
    ] {
        assert_eq!(wrong.check(at(0)).unwrap_err().to_string(), message);
    }
    assert_eq!(rules().check(at(0)), Ok(()));
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let patterns = ["* * * * *", "*/7 * * * *", "30 2 * * *", "0 0 1 * *"];
    let cron = prop::sample::select(patterns.to_vec())
        .prop_map(|pattern| When::Cron(Box::new(Cron::parse(pattern, "Europe/Berlin").unwrap())));
    let when = prop_oneof![
        cron,
        (1u32..5_000).prop_map(every),
        (0i64..9_000_000).prop_map(|s| When::Once(at(s)))
    ];
    let missed = prop::sample::select(vec![Missed::Skip, Missed::RunOnce, Missed::RunAll]);
    let grace = prop::option::of(0u32..100_000);
    (when, missed, grace, 0u32..3_600).prop_map(|(when, missed, grace_secs, jitter_secs)| Rules {
        when,
        overlap: Overlap::Forbid,
        missed,
        grace_secs,
        jitter_secs,
    })
}

proptest! {
    /// Whatever the rules, and whenever the server looks.
    #[test]
    fn times_are_settled_once_and_in_order(
        rules in any_rules(),
        waits in prop::collection::vec(0i64..200_000, 1..20),
    ) {
        let mut schedule = schedule(rules);
        let (mut now, mut settled) = (at(0), None);
        for wait in waits {
            now += TimeDelta::seconds(wait);
            let Some(due) = schedule.due(now) else {
                prop_assert!(schedule.due_at().is_none_or(|at| at > now));
                continue;
            };
            let first = due.missed.map_or_else(|| due.runs[0], |(first, _)| first);
            prop_assert_eq!(Some(first), schedule.next);
            prop_assert!(settled.is_none_or(|settled| settled < first));
            if let (Some((_, last)), Some(run)) = (due.missed, due.runs.first()) {
                prop_assert_eq!(schedule.rules.when.next(last), Some(*run), "none is left out");
            }
            for pair in due.runs.windows(2) {
                prop_assert_eq!(schedule.rules.when.next(pair[0]), Some(pair[1]));
            }
            prop_assert!(due.runs.len() <= RUN_ALL_MAX);
            prop_assert!(due.last <= now && due.next.is_none_or(|next| next > due.last));
            settled = Some(due.last);
            schedule = schedule.moved_on(due.last, due.next);
            prop_assert!(schedule.due_at().is_none_or(|at| at > now));
        }
    }
}
