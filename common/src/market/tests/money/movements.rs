//! Whatever is asked of a wallet, in whatever order: nothing is made or lost, and the statement
//! tells all of it.

use proptest::prelude::*;

use super::*;
use crate::ids::{RedemptionId, RequestId};
use crate::market::{Cause, Movement};
use crate::money::currency::Terms;
use crate::money::ledger::{Account, Ledger};
use crate::money::statement::{Head, Line};

fn terms(amount: Credits) -> Terms {
    let (currency, rate) = ("USD".parse().unwrap(), "0.03311".parse().unwrap());
    Terms { amount, currency, money: "1".parse().unwrap(), rate }
}

fn cause(n: usize, amount: Credits) -> Cause {
    let id = Uuid::from_u128(9);
    match n {
        0 => Cause::Grant("gift".to_owned()),
        1 => Cause::Coupon(RedemptionId::new(id), "CODE".to_owned()),
        2 => Cause::TopUp(RequestId::new(id), terms(amount)),
        3 => Cause::Payout(RequestId::new(id), terms(amount)),
        4 => Cause::Return(RequestId::new(id), terms(amount)),
        5 => Cause::Paid(RequestId::new(id)),
        _ => Cause::Storage("3 GiB".to_owned()),
    }
}

proptest! {
    #[test]
    fn movements_keep_the_sum_of_credits_and_appear_on_the_statement(
        moves in proptest::collection::vec((0..7usize, 1..100i64), 0..60)
    ) {
        let mut market = Market::load(Policy::default(), Stored::default(), at(0));
        let mut head = Head::default();
        for (n, units) in moves {
            let amount = Credits::from_units(units).unwrap();
            let movement = Movement { owner: CUSTOMER, amount, cause: cause(n, amount) };

            let refused = market.book(movement, at(1)).is_err();

            let changes = market.drain();
            prop_assert_eq!(market.check(), Ok(()));
            prop_assert_eq!(refused, changes.transfers.is_empty());
            for line in &changes.lines {
                prop_assert!(line.continues(&head));
                prop_assert_eq!(line.hash, line.chained(head.hash));
                head = Head::at(line);
            }
            prop_assert_eq!(head.balance, market.balance(Account::Available(CUSTOMER)));
        }
    }
}

#[test]
fn release_gives_each_operator_its_remaining_earnings_in_one_line() {
    let shards = [1, 2].map(Shard::new);
    let pending = |n: usize| Account::Pending(OPERATOR, shards[n]);
    let units = |text| credits(text).units();
    let balances = [
        (pending(0), units("1")),
        (pending(1), units("5")),
        (Account::World(shards[0]), -units("6")),
    ];
    let ledger = Ledger::load(balances.into(), BTreeMap::new());
    let stored = Stored { ledger, ..Stored::default() };
    let mut market = Market::load(Policy::default(), stored, at(0));
    let earned = Earned { amount: credits("2"), tasks: 12, jobs: 3, from: at(0), to: at(60) };
    let later = Earned { tasks: 1, jobs: 1, from: at(30), to: at(3599), ..earned };
    let share = |n: usize, earned| Share { operator: OPERATOR, shard: shards[n], earned };
    let nothing = Share { operator: CUSTOMER, shard: shards[0], earned };

    market.release_earnings(&[share(0, earned), nothing, share(1, later)], at(0));

    let changes = market.drain();
    let moved: Vec<_> = changes.transfers.iter().map(|t| (t.from, t.amount)).collect();
    assert_eq!(moved, [(pending(0), credits("1")), (pending(1), credits("2"))]);
    assert_eq!(market.check(), Ok(()));
    assert_eq!(market.balance(Account::Available(OPERATOR)), credits("3"));
    let [line] = changes.lines.as_slice() else { panic!("{:?}", changes.lines) };
    assert_eq!((line.owner, line.amount), (OPERATOR, credits("3")));
    let what = "earned by your nodes from 1970-01-01T00:00:00Z to 1970-01-01T00:59:59Z \
                (tasks: 13, jobs: 4)";
    assert_eq!(line.description, what);
}

#[test]
fn changed_line_breaks_the_chain() {
    let mut market = Market::load(Policy::default(), Stored::default(), at(0));
    market.grant(CUSTOMER, credits("1"), "a \0 gift", at(0)).unwrap();
    let line = market.drain().lines.remove(0);

    assert_eq!(line.chained(Head::default().hash), line.hash);
    assert_eq!(line.description, "a \u{fffd} gift");
    for changed in [
        Line { amount: credits("2"), ..line.clone() },
        Line { balance: credits("2"), ..line.clone() },
        Line { number: 2, ..line.clone() },
        Line { owner: OPERATOR, ..line.clone() },
    ] {
        assert_ne!(changed.chained(Head::default().hash), line.hash);
    }
}
