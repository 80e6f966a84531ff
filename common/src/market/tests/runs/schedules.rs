use super::*;
use crate::run::cause::CauseKind;
use crate::schedule::{Missed, Overlap, Rules, Schedule, ScheduleState, When};

const JOB: JobId = JobId::new(Uuid::from_u128(7));

/// Rules of a schedule that comes each 10 s.
fn rules() -> Rules {
    Rules::new(When::Every { secs: 10, from: at(0) })
}

fn schedule(rules: Rules) -> Schedule {
    Schedule::set(JOB, testing::author(CUSTOMER), rules, None, at(0))
}

fn order() -> RunSpec {
    RunSpec { job: JOB, ..spec(Limits::default()) }
}

/// Lets a schedule that has been put be due, and answers; gives it as it is then.
fn fire(market: &mut Market, before: Schedule, secs: i64) -> Schedule {
    market.fire_due(9, at(secs));
    market.fired(before.clone(), &Ok(order()), at(secs));
    market.check().unwrap();
    market.outbox.changes.schedules.get(&JOB).cloned().unwrap_or(before)
}

fn started(market: &Market) -> Vec<RunId> {
    market.outbox.changes.new_runs.iter().copied().collect()
}

fn skips(market: &mut Market) -> Vec<(i64, i64, SkipCause)> {
    let skips = std::mem::take(&mut market.outbox.changes.skips);
    let secs = |at: DateTime<Utc>| at.timestamp();
    skips.into_iter().map(|skip| (secs(skip.first), secs(skip.last), skip.why)).collect()
}

fn run_at(secs: i64) -> RunId {
    RunId::of_fire(JOB, at(secs))
}

#[test]
fn schedule_is_told_to_be_due_once_and_makes_the_run_of_its_nominal_time() {
    let mut market = funded("1000");
    let set = schedule(rules());
    market.put_schedule(set.clone());
    assert_eq!(market.next_due(), Some(at(10)));

    market.fire_due(9, at(9));
    market.fire_due(0, at(10));
    assert_eq!(market.drain().fires, []);
    market.fire_due(9, at(10));
    market.fire_due(9, at(11));
    let fires = market.drain().fires;
    assert_eq!(fires, [Fire { job: JOB, revision: 1, at: at(10) }]);
    assert_eq!(market.next_due(), None);

    market.fired(set.clone(), &Ok(order()), at(11));
    // What was read before that is out of date.
    market.fired(set, &Ok(order()), at(12));

    assert_eq!(started(&market), [run_at(10)]);
    let changes = market.drain();
    assert_eq!(changes.fired.get(&JOB), Some(&run_at(10)));
    let moved = &changes.schedules[&JOB];
    assert_eq!((moved.revision, moved.last, moved.next), (1, Some(at(10)), Some(at(20))));
    assert_eq!(market.next_due(), Some(at(20)));
}

#[test]
fn schedule_that_was_changed_or_removed_meanwhile_makes_no_run() {
    let mut market = funded("1000");
    let set = schedule(rules());
    market.put_schedule(set.clone());
    market.fire_due(9, at(10));

    market.put_schedule(set.clone().paused());
    market.fired(set.clone(), &Ok(order()), at(10));
    assert_eq!((started(&market), market.next_due()), (vec![], None));

    market.put_schedule(set.clone().paused().resumed(at(100)));
    market.fired(set.clone(), &Ok(order()), at(100));
    assert_eq!((started(&market), market.next_due()), (vec![], Some(at(110))));

    let resumed = set.paused().resumed(at(100));
    market.put_schedule(resumed.clone().removed());
    market.fired(resumed, &Ok(order()), at(110));
    assert_eq!((started(&market), market.next_due()), (vec![], None));
    assert_eq!(market.drain().schedules[&JOB].state, ScheduleState::Removed);
}

#[test]
fn overlap_is_forbidden_allowed_or_replaces() {
    for (overlap, runs, skipped) in [
        (Overlap::Forbid, vec![10], vec![20, 30]),
        (Overlap::Allow(2), vec![10, 20], vec![30]),
        (Overlap::Replace, vec![30], vec![]),
    ] {
        let mut market = funded("1000");
        let mut schedule = schedule(Rules { overlap, ..rules() });
        market.put_schedule(schedule.clone());

        for secs in [10, 20, 30] {
            schedule = fire(&mut market, schedule, secs);
        }

        let going: Vec<_> = market.runs().map(|run| run.id).collect();
        assert_eq!(going, runs.iter().map(|at| run_at(*at)).collect::<Vec<_>>(), "{overlap:?}");
        let expected: Vec<_> = skipped.iter().map(|at| (*at, *at, SkipCause::Overlap)).collect();
        assert_eq!(skips(&mut market), expected, "{overlap:?}");
    }
}

