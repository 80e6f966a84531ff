//! Usage → money. The one rounding rule stands here: half-even, to eight decimals.

use std::cmp::Ordering;
use std::num::NonZeroU64;

use crate::compute::resources::{Resources, Usage};
use crate::money::credits::Credits;

/// The price of one vCPU·h. With that of one GiB·h it makes one credit.
pub const CPU_HOUR: Credits = Credits::from_units(90_110_316).expect("a price is not negative");
/// The price of one GiB·h.
pub const MEMORY_HOUR: Credits = Credits::from_units(9_889_684).expect("a price is not negative");
const LARGEST: Credits = Credits::from_units(i64::MAX).expect("an amount is not negative");
const MS_PER_SEC: u64 = 1000;
const MS_PER_HOUR: u64 = 3_600_000;
const MIB_PER_GIB: u64 = 1024;

/// What the usage costs at the base price.
///
/// `vCPU·h × 0.90110316 + GiB·h × 0.09889684`, rounded half-even to eight decimals. Usage too
/// large for an amount of credits gives the largest amount.
pub fn price(usage: Usage) -> Credits {
    let per_hour =
        |amount: u64, price: Credits| u128::from(amount) * u128::from(price.units().unsigned_abs());
    let cpu = per_hour(usage.cpu_ms, CPU_HOUR) * u128::from(MIB_PER_GIB);
    let memory = per_hour(usage.memory_mib_ms, MEMORY_HOUR);
    divided(cpu + memory, u128::from(MS_PER_HOUR * MIB_PER_GIB))
}

/// This many units divided, rounded half-even: whole numbers, so that nothing is rounded twice.
fn divided(units: u128, divisor: u128) -> Credits {
    let (whole, rest) = (units / divisor, units % divisor);
    let up = match (rest * 2).cmp(&divisor) {
        Ordering::Less => 0,
        Ordering::Equal => whole % 2,
        Ordering::Greater => 1,
    };
    i64::try_from(whole + up).ok().and_then(Credits::from_units).unwrap_or(LARGEST)
}

/// The task timeout, in seconds, of a job that gives none, where the server's owner has set no
/// other.
pub const TASK_TIMEOUT_SECS: u32 = 3600;

/// The days by which a month's price is divided.
const DAYS_PER_MONTH: u64 = 30;

/// What keeping this many bytes for a day costs, rounded half-even to eight decimals.
pub fn stored_for_a_day(bytes: u64, per_gib_month: Credits) -> Credits {
    let units = u128::from(bytes) * u128::from(per_gib_month.units().unsigned_abs());
    divided(units, u128::from(DAYS_PER_MONTH) << 30)
}

/// What a task costs at most: it uses all that it may for as long as it may.
pub fn most(needs: Resources, secs: u32) -> Credits {
    price(Usage::full(needs, u64::from(secs) * MS_PER_SEC))
}

/// What some tasks have cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    pub paid: Credits,
    pub tasks: NonZeroU64,
}

impl Sample {
    pub fn new(paid: Credits, tasks: u64) -> Option<Self> {
        Some(Self { paid, tasks: NonZeroU64::new(tasks)? })
    }

