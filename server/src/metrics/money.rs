//! Credits: what wallets have, and what has moved. Metrics are floats and so may be rounded; the
//! ledger is not.

use common::market::Figures;
use common::money::credits::Credits;
use common::money::ledger::{Kind, Transfer};
use instruments::{Builder, Counter, Gauge};

#[derive(Debug)]
pub struct MoneyMetrics {
    available: Gauge,
    held: Gauge,
    pending: Gauge,
    outgoing: Gauge,
    /// In the order of `Kind::ALL`.
    moved: [Counter; Kind::ALL.len()],
}

impl MoneyMetrics {
    pub(super) fn new(builder: &mut Builder) -> Self {
        let wallets = builder.float_gauges(
            "fanfold_wallet_credits",
            "Credits of all workspaces together: `available`, `held` for runs, `pending` until \
             earnings are released, `outgoing` for payouts under way",
            &["account"],
        );
        let moved = builder.float_counters(
            "fanfold_ledger_credits_total",
            "Credits that have moved since the server started, by the kind of transfer; `capture` \
             is what runs have paid to nodes",
            &["kind"],
        );
        let wallet = |account| wallets.with_label_values(&[account]);
        Self {
            available: wallet("available"),
            held: wallet("held"),
            pending: wallet("pending"),
            outgoing: wallet("outgoing"),
            moved: Kind::ALL.map(|kind| moved.with_label_values(&[kind.as_str()])),
        }
    }

    /// What wallets have now.
    pub fn stands(&self, figures: &Figures) {
        let totals = figures.credits;
        for (gauge, units) in [
            (&self.available, totals.available),
            (&self.held, totals.held),
            (&self.pending, totals.pending),
            (&self.outgoing, totals.outgoing),
        ] {
            gauge.set(float(Credits::from_units(units).unwrap_or_default()));
        }
    }

    /// Transfers that are on disk.
    pub fn moved(&self, transfers: &[Transfer]) {
        let mut sums = [Credits::ZERO; Kind::ALL.len()];
        for transfer in transfers {
            if let Some(at) = Kind::ALL.iter().position(|kind| *kind == transfer.kind) {
                sums[at] = sums[at].saturating_add(transfer.amount);
            }
        }
        for (counter, sum) in self.moved.iter().zip(sums).filter(|(_, sum)| !sum.is_zero()) {
            counter.inc_by(float(sum));
        }
    }
}

/// The nearest float, as a reader of the decimal has it.
fn float(credits: Credits) -> f64 {
    credits.to_string().parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credits_are_whole_credits_in_metrics() {
        for text in ["0.00000000", "19.05518337", "92233720368.54775807"] {
            let credits: Credits = text.parse().unwrap();

            assert_eq!(float(credits), text.parse::<f64>().unwrap());
        }
    }
}
