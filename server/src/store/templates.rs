//! Templates, under the ids that their authors chose.

use chrono::{DateTime, Utc};
use common::ids::WorkspaceId;
use common::package::template::Template;
use sea_orm::sea_query::{Expr, OnConflict, Order, SimpleExpr};
use sea_orm::{ColumnTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, QueryFilter, Set};

use super::selection::{self, Field, Kind, Selection};
use super::{document, micros, time};
use crate::clock;

mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "templates")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub workspace_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub document: String,
        pub created_us: i64,
        pub updated_us: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A template as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    pub template: Template,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// Writes a template, in place of one with the same id.
pub async fn put(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    template: &Template,
) -> Result<(), DbErr> {
    use row::Column as C;
    let now = clock::now();
    let row = row::ActiveModel {
        workspace_id: Set(owner.uuid()),
        id: Set(template.id.clone()),
        document: Set(document::write(template)?),
        created_us: Set(micros(now)),
        updated_us: Set(micros(now)),
    };
    let replace = OnConflict::columns([C::WorkspaceId, C::Id])
        .update_columns([C::Document, C::UpdatedUs])
        .to_owned();
    row::Entity::insert(row).on_conflict(replace).exec_without_returning(db).await?;
    Ok(())
}

pub async fn find(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    id: &str,
) -> Result<Option<Kept>, DbErr> {
    let row = row::Entity::find_by_id((owner.uuid(), id.to_owned())).one(db).await?;
    row.as_ref().map(read).transpose()
}

/// What templates are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateField {
    Id,
    CreatedAt,
    UpdatedAt,
}

impl Field for TemplateField {
    const ALL: &'static [Self] = &[Self::Id, Self::CreatedAt, Self::UpdatedAt];

    fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::CreatedAt => "createdAt",
            Self::UpdatedAt => "updatedAt",
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Id => Kind::Text,
            Self::CreatedAt | Self::UpdatedAt => Kind::Time,
        }
    }

    fn expr(self, _: DbBackend) -> SimpleExpr {
        match self {
            Self::Id => Expr::col(row::Column::Id),
            Self::CreatedAt => Expr::col(row::Column::CreatedUs),
            Self::UpdatedAt => Expr::col(row::Column::UpdatedUs),
        }
    }
}

/// A page of templates, and how many there are in all.
pub async fn list(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    selection: &Selection<TemplateField>,
) -> Result<(Vec<Kept>, u64), DbErr> {
    let own = row::Entity::find().filter(row::Column::WorkspaceId.eq(owner.uuid()));
    let last = (Expr::col(row::Column::Id), Order::Asc);
    let (rows, total) = selection::fetch(db, own, selection, last).await?;
    Ok((rows.iter().map(read).collect::<Result<_, _>>()?, total))
}

/// Deletes a template; false where the workspace has none of this id. Jobs keep theirs.
pub async fn delete(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    id: &str,
) -> Result<bool, DbErr> {
    let gone = row::Entity::delete_by_id((owner.uuid(), id.to_owned())).exec(db).await?;
    Ok(gone.rows_affected == 1)
}

fn read(row: &row::Model) -> Result<Kept, DbErr> {
    Ok(Kept {
        template: document::read(&row.document)?,
        created_at: time(row.created_us),
        updated_at: time(row.updated_us),
    })
}