    /// What this many tasks cost if they are like these, rounded up to eight decimals.
    pub fn of(self, tasks: u64) -> Credits {
        let units = u128::from(self.paid.units().unsigned_abs()) * u128::from(tasks);
        let units = units.div_ceil(u128::from(self.tasks.get()));
        i64::try_from(units).ok().and_then(Credits::from_units).unwrap_or(LARGEST)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rust_decimal::{Decimal, RoundingStrategy};

    use super::*;

    proptest! {
        #[test]
        fn price_of_any_usage_is_that_of_decimal_arithmetic(
            cpu_ms in 0..u64::from(u32::MAX),
            memory_mib_ms in 0..u64::from(u32::MAX) << 12,
        ) {
            let hours = |n: u64, of: u64| Decimal::from(n) / Decimal::from(of);
            let cpu = hours(cpu_ms, MS_PER_HOUR) * CPU_HOUR.decimal();
            let memory = hours(memory_mib_ms, MS_PER_HOUR * MIB_PER_GIB) * MEMORY_HOUR.decimal();
            let amount = (cpu + memory)
                .round_dp_with_strategy(8, RoundingStrategy::MidpointNearestEven);
            let usage = Usage { cpu_ms, memory_mib_ms, ..Usage::default() };

            prop_assert_eq!(Some(price(usage)), Credits::from_decimal(amount));
        }
    }

    #[test]
    fn price_of_the_published_example_is_the_published_one() {
        // 0.45 vCPU·h and 0.89 GiB·h.
        let usage = Usage {
            cpu_ms: 1_620_000,
            memory_mib_ms: 89 * MIB_PER_GIB * MS_PER_HOUR / 100,
            wall_ms: 0,
            ..Usage::default()
        };

        assert_eq!(price(usage).to_string(), "0.49351461");
    }

    #[test]
    fn price_of_one_cpu_and_one_gibibyte_for_an_hour_is_one_credit() {
        let hour = Usage::full(Resources::new(1000, 1024), MS_PER_HOUR);

        assert_eq!(price(hour).to_string(), "1.00000000");
    }

    #[test]
    fn price_of_the_documents_example_is_right() {
        let page = include_str!("../../../docs/reference/prices.md");
        // 2 vCPUs and 2 GiB; 12.5 s of CPU time; 512 MiB for 10 s.
        let needs = Resources::new(2000, 2048);
        let used = Usage {
            cpu_ms: 12_500,
            memory_mib_ms: 512 * 10_000,
            wall_ms: 10_000,
            ..Usage::default()
        };
        let paid = price(used);
        let sample = Sample::new(paid.saturating_mul(40), 40).unwrap();
        for (what, amount) in [
            ("a vCPU·h", CPU_HOUR),
            ("a GiB·h", MEMORY_HOUR),
            ("the example task", paid),
            ("its reservation for a minute", most(needs, 60)),
            ("all that it may use in an hour", most(needs, 3600)),
            ("500 chunks like it", sample.of(500)),
        ] {
            assert!(page.contains(&amount.to_string()), "{what} costs {amount}");
        }
    }

    #[test]
    fn sample_is_scaled_and_rounded_up() {
        let paid = Credits::from_units(10).unwrap();
        let sample = Sample::new(paid, 3).unwrap();

        assert_eq!([0, 1, 3, 6].map(|tasks| sample.of(tasks).units()), [0, 4, 10, 20]);
        assert_eq!(Sample::new(paid, 0), None);
        let large = Sample::new(Credits::from_units(i64::MAX).unwrap(), 1).unwrap();
        assert_eq!(large.of(u64::MAX).units(), i64::MAX);
    }

    #[test]
    fn price_of_any_usage_does_not_overflow() {
        let most = Usage {
            cpu_ms: u64::MAX,
            memory_mib_ms: u64::MAX,
            wall_ms: u64::MAX,
            ..Usage::default()
        };

        assert!(price(most) > Credits::ZERO);
    }

    #[test]
    fn storage_price_of_a_day_is_a_thirtieth_of_a_month() {
        let price = Credits::from_units(30 * 1_024).unwrap();
        for (bytes, units) in [
            (0, 0),
            (1 << 30, 1_024),
            (10 << 30, 10_240),
            // Halves go to the even neighbour.
            (1 << 19, 0),
            ((1 << 20) + (1 << 19), 2),
            (1 << 21, 2),
        ] {
            assert_eq!(stored_for_a_day(bytes, price).units(), units, "{bytes}");
        }
        let largest = Credits::from_units(i64::MAX).unwrap();
        assert_eq!(stored_for_a_day(u64::MAX, largest), largest);
    }
}