#[test]
fn overlap_counts_runs_that_are_being_stopped_and_not_those_that_have_ended() {
    let mut market = funded("1000");
    let mut schedule = schedule(rules());
    market.put_schedule(schedule.clone());
    schedule = fire(&mut market, schedule, 10);
    do_steps(&mut market, run_at(10), 1, at(10));
    market.sync(node(1), OPERATOR, holds(&[]), at(11));
    market.dispatch(at(11));
    let lease = testing::process(run_at(10), 0, 1);
    market.sync(node(1), OPERATOR, holds(&[(lease, 1)]), at(12));

    market.cancel(run_at(10), "enough".to_owned(), at(13)).unwrap();
    schedule = fire(&mut market, schedule, 20);
    assert_eq!(skips(&mut market), [(20, 20, SkipCause::Overlap)]);
    market.sync(node(1), OPERATOR, holds(&[]), at(21));
    fire(&mut market, schedule, 30);

    assert_eq!(started(&market), [run_at(10), run_at(30)]);
    assert_eq!(skips(&mut market), []);
}

#[test]
fn missed_times_are_noted_and_make_the_runs_that_the_rules_ask_for() {
    let overlap = Overlap::Allow(100);
    for (missed, runs, skipped) in [
        (Missed::RunOnce, vec![50], vec![(10, 40, SkipCause::Missed)]),
        (Missed::RunAll, vec![10, 20, 30, 40, 50], vec![]),
    ] {
        let mut market = funded("1000");
        let schedule = schedule(Rules { missed, overlap, ..rules() });
        market.put_schedule(schedule.clone());

        let moved = fire(&mut market, schedule, 55);

        let mut expected: Vec<_> = runs.iter().map(|at| run_at(*at)).collect();
        expected.sort();
        assert_eq!(started(&market), expected);
        assert_eq!(skips(&mut market), skipped);
        assert_eq!(moved.next, Some(at(60)));
    }
}

#[test]
fn nominal_time_that_the_wallet_cannot_pay_is_a_failed_run() {
    let mut market = funded("0.000001");
    let schedule = schedule(rules());
    market.put_schedule(schedule.clone());

    let moved = fire(&mut market, schedule, 10);

    let changes = market.drain();
    let [run] = &changes.runs[..] else { panic!("{:?}", changes.runs) };
    assert_eq!((run.id, run.state, run.held), (run_at(10), RunState::Failed, Credits::ZERO));
    assert_eq!(run.cause.as_ref().map(|cause| cause.kind), Some(CauseKind::Credits));
    assert!(changes.new_runs.contains(&run.id));
    assert!(changes.transfers.iter().all(|transfer| transfer.run.is_none()));
    assert_eq!(moved.next, Some(at(20)));
}

#[test]
fn job_that_cannot_be_run_is_noted_with_its_reason() {
    let mut market = funded("1000");
    let set = schedule(Rules::new(When::Once(at(10))));
    market.put_schedule(set.clone());
    market.fire_due(9, at(10));

    market.fired(set, &Err("the app is gone".to_owned()), at(10));

    assert_eq!(skips(&mut market), [(10, 10, SkipCause::Job("the app is gone".to_owned()))]);
    let ended = market.drain().schedules[&JOB].clone();
    assert_eq!((ended.state, market.next_due()), (ScheduleState::Ended, None));
}

#[test]
fn schedule_is_due_again_after_a_restart() {
    let set = schedule(rules());
    let planned = Planned { job: JOB, revision: 1, at: at(10), due: at(10) };
    let stored = Stored { schedules: vec![planned], ..Stored::default() };
    let mut market = Market::load(Policy::default(), stored, at(1000));

    market.fire_due(9, at(1000));

    assert_eq!(market.drain().fires, [Fire { job: JOB, revision: 1, at: at(10) }]);
    market.fired(set, &Ok(order()), at(1000));
    assert_eq!(started(&market), [run_at(1000)]);
}
