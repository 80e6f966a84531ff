//! A statement adds up line by line, whatever overlaps.

use super::*;
use crate::money::statement::Line;

/// This many runs at once, each of a few chunks.
const RUNS: u128 = 50;
const CHUNKS: u32 = 3;

fn run_id(n: u128) -> RunId {
    RunId::new(Uuid::from_u128(1000 + n))
}

/// A market in which all runs are at work on one large node.
fn at_work() -> Market {
    let mut market = funded("1000");
    for n in 0..RUNS {
        let mut spec = spec(Limits::default());
        spec.name = format!("job {n}");
        start_cut(&mut market, run_id(n), spec, CHUNKS, at(0));
    }
    market
}

fn large(mut heard: CheckedSync) -> CheckedSync {
    heard.sync.capacity = Resources::new(1_000_000, 1_000_000);
    heard
}

fn claims(leases: &[(Lease, u64)]) -> CheckedSync {
    let receipts = leases.iter().flat_map(|(lease, secs)| {
        let usage = Usage::full(container().needs, secs * 1000);
        ends(*lease, Outcome::Succeeded { outputs: vec![], value: None }, usage).receipts
    });
    CheckedSync { receipts: receipts.collect(), ..large(holds(&[])) }
}

/// What the statement, the ledger and the runs that go on must say alike.
fn adds_up(market: &Market, lines: &[Line]) {
    let sum = lines.iter().fold(Credits::ZERO, |sum, line| match line.debit() {
        Some(debit) => sum.checked_sub(debit).unwrap(),
        None => sum.checked_add(line.amount).unwrap(),
    });
    let charged = market.runs().fold(Credits::ZERO, |sum, run| sum.saturating_add(run.captured()));
    let has = market
        .balance(Account::Available(CUSTOMER))
        .saturating_add(market.balance(Account::Held(CUSTOMER)))
        .saturating_add(charged);
    assert_eq!(has, sum);
    assert_eq!(lines.last().map(|line| line.balance), Some(sum));
}

#[test]
fn statement_of_fifty_overlapping_runs_adds_up_line_by_line() {
    let mut market = at_work();
    let mut lines = market.drain().lines;
    let (mut secs, mut aborted) = (0, None);
    hear(&mut market, 0, large(holds(&[])), secs);
    while market.runs().next().is_some() {
        // Runs end in another order than they began, and each while others are under way.
        let now = leased(&market, 0);
        let running: Vec<_> = now.iter().map(|lease| (*lease, 1)).collect();
        secs += 1;
        hear(&mut market, 0, large(holds(&running)), secs);
        let some = now.iter().enumerate().filter(|(n, _)| n % 3 == 1 || now.len() < 3);
        let ended: Vec<_> = some.map(|(n, lease)| (*lease, 1 + n as u64 % 7)).collect();
        secs += 9;
        hear(&mut market, 0, claims(&ended), secs);
        let folding: Vec<RunId> = market
            .runs()
            .filter(|run| run.phase() == Some(Phase::Assemble))
            .map(|run| run.id)
            .collect();
        for run in folding {
            do_steps(&mut market, run, CHUNKS, at(secs));
        }
        let begun = |run: &&Run| !run.captured().is_zero() && run.phase() == Some(Phase::Process);
        if aborted.is_none() && secs > 100 {
            aborted = market.runs().find(begun).map(|run| run.id);
            market.cancel(aborted.unwrap(), "enough".to_owned(), at(secs)).unwrap();
        }
        market.tick(at(secs));
        lines.extend(market.drain().lines);
        adds_up(&market, &lines);
    }

    let mut head = Head::default();
    for line in &lines {
        assert!(line.continues(&head), "{line:?} after {head:?}");
        assert_eq!(line.hash, line.chained(head.hash));
        head = Head::at(line);
    }
    let own: Vec<_> = lines.iter().filter(|line| line.owner == CUSTOMER).collect();
    assert_eq!(own.len() as u128, RUNS + 1);
    assert_eq!(head.balance, market.balance(Account::Available(CUSTOMER)));
}
