//! The wallet as its owner reads it: a statement, and balances.

mod balance;

pub use balance::{Balance, Pending, balance, earned, pending};

use std::collections::BTreeMap;

use common::digest::Digest;
use common::ids::{RunId, TransferId, WorkspaceId};
use common::money::credits::Credits;
use common::money::statement::{Head, Line, LineKind};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{OnConflict, SimpleExpr};
use sea_orm::{Condition, DbBackend, QueryOrder, QuerySelect};

use crate::store::query::document;
use crate::store::query::insert::RowWriter;
use crate::store::query::rows;
use crate::store::query::rows::UnreadableRow;
use crate::store::query::selection;
use crate::store::query::selection::{Field, Found, Kind, Selection};
use crate::store::{Db, corrupt, micros, time};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "statement_lines")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub owner: Uuid,
    pub at_us: i64,
    pub credit: Option<i64>,
    pub debit: Option<i64>,
    pub run: Option<Uuid>,
    pub job: Option<Uuid>,
    pub description: String,
    pub balance: i64,
    pub number: i64,
    pub kind: i16,
    /// JSON of the `Related`.
    pub related: String,
    pub hash: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// How far each statement goes.
mod heads {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "statements")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub owner: Uuid,
        pub lines: i64,
        pub hash: String,
        pub balance: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A line of the statement, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub id: TransferId,
    pub line: Line,
}

/// What lines of the statement are filtered and sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineField {
    Id,
    CreatedAt,
    Amount,
    Kind,
    JobId,
    Description,
    Balance,
}

impl Field for LineField {
    const ALL: &'static [Self] = &[
        Self::Id,
        Self::CreatedAt,
        Self::Amount,
        Self::Kind,
        Self::JobId,
        Self::Description,
        Self::Balance,
    ];

    const TIES: &'static [(Self, bool)] = &[(Self::Id, true)];

    const WEIGHT: &'static str = "CAST(LENGTH(description) AS BIGINT)";

    fn kind(self) -> Kind {
        match self {
            Self::Id | Self::JobId => Kind::Uuid,
            Self::CreatedAt => Kind::Time,
            Self::Amount | Self::Balance => Kind::Amount,
            Self::Kind => Kind::Choice,
            Self::Description => Kind::Text,
        }
    }

    fn is_optional(self) -> bool {
        self == Self::JobId
    }

    fn expr(self, _: DbBackend) -> SimpleExpr {
        match self {
            Self::Id => Expr::col(Column::Id),
            Self::CreatedAt => Expr::col(Column::AtUs),
            // What was taken is negative.
            Self::Amount => Expr::cust("(COALESCE(credit, 0) - COALESCE(debit, 0))"),
            Self::Kind => Expr::col(Column::Kind),
            Self::JobId => Expr::col(Column::Job),
            Self::Description => Expr::col(Column::Description),
            Self::Balance => Expr::col(Column::Balance),
        }
    }
}

/// A part of the statement.
pub async fn list(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    selection: &Selection<LineField>,
) -> Result<Found<Entry>, DbErr> {
    let own = Entity::find().filter(Column::Owner.eq(owner.uuid()));
    selection::fetch(db, own, selection).await?.try_map(read)
}

/// Stores new lines, which follow those that are there.
pub(in crate::store) async fn insert_lines(
    db: &impl ConnectionTrait,
    lines: &[Line],
) -> Result<(), DbErr> {
    static NEW: RowWriter<Entity> = RowWriter::new();
    static NEWEST: RowWriter<heads::Entity> = RowWriter::on_conflict(|| {
        OnConflict::column(heads::Column::Owner)
            .update_columns([heads::Column::Lines, heads::Column::Hash, heads::Column::Balance])
            .to_owned()
    });
    NEW.write(db, lines.iter().map(row).collect::<Result<Vec<_>, _>>()?).await?;
    let heads: BTreeMap<WorkspaceId, &Line> = lines.iter().map(|line| (line.owner, line)).collect();
    let heads = heads.into_values().map(|line| heads::ActiveModel {
        owner: Set(line.owner.uuid()),
        lines: Set(i64::try_from(line.number).unwrap_or(i64::MAX)),
        hash: Set(line.hash.to_string()),
        balance: Set(line.balance.units()),
    });
    NEWEST.write(db, heads).await
}

/// How far each statement goes. A statement whose end cannot be read goes on from its last line.
pub(in crate::store) async fn load_heads(
    db: &impl ConnectionTrait,
) -> Result<BTreeMap<WorkspaceId, Head>, DbErr> {
    let mut found = BTreeMap::new();
    for row in rows::each(db, heads::Entity::find(), |row| head(&row)).await? {
        let (owner, head) = match row {
            Ok(head) => head,
            Err(row) => {
                let UnreadableRow { table, id, why } = row;
                tracing::error!(table, id, error = why, "the end of a statement cannot be read");
                let Ok(owner) = id.parse() else { continue };
                (owner, last_line(db, owner).await?)
            }
        };
        found.insert(owner, head);
    }
    Ok(found)
}

