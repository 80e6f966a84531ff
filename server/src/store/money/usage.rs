//! What a workspace's ended runs used and cost, by month and template.

use chrono::{DateTime, Datelike as _, NaiveDate, Utc};
use common::ids::WorkspaceId;
use common::money::credits::Credits;
use common::money::price::Sample;
use sea_orm::entity::prelude::*;
use sea_orm::{DbBackend, FromQueryResult, QueryOrder, QuerySelect};

use crate::store::market::runs::{Column, Entity};
use crate::store::{corrupt, micros, storable};

/// The most rows of an answer.
const ROWS_MAX: u64 = 10_000;

/// A month in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month(NaiveDate);

/// Runs of one template that ended in one month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// As `2026-01`.
    pub month: String,
    pub template: String,
    pub jobs: i64,
    pub tasks: i64,
    pub cpu_ms: i64,
    pub memory_mib_ms: i64,
    pub amount: Credits,
}

impl Month {
    pub fn of(at: DateTime<Utc>) -> Self {
        Self(at.date_naive().with_day(1).unwrap_or_default())
    }

    /// Reads `2026-01`.
    pub fn parse(text: &str) -> Option<Self> {
        let (year, month) = text.split_once('-')?;
        if year.len() != 4 || month.len() != 2 || !year.starts_with(['1', '2']) {
            return None;
        }
        NaiveDate::from_ymd_opt(year.parse().ok()?, month.parse().ok()?, 1).map(Self)
    }

    /// The month this many before.
    #[must_use]
    pub fn minus(self, months: u32) -> Self {
        Self(self.0.checked_sub_months(chrono::Months::new(months)).unwrap_or_default())
    }

    fn next(self) -> Self {
        Self(self.0.checked_add_months(chrono::Months::new(1)).unwrap_or_default())
    }

    fn begin_us(self) -> i64 {
        micros(self.0.and_time(chrono::NaiveTime::MIN).and_utc())
    }
}

/// The sums of the months from `first` to `last`, newest first. Money counts in the month in which
/// the run ended, where the statement has its line too.
pub async fn by_month(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    first: Month,
    last: Month,
) -> Result<Vec<Row>, DbErr> {
    #[derive(FromQueryResult)]
    struct Sums {
        month: String,
        template: String,
        jobs: i64,
        tasks: i64,
        cpu_ms: i64,
        memory_mib_ms: i64,
        units: i64,
    }
    let backend = db.get_database_backend();
    let month = if backend == DbBackend::Postgres {
        "to_char(to_timestamp(ended_us / 1000000) AT TIME ZONE 'UTC', 'YYYY-MM')"
    } else {
        "strftime('%Y-%m', ended_us / 1000000, 'unixepoch')"
    };
    let sum = |column: &str| Expr::cust(format!("CAST(SUM({column}) AS BIGINT)"));
    let sums: Vec<Sums> = Entity::find()
        .select_only()
        .expr_as(Expr::cust(month), "month")
        .column(Column::Template)
        .expr_as(Expr::cust("COUNT(DISTINCT job)"), "jobs")
        .expr_as(sum("done"), "tasks")
        .expr_as(sum("cpu_ms"), "cpu_ms")
        .expr_as(sum("memory_mib_ms"), "memory_mib_ms")
        .expr_as(sum("captured"), "units")
        .filter(Column::Workspace.eq(owner.uuid()))
        .filter(Column::EndedUs.gte(first.begin_us()))
        .filter(Column::EndedUs.lt(last.next().begin_us()))
        .group_by(Expr::cust(month))
        .group_by(Column::Template)
        .order_by_desc(Expr::cust(month))
        .order_by_asc(Column::Template)
        .limit(ROWS_MAX)
        .into_model()
        .all(db)
        .await?;
    let row = |sums: Sums| {
        Ok(Row {
            month: sums.month,
            template: sums.template,
            jobs: sums.jobs,
            tasks: sums.tasks,
            cpu_ms: sums.cpu_ms,
            memory_mib_ms: sums.memory_mib_ms,
            amount: Credits::from_units(sums.units).ok_or_else(|| corrupt("sum of payments"))?,
        })
    };
    sums.into_iter().map(row).collect()
}

/// What the latest ended runs of a workspace's template have cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// Those of them that got as far as to have a chunk done.
    pub runs: u64,
    pub sample: Sample,
}

/// The most runs that one look at the past reads.
const HISTORY_MAX: u64 = 20;

/// Sums up the latest runs of a template; `None` where none of them tells anything.
pub async fn history(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    template: &str,
) -> Result<Option<History>, DbErr> {
    let rows: Vec<(i64, i64)> = Entity::find()
        .select_only()
        .columns([Column::Captured, Column::Done])
        .filter(Column::Workspace.eq(workspace.uuid()))
        .filter(Column::Template.eq(storable(template)))
        .filter(Column::EndedUs.is_not_null())
        .order_by_desc(Column::EndedUs)
        .limit(HISTORY_MAX)
        .into_tuple()
        .all(db)
        .await?;
    let (mut runs, mut paid, mut tasks) = (0, 0i64, 0);
    for (captured, chunks) in rows.into_iter().filter(|(_, chunks)| *chunks > 0) {
        (runs, paid, tasks) =
            (runs + 1, paid.saturating_add(captured), tasks + chunks.unsigned_abs());
    }
    let paid = Credits::from_units(paid).ok_or_else(|| corrupt("price"))?;
    Ok(Sample::new(paid, tasks).map(|sample| History { runs, sample }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_read_and_counted_back_over_the_year() {
        let month = Month::parse("2026-02").unwrap();

        assert_eq!(month.minus(3), Month::parse("2025-11").unwrap());
        assert_eq!(month.next(), Month::parse("2026-03").unwrap());
        for text in ["", "2026", "2026-13", "2026-2", "-026-01", "2026-01-01", "9026-01"] {
            assert_eq!(Month::parse(text), None, "{text}");
        }
    }
}
