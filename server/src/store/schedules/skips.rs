//! Nominal times of schedules that made no run.

use chrono::{DateTime, Utc};
use common::ids::JobId;
use common::market::{Skip, SkipCause};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{DbErr, QueryOrder, QuerySelect};

use crate::store::query::insert::RowWriter;
use crate::store::{corrupt, micros, storable, time};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "schedule_skips")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub job: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub first_us: i64,
    pub last_us: i64,
    pub cause: String,
    pub message: Option<String>,
    pub at_us: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The longest message that is kept, in characters.
const MESSAGE_MAX: usize = 1_000;

pub(in crate::store) async fn insert(
    db: &impl ConnectionTrait,
    skips: &[Skip],
) -> Result<(), DbErr> {
    static NEW: RowWriter<Entity> = RowWriter::on_conflict(|| {
        OnConflict::columns([Column::Job, Column::FirstUs]).do_nothing().to_owned()
    });
    NEW.write(db, skips.iter().map(row)).await
}

/// At most `limit` of a job's skips before one that begins at `before`, newest first.
pub async fn find(
    db: &impl ConnectionTrait,
    job: JobId,
    before: Option<DateTime<Utc>>,
    limit: u64,
) -> Result<Vec<Skip>, DbErr> {
    let before = before.map_or(i64::MAX, micros);
    let rows = Entity::find()
        .filter(Column::Job.eq(job.uuid()))
        .filter(Column::FirstUs.lt(before))
        .order_by_desc(Column::FirstUs)
        .limit(limit);
    rows.all(db).await?.into_iter().map(read).collect()
}

/// Deletes what was decided before a time.
pub async fn purge(db: &impl ConnectionTrait, then: DateTime<Utc>) -> Result<(), DbErr> {
    Entity::delete_many().filter(Column::AtUs.lt(micros(then))).exec(db).await.map(drop)
}

fn row(skip: &Skip) -> ActiveModel {
    let message = match &skip.why {
        SkipCause::Missed | SkipCause::Overlap => None,
        SkipCause::Job(why) => Some(storable(&why.chars().take(MESSAGE_MAX).collect::<String>())),
    };
    ActiveModel {
        job: Set(skip.job.uuid()),
        first_us: Set(micros(skip.first)),
        last_us: Set(micros(skip.last)),
        cause: Set(skip.why.as_str().to_owned()),
        message: Set(message),
        at_us: Set(micros(skip.at)),
    }
}

pub(in crate::store) fn read(row: Model) -> Result<Skip, DbErr> {
    let why = match (row.cause.as_str(), row.message) {
        ("missed", None) => SkipCause::Missed,
        ("overlap", None) => SkipCause::Overlap,
        ("job", Some(message)) => SkipCause::Job(message),
        _ => return Err(corrupt("cause")),
    };
    Ok(Skip {
        job: JobId::new(row.job),
        first: time(row.first_us),
        last: time(row.last_us),
        why,
        at: time(row.at_us),
    })
}
