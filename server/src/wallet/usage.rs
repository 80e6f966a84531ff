//! What was used and paid, by month and template, and what is stored now.

use std::collections::BTreeMap;

use crate::app::App;
use crate::clock;
use crate::error::Result;
use crate::people::caller::Caller;
use crate::store::money::usage;
pub use crate::store::money::usage::{Month, Row};
use crate::store::storage::holdings;

/// Ten years.
const MONTHS_MAX: u32 = 120;
const MONTHS_DEFAULT: u32 = 12;

/// Some months in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    first: Month,
    last: Month,
}

/// Why there is no such span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be before to, by less than {MONTHS_MAX} months")]
pub struct BadSpan;

impl Span {
    /// From one month to another: this one, and eleven months before the last, where left out.
    pub fn new(first: Option<Month>, last: Option<Month>) -> std::result::Result<Self, BadSpan> {
        let last = last.unwrap_or_else(|| Month::of(clock::now()));
        let first = first.unwrap_or_else(|| last.minus(MONTHS_DEFAULT - 1));
        if first > last || last.minus(MONTHS_MAX - 1) > first {
            return Err(BadSpan);
        }
        Ok(Self { first, last })
    }
}

/// What a workspace keeps in the bucket now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    pub bytes: u64,
    /// The most that it may keep.
    pub quota_bytes: u64,
    pub by_kind: BTreeMap<&'static str, u64>,
}

/// Sums up ended runs by month and template.
pub async fn by_month(app: &App, caller: &Caller, span: Span) -> Result<Vec<Row>> {
    Ok(usage::by_month(&app.db, caller.workspace, span.first, span.last).await?)
}

/// What the caller's workspace stores now.
pub async fn storage(app: &App, caller: &Caller) -> Result<Storage> {
    let by_kind = holdings::by_kind(&app.db, caller.workspace).await?;
    let bytes = by_kind.values().sum();
    Ok(Storage { bytes, quota_bytes: app.data.quotas().most(), by_kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn month_spans_are_ordered_and_limited() {
        let month = |text| Month::parse(text);
        for (first, last, is_span) in [
            (None, None, true),
            (None, month("2026-01"), true),
            (month("2026-01"), month("2026-01"), true),
            (month("2016-02"), month("2026-01"), true),
            (month("2016-01"), month("2026-01"), false),
            (month("2026-02"), month("2026-01"), false),
        ] {
            assert_eq!(Span::new(first, last).is_ok(), is_span, "{first:?} {last:?}");
        }
    }
}
