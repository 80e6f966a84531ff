//! `fanfold wallet balance`: what there is, and where.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::digits;
use crate::client::failure::Failure;
use crate::client::session::Session;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Balance {
    total_balance: Box<RawValue>,
    available_balance: Box<RawValue>,
    held_balance: Box<RawValue>,
    charged_balance: Box<RawValue>,
    pending_earnings: Box<RawValue>,
    pending_payable_from: Option<String>,
    pending_payable_until: Option<String>,
    payable_balance: Box<RawValue>,
    outgoing_balance: Box<RawValue>,
}

pub async fn run(session: &Session) -> Result<(), Failure> {
    let answer = session.client.get(session.client.url("/v1/wallet/balance", &[])).await?;
    let balance: Balance = answer.read()?;
    session.output.result(&answer.text, || lines(&balance))
}

fn lines(balance: &Balance) -> Vec<String> {
    let line = |name: &str, amount: &RawValue, about: &str| {
        format!("{name:<10} {:>20} credits  {about}", digits(amount)).trim_end().to_owned()
    };
    let until = match (&balance.pending_payable_from, &balance.pending_payable_until) {
        (Some(from), Some(until)) if from == until => format!("; can be paid out from {from}"),
        (Some(from), Some(until)) => format!("; can be paid out from {from}, all of it by {until}"),
        _ => String::new(),
    };
    vec![
        line("total", &balance.total_balance, "the sum of the statement"),
        line("available", &balance.available_balance, ""),
        line("held", &balance.held_balance, "reserved for tasks of jobs that go on"),
        line("charged", &balance.charged_balance, "by jobs that go on; on the statement later"),
        line("pending", &balance.pending_earnings, &format!("earned by your nodes{until}")),
        line("payable", &balance.payable_balance, "earned, and can be paid out now"),
        line("outgoing", &balance.outgoing_balance, "asked to be paid out"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pending_earnings_are_shown_with_their_time() {
        let text = r#"{"totalBalance":10.00000000,"availableBalance":9.00000000,
            "heldBalance":0.90000000,"chargedBalance":0.10000000,"amountDue":0,
            "pendingEarnings":0.00012800,"pendingPayableFrom":"2026-11-29T15:00:00Z",
            "pendingPayableUntil":"2026-11-29T16:00:00Z","payableBalance":0.00000000,
            "outgoingBalance":0.00000000}"#;

        let lines = lines(&serde_json::from_str(text).unwrap());

        assert_eq!(lines[1], "available            9.00000000 credits");
        let pending = &lines[4];
        assert!(pending.contains("0.00012800"), "{pending}");
        assert!(pending.contains("from 2026-11-29T15:00:00Z, all of it by 2026-11-29T16:00:00Z"));
    }
}
