//! Top-ups and payouts: what was asked for, and where it stands.

use chrono::{DateTime, Utc};
use common::ids::{RequestId, UserId, WorkspaceId};
use common::money::currency::Terms;
use common::money::wallet_request::State;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{PaginatorTrait, QueryOrder, QuerySelect};

use crate::store::query::document;
use crate::store::{corrupt, micros, storable, time};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "requests")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub kind: String,
    pub workspace: Uuid,
    pub asker: Uuid,
    /// JSON of the `Terms`.
    pub terms: String,
    pub state: String,
    pub note: String,
    pub created_us: i64,
    pub updated_us: i64,
    pub sent_us: Option<i64>,
    pub confirmed_us: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// A top-up or a payout, as its kind of state says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<S> {
    pub id: RequestId,
    pub workspace: WorkspaceId,
    pub asker: UserId,
    pub terms: Terms,
    pub state: S,
    /// What was said with its last change.
    pub note: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// When its money was sent, and when it arrived.
    pub sent_at: Option<DateTime<Utc>>,
    pub confirmed_at: Option<DateTime<Utc>>,
}

impl<S> Request<S> {
    pub const fn new(
        id: RequestId,
        workspace: WorkspaceId,
        asker: UserId,
        terms: Terms,
        state: S,
        at: DateTime<Utc>,
    ) -> Self {
        Self {
            id,
            workspace,
            asker,
            terms,
            state,
            note: String::new(),
            created_at: at,
            updated_at: at,
            sent_at: None,
            confirmed_at: None,
        }
    }
}

/// A step that a request takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step<S> {
    pub id: RequestId,
    pub from: S,
    pub to: S,
    pub note: String,
    pub at: DateTime<Utc>,
}

/// Whose requests are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    Own(WorkspaceId),
    /// For the server's owner only.
    Everybodys,
}

/// A request of this kind; for the coordinator and the server's owner, whom no workspace bounds.
pub async fn find<S: State>(
    db: &impl ConnectionTrait,
    id: RequestId,
) -> Result<Option<Request<S>>, DbErr> {
    let row = of_kind::<S>().filter(Column::Id.eq(id.uuid())).one(db).await?;
    row.map(read).transpose()
}

/// A workspace's own request.
pub async fn find_own<S: State>(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    id: RequestId,
) -> Result<Option<Request<S>>, DbErr> {
    Ok(find(db, id).await?.filter(|request| request.workspace == owner))
}

/// A part of the requests, newest first, and how many there are in all.
pub async fn list<S: State>(
    db: &impl ConnectionTrait,
    whose: Whose,
    states: &[S],
    offset: u64,
    limit: u64,
) -> Result<(Vec<Request<S>>, u64), DbErr> {
    let mut query = of_kind::<S>();
    if let Whose::Own(owner) = whose {
        query = query.filter(Column::Workspace.eq(owner.uuid()));
    }
    if !states.is_empty() {
        query = query.filter(Column::State.is_in(states.iter().map(|state| state.as_str())));
    }
    let total = query.clone().count(db).await?;
    let rows = query.order_by_desc(Column::Id).offset(offset).limit(limit).all(db).await?;
    Ok((rows.into_iter().map(read).collect::<Result<_, _>>()?, total))
}

/// Stores a new request, unless there is one of its id already.
pub(in crate::store) async fn insert<S: State>(
    db: &impl ConnectionTrait,
    request: &Request<S>,
) -> Result<bool, DbErr> {
    let row = ActiveModel {
        id: Set(request.id.uuid()),
        kind: Set(S::REQUEST.to_owned()),
        workspace: Set(request.workspace.uuid()),
        asker: Set(request.asker.uuid()),
        terms: Set(document::write(&request.terms)?),
        state: Set(request.state.as_str().to_owned()),
        note: Set(storable(&request.note)),
        created_us: Set(micros(request.created_at)),
        updated_us: Set(micros(request.updated_at)),
        sent_us: Set(request.sent_at.map(micros)),
        confirmed_us: Set(request.confirmed_at.map(micros)),
    };
    let first = OnConflict::column(Column::Id).do_nothing().to_owned();
    Ok(Entity::insert(row).on_conflict(first).exec_without_returning(db).await? == 1)
}

/// Moves a request on, unless it is no longer where the step begins.
pub(in crate::store) async fn advance<S: State>(
    db: &impl ConnectionTrait,
    step: &Step<S>,
) -> Result<bool, DbErr> {
    let mut update = Entity::update_many()
        .col_expr(Column::State, Expr::value(step.to.as_str()))
        .col_expr(Column::Note, Expr::value(storable(&step.note)))
        .col_expr(Column::UpdatedUs, Expr::value(micros(step.at)));
    // Both kinds of request call it so.
    match step.to.as_str() {
        "SENT" => update = update.col_expr(Column::SentUs, Expr::value(micros(step.at))),
        "CONFIRMED" => update = update.col_expr(Column::ConfirmedUs, Expr::value(micros(step.at))),
        _ => {}
    }
    let moved = update
        .filter(Column::Id.eq(step.id.uuid()))
        .filter(Column::Kind.eq(S::REQUEST))
        .filter(Column::State.eq(step.from.as_str()))
        .exec(db)
        .await?;
    Ok(moved.rows_affected == 1)
}

fn of_kind<S: State>() -> Select<Entity> {
    Entity::find().filter(Column::Kind.eq(S::REQUEST))
}

pub(in crate::store) fn read<S: State>(row: Model) -> Result<Request<S>, DbErr> {
    Ok(Request {
        id: RequestId::new(row.id),
        workspace: WorkspaceId::new(row.workspace),
        asker: UserId::new(row.asker),
        terms: document::read(&row.terms)?,
        state: S::from_name(&row.state).ok_or_else(|| corrupt("state"))?,
        note: row.note,
        created_at: time(row.created_us),
        updated_at: time(row.updated_us),
        sent_at: row.sent_us.map(time),
        confirmed_at: row.confirmed_us.map(time),
    })
}