fn head(row: &heads::Model) -> Result<(WorkspaceId, Head), DbErr> {
    let hash = row.hash.parse().map_err(|_| corrupt("hash of a line"))?;
    let balance = Credits::from_units(row.balance).ok_or_else(|| corrupt("balance"))?;
    Ok((WorkspaceId::new(row.owner), Head { lines: row.lines.unsigned_abs(), hash, balance }))
}

/// The end of a statement by its lines. Where the last line's hash cannot be read either, the
/// chain goes on from what is there, and a check of it finds the break.
async fn last_line(db: &impl ConnectionTrait, owner: WorkspaceId) -> Result<Head, DbErr> {
    let last: Option<(i64, String, i64)> = Entity::find()
        .select_only()
        .columns([Column::Number, Column::Hash, Column::Balance])
        .filter(Column::Owner.eq(owner.uuid()))
        .order_by_desc(Column::Number)
        .into_tuple()
        .one(db)
        .await?;
    Ok(last.map_or_else(Head::default, |(lines, hash, balance)| Head {
        lines: lines.unsigned_abs(),
        hash: hash.parse().unwrap_or_else(|_| Digest::of(hash.as_bytes())),
        balance: Credits::from_units(balance).unwrap_or_default(),
    }))
}

/// What the lines of a run say that it has cost. Looks through all lines: for runs that cannot be
/// read otherwise.
pub(in crate::store) async fn billed(
    db: &impl ConnectionTrait,
    run: RunId,
) -> Result<Credits, DbErr> {
    let own = Entity::find().filter(Column::Run.eq(run.uuid()));
    let debits: Vec<Option<i64>> =
        own.select_only().column(Column::Debit).into_tuple().all(db).await?;
    let sum = debits.into_iter().flatten().fold(0i64, i64::saturating_add);
    Credits::from_units(sum).ok_or_else(|| corrupt("amount"))
}

/// The lines of all statements in the order of their owners and numbers, at most `limit` after
/// one of them, each with its place. A line that cannot be read is `None`.
pub(in crate::store) async fn lines_after(
    db: &impl ConnectionTrait,
    after: Option<(Uuid, i64)>,
    limit: u64,
) -> Result<Vec<((Uuid, i64), Option<Line>)>, DbErr> {
    let mut query = Entity::find();
    if let Some((owner, number)) = after {
        let same = Condition::all().add(Column::Owner.eq(owner)).add(Column::Number.gt(number));
        query = query.filter(Condition::any().add(Column::Owner.gt(owner)).add(same));
    }
    let query = query.order_by_asc(Column::Owner).order_by_asc(Column::Number);
    let rows = query.limit(limit).all(db).await?;
    let line = |row: Model| ((row.owner, row.number), read(row).ok().map(|entry| entry.line));
    Ok(rows.into_iter().map(line).collect())
}

/// Finds the lines and ends of statements that cannot be read.
pub(in crate::store) async fn check(db: &Db, found: &mut Vec<UnreadableRow>) -> Result<(), DbErr> {
    rows::check::<heads::Entity, _>(db, found, |row| head(&row)).await?;
    rows::check::<Entity, _>(db, found, read).await
}

fn row(line: &Line) -> Result<ActiveModel, DbErr> {
    // What a run paid for is its job.
    let job = line.run.and(line.related.id);
    Ok(ActiveModel {
        // Version 7 ids rise, so that the order of ids is the order of lines.
        id: Set(Uuid::now_v7()),
        owner: Set(line.owner.uuid()),
        at_us: Set(micros(line.at)),
        credit: Set(line.credit().map(Credits::units)),
        debit: Set(line.debit().map(Credits::units)),
        run: Set(line.run.map(RunId::uuid)),
        job: Set(job),
        description: Set(line.description.clone()),
        balance: Set(line.balance.units()),
        number: Set(i64::try_from(line.number).unwrap_or(i64::MAX)),
        kind: Set(line.kind.number()),
        related: Set(document::write(&line.related)?),
        hash: Set(line.hash.to_string()),
    })
}

fn read(row: Model) -> Result<Entry, DbErr> {
    let credits = |units| Credits::from_units(units).ok_or_else(|| corrupt("amount"));
    let line = Line {
        owner: WorkspaceId::new(row.owner),
        number: row.number.unsigned_abs(),
        at: time(row.at_us),
        kind: LineKind::from_number(row.kind).ok_or_else(|| corrupt("kind of a line"))?,
        amount: credits(row.credit.or(row.debit).unwrap_or_default())?,
        run: row.run.map(RunId::new),
        related: document::read(&row.related)?,
        description: row.description,
        balance: credits(row.balance)?,
        hash: row.hash.parse().map_err(|_| corrupt("hash of a line"))?,
    };
    Ok(Entry { id: TransferId::new(row.id), line })
}
