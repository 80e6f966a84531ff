//! Segments: what the objects are that hold the batches which are no longer rows.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use common::digest::Digest;
use common::ids::RunId;
use common::run::task::{Lease, StageNo, TaskRef};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder, QuerySelect};
use serde::{Deserialize, Serialize};

use super::{End, Filter};
use crate::store::market::runs::purge::{self as old_runs, Ended};
use crate::store::{corrupt, micros, time};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "log_segments")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub run: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub seq: i64,
    pub from_number: i64,
    pub to_number: i64,
    pub from_us: i64,
    pub to_us: i64,
    pub lines: i64,
    pub bytes: i64,
    pub size: i64,
    pub digest: String,
    /// Postcard.
    pub ends: Vec<u8>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// An object with batches of a run that follow one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    pub run: RunId,
    /// Its place among those of the run, from 0.
    pub seq: u32,
    /// The numbers of its first batch and its last.
    pub numbers: (i64, i64),
    /// The times of its first line and its last.
    pub times: (DateTime<Utc>, DateTime<Utc>),
    pub lines: u64,
    /// Of text.
    pub bytes: u64,
    /// Of the object.
    pub size: u64,
    pub digest: Digest,
    pub ends: Vec<AttemptEnd>,
}

/// What a segment has of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptEnd {
    pub stage: StageNo,
    pub index: u32,
    pub attempt: u32,
    /// The number of the line after the last of it.
    pub end: u32,
    /// Of its text.
    pub bytes: u64,
}

impl Segment {
    /// Whether it has lines that are asked for.
    pub fn has(&self, filter: Filter<'_>) -> bool {
        let run = self.run;
        self.ends.iter().any(|end| filter.has(TaskRef { run, stage: end.stage, index: end.index }))
    }
}

/// At most `limit` segments of a run with batches after the one of a number, in their order.
pub async fn after(
    db: &impl ConnectionTrait,
    run: RunId,
    number: i64,
    limit: u64,
) -> Result<Vec<Segment>, DbErr> {
    let rows = Entity::find()
        .filter(Column::Run.eq(run.uuid()))
        .filter(Column::ToNumber.gt(number))
        .order_by_asc(Column::Seq)
        .limit(limit)
        .all(db)
        .await?;
    rows.iter().map(read).collect()
}

/// At most `limit` segments of some runs with lines in a span of time, the latest end first.
pub async fn between(
    db: &impl ConnectionTrait,
    runs: &[RunId],
    (from, until): (DateTime<Utc>, DateTime<Utc>),
    limit: u64,
) -> Result<Vec<Segment>, DbErr> {
    let rows = Entity::find()
        .filter(Column::Run.is_in(runs.iter().map(|run| run.uuid())))
        .filter(Column::ToUs.gte(micros(from)))
        .filter(Column::FromUs.lt(micros(until)))
        .order_by_desc(Column::ToUs)
        .limit(limit)
        .all(db)
        .await?;
    rows.iter().map(read).collect()
}

/// The place that the next segment of a run takes.
pub async fn next_seq(db: &impl ConnectionTrait, run: RunId) -> Result<u32, DbErr> {
    let last = Entity::find()
        .filter(Column::Run.eq(run.uuid()))
        .order_by_desc(Column::Seq)
        .select_only()
        .column(Column::Seq)
        .into_tuple::<i64>()
        .one(db)
        .await?;
    last.map_or(Ok(0), |last| u32::try_from(last + 1).map_err(|_| corrupt("segment")))
}

/// Whether a row names this object.
pub async fn is_named(
    db: &impl ConnectionTrait,
    run: RunId,
    seq: u32,
    digest: Digest,
) -> Result<bool, DbErr> {
    let row = Entity::find_by_id((run.uuid(), i64::from(seq))).one(db).await?;
    Ok(row.is_some_and(|row| row.digest == digest.to_string()))
}

pub async fn insert(db: &impl ConnectionTrait, segment: &Segment) -> Result<(), DbErr> {
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let ends = postcard::to_stdvec(&segment.ends).map_err(|_| corrupt("segment"))?;
    let row = ActiveModel {
        run: Set(segment.run.uuid()),
        seq: Set(segment.seq.into()),
        from_number: Set(segment.numbers.0),
        to_number: Set(segment.numbers.1),
        from_us: Set(micros(segment.times.0)),
        to_us: Set(micros(segment.times.1)),
        lines: Set(count(segment.lines)),
        bytes: Set(count(segment.bytes)),
        size: Set(count(segment.size)),
        digest: Set(segment.digest.to_string()),
        ends: Set(ends),
    };
    Entity::insert(row).exec_without_returning(db).await?;
    Ok(())
}

/// Some segments of these runs.
pub async fn of_ended(
    db: &impl ConnectionTrait,
    ended: Ended,
    limit: u64,
) -> Result<Vec<Segment>, DbErr> {
    let runs = old_runs::with_rows("log_segments", ended, limit);
    let rows = Entity::find().filter(Column::Run.in_subquery(runs)).limit(limit).all(db).await?;
    rows.iter().map(read).collect()
}

pub async fn delete(db: &impl ConnectionTrait, segment: &Segment) -> Result<(), DbErr> {
    let key = (segment.run.uuid(), i64::from(segment.seq));
    Entity::delete_by_id(key).exec(db).await?;
    Ok(())
}

/// How far the logs of a run's attempts go that have lines in segments.
pub(super) async fn ends(
    db: &impl ConnectionTrait,
    run: RunId,
) -> Result<HashMap<Lease, End>, DbErr> {
    let rows: Vec<Vec<u8>> = Entity::find()
        .filter(Column::Run.eq(run.uuid()))
        .select_only()
        .column(Column::Ends)
        .into_tuple()
        .all(db)
        .await?;
    let mut ends = HashMap::<Lease, End>::new();
    for row in rows {
        for of in read_ends(&row)? {
            let task = TaskRef { run, stage: of.stage, index: of.index };
            let end = ends.entry(Lease { task, attempt: of.attempt }).or_default();
            *end = (end.0.max(of.end), end.1.saturating_add(of.bytes));
        }
    }
    Ok(ends)
}

fn read_ends(bytes: &[u8]) -> Result<Vec<AttemptEnd>, DbErr> {
    postcard::from_bytes(bytes).map_err(|_| corrupt("segment"))
}

pub(in crate::store) fn read(row: &Model) -> Result<Segment, DbErr> {
    Ok(Segment {
        run: RunId::new(row.run),
        seq: u32::try_from(row.seq).map_err(|_| corrupt("segment"))?,
        numbers: (row.from_number, row.to_number),
        times: (time(row.from_us), time(row.to_us)),
        lines: row.lines.unsigned_abs(),
        bytes: row.bytes.unsigned_abs(),
        size: row.size.unsigned_abs(),
        digest: row.digest.parse().map_err(|_| corrupt("segment's digest"))?,
        ends: read_ends(&row.ends)?,
    })
}
