//! Rows read one by one, so that one that cannot be read costs no other.

use futures::TryStreamExt as _;
use sea_orm::entity::prelude::*;
use sea_orm::{FromQueryResult as _, Iterable as _, QueryTrait as _};
use sea_orm::{QueryResult, Select, StreamTrait as _};

use crate::store::Db;

/// A row that is not what its writer can have written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableRow {
    pub table: String,
    /// Its primary key, the parts joined by `/`; a part that cannot be read is `?`.
    pub id: String,
    pub why: String,
}

/// Reads the rows of a query, each by itself.
pub(in crate::store) async fn each<E: EntityTrait, T>(
    db: &impl ConnectionTrait,
    select: Select<E>,
    read: impl Fn(E::Model) -> Result<T, DbErr>,
) -> Result<Vec<Result<T, UnreadableRow>>, DbErr> {
    let rows = db.query_all_raw(select.build(db.get_database_backend())).await?;
    Ok(rows.iter().map(|row| one::<E, T>(row, &read)).collect())
}

/// Finds the rows of a whole table that cannot be read.
pub(in crate::store) async fn check<E: EntityTrait, T>(
    db: &Db,
    found: &mut Vec<UnreadableRow>,
    read: impl Fn(E::Model) -> Result<T, DbErr>,
) -> Result<(), DbErr> {
    let mut rows = db.stream(&E::find().into_query()).await?;
    while let Some(row) = rows.try_next().await? {
        found.extend(one::<E, T>(&row, &read).err());
    }
    Ok(())
}

fn one<E: EntityTrait, T>(
    row: &QueryResult,
    read: &impl Fn(E::Model) -> Result<T, DbErr>,
) -> Result<T, UnreadableRow> {
    E::Model::from_query_result(row, "").and_then(read).map_err(|error| UnreadableRow {
        table: E::default().table_name().to_owned(),
        id: E::PrimaryKey::iter()
            .map(|key| part(row, key.into_column().as_str()))
            .collect::<Vec<_>>()
            .join("/"),
        why: error.to_string(),
    })
}

/// A part of a row's key, of whichever type it is.
fn part(row: &QueryResult, column: &str) -> String {
    let number = || row.try_get::<i64>("", column).or_else(|_| small(row, column));
    row.try_get::<String>("", column)
        .or_else(|_| number().map(|number| number.to_string()))
        .or_else(|_| row.try_get::<Uuid>("", column).map(|id| id.to_string()))
        .unwrap_or_else(|_| "?".to_owned())
}

/// PostgreSQL reads each width of number by itself.
fn small(row: &QueryResult, column: &str) -> Result<i64, DbErr> {
    let four = row.try_get::<i32>("", column).map(i64::from);
    four.or_else(|_| row.try_get::<i16>("", column).map(i64::from))
}
