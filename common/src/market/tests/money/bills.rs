//! Who pays for attempts that gave no result, and for a customer's own partitioner and assembler.

use super::*;

fn fails_after(lease: Lease, failure: Failure, secs: u64) -> CheckedSync {
    let outcome = Outcome::Failed { failure, message: String::new() };
    ends(lease, outcome, Usage::full(container().needs, secs * 1000))
}

fn earned(market: &Market) -> Credits {
    market.pending(OPERATOR)
}

#[test]
fn failure_by_the_customers_fault_costs_its_usage() {
    for failure in [
        Failure::ExitCode(1),
        Failure::Timeout,
        Failure::OutOfMemory,
        Failure::Results,
        Failure::Package,
        Failure::Input,
    ] {
        let mut market = processing(1, Limits { task_retries: 1, ..Limits::default() });
        hear(&mut market, 0, holds(&[]), 0);
        hear(&mut market, 0, fails_after(lease(0, 1), failure, 20), 20);
        assert_eq!(earned(&market), cost(20), "{failure:?}");
        hear(&mut market, 0, fails_after(lease(0, 2), failure, 5), 25);

        assert_eq!(earned(&market), cost(20).saturating_add(cost(5)));
        let changes = market.drain();
        assert_eq!((changes.attempts[0].price, changes.tasks[0].price), (cost(20), cost(5)));
        let run = &changes.runs[0];
        assert_eq!((run.captured, run.usage.wall_ms), (earned(&market), 25_000));
        assert_eq!(changes.lines.last().unwrap().debit(), Some(earned(&market)));
    }
}

#[test]
fn failure_or_loss_of_a_node_is_free() {
    let mut market = processing(1, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    hear(&mut market, 0, holds(&[(lease(0, 1), 10)]), 10);
    let outcome = Outcome::NodeFault { message: "no disk".to_owned() };
    hear(&mut market, 0, ends(lease(0, 1), outcome, Usage::full(container().needs, 20_000)), 20);
    hear(&mut market, 0, holds(&[(lease(0, 2), 5)]), 25);
    market.tick(at(60));

    assert_eq!(earned(&market), Credits::ZERO);
}

#[test]
fn task_under_way_in_an_aborted_run_costs_its_time() {
    let mut market = processing(3, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    hear(&mut market, 0, holds(&[(lease(0, 1), 2), (lease(1, 1), 1)]), 10);

    market.cancel(RUN, "enough".to_owned(), at(20)).unwrap();

    assert_eq!(earned(&market), cost(12).saturating_add(cost(11)));
    let changes = market.drain();
    let prices: Vec<_> = changes.tasks.iter().map(|task| task.price).collect();
    assert_eq!(prices, [cost(12), cost(11), Credits::ZERO]);
    assert_eq!(market.balance(Account::Held(CUSTOMER)), Credits::ZERO);
}

#[test]
fn run_that_nodes_keep_losing_pays_nothing_for_tasks_under_way() {
    let mut market = processing(2, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    hear(&mut market, 1, holds(&[]), 0);
    for attempt in 1..=Policy::default().losses_max {
        let Some(lost) = leased(&market, 0).first().copied() else { break };
        hear(&mut market, 1, holds(&[]), attempt.into());
        hear(&mut market, 0, faults(lost), attempt.into());
        if market.run(RUN).is_none() {
            break;
        }
    }

    assert_eq!(earned(&market), Credits::ZERO);
}

#[test]
fn custom_partitioner_and_assembler_are_held_for_and_paid() {
    let mut market = funded("1000");
    let own = custom_engines();
    let stages = [Phase::Partition, Phase::Process, Phase::Assemble]
        .map(|phase| testing::stage_of(&own.plan, phase));
    start_cut(&mut market, RUN, own, 1, at(0));
    assert_eq!(market.run(RUN).unwrap().held(), cost(60).saturating_mul(2));
    hear(&mut market, 0, holds(&[]), 0);
    let does = |market: &mut Market, from: i64| {
        let task = leased(market, 0)[0];
        hear(market, 0, holds(&[(task, 0)]), from);
        let usage = Usage::full(container().needs, 20_000);
        let done = Outcome::Succeeded { outputs: vec![], value: None };
        hear(market, 0, ends(task, done, usage), from + 20);
        task.task.stage
    };

    let first = does(&mut market, 0);
    do_steps(&mut market, RUN, 1, at(20));
    market.dispatch(at(20));
    let second = does(&mut market, 20);
    let third = does(&mut market, 40);
    do_steps(&mut market, RUN, 1, at(60));

    assert_eq!([first, second, third], stages);
    assert_eq!(earned(&market), cost(20).saturating_mul(3));
    assert_eq!(market.drain().lines.last().unwrap().debit(), Some(earned(&market)));
}

#[test]
fn tasks_without_results_are_counted_and_refused_if_the_job_requires_results() {
    let mut market = processing(2, Limits::default());
    hear(&mut market, 0, holds(&[]), 0);
    hear(&mut market, 0, succeeds(lease(0, 1)), 1);
    assert_eq!(market.run(RUN).unwrap().progress().tasks_without_results, 1);

    let limits = Limits { require_results: true, ..Limits::default() };
    let mut market = processing(1, limits);
    hear(&mut market, 0, holds(&[]), 0);
    hear(&mut market, 0, succeeds(lease(0, 1)), 1);

    assert!(market.run(RUN).is_none());
    assert_eq!(earned(&market), Credits::ZERO);
    let error = market.drain().runs.pop().unwrap().cause.unwrap().message;
    assert!(error.contains("it gave no results"), "{error}");
}
