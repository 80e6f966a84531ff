//! Templates, under the ids that their authors chose.

use chrono::{DateTime, Utc};
use common::ids::WorkspaceId;
use common::package::template::Template;
use sea_orm::sea_query::{Expr, ExprTrait as _, OnConflict, Order, SimpleExpr};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect, Set,
};

use super::imports::{self, Item, is_imported};
use super::packages::Shelf;
use crate::clock;
use crate::store::known::Read;
use crate::store::people::workspaces;
use crate::store::query::document;
use crate::store::query::selection;
use crate::store::query::selection::{Field, Found, Kind, Selection};
use crate::store::{Db, begin, micros, time};

const PUBLISHERS_MAX: u64 = 5;

pub(in crate::store) mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "templates")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub workspace: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub document: String,
        pub created_us: i64,
        pub updated_us: i64,
        pub public: bool,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A template as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    pub owner: WorkspaceId,
    /// Whether its owner has published it.
    pub public: bool,
    /// Lent, where it is another's than the reader's.
    pub template: Template,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// Writes a template, in place of one with the same id, which stays published where it was. An id
/// that had been imported is the workspace's own from now on.
pub async fn put(db: &Db, owner: WorkspaceId, template: &Template) -> Result<(), DbErr> {
    use row::Column as C;
    let now = clock::now();
    let row = row::ActiveModel {
        workspace: Set(owner.uuid()),
        id: Set(template.id.clone()),
        document: Set(document::write(template)?),
        created_us: Set(micros(now)),
        updated_us: Set(micros(now)),
        public: Set(false),
    };
    let replace = OnConflict::columns([C::Workspace, C::Id])
        .update_columns([C::Document, C::UpdatedUs])
        .to_owned();
    let transaction = begin(db).await?;
    row::Entity::insert(row).on_conflict(replace).exec_without_returning(&transaction).await?;
    imports::delete(&transaction, owner, Item::Template, &template.id).await?;
    transaction.commit().await
}

/// The same as [`find`], as each new job asks it: it is used again (`store::known`).
pub async fn known(db: &Db, reader: WorkspaceId, id: &str) -> Result<Option<Kept>, DbErr> {
    let found = async {
        let row = find_row(db, reader, id).await?;
        let kept =
            |row: row::Model| Ok(Read { value: read(&row, reader)?, bytes: row.document.len() });
        row.map(kept).transpose()
    };
    db.known.templates.find(&db.epoch, (reader, id.to_owned()), found).await
}

/// The template that an id stands for in this workspace: its own, or an imported one while that is
/// published.
pub async fn find(
    db: &impl ConnectionTrait,
    reader: WorkspaceId,
    id: &str,
) -> Result<Option<Kept>, DbErr> {
    let row = find_row(db, reader, id).await?;
    row.as_ref().map(|row| read(row, reader)).transpose()
}

async fn find_row(
    db: &impl ConnectionTrait,
    reader: WorkspaceId,
    id: &str,
) -> Result<Option<row::Model>, DbErr> {
    let foreign: SimpleExpr = Expr::case(own(reader), 0).finally(1).into();
    row::Entity::find()
        .filter(row::Column::Id.eq(id))
        .filter(usable(reader))
        .order_by(foreign, Order::Asc)
        .one(db)
        .await
}

/// The published templates of this id: all of them, or those of the owner of this name or id. Few
/// enough for a message.
pub async fn published(
    db: &impl ConnectionTrait,
    reader: WorkspaceId,
    id: &str,
    owner: Option<&str>,
) -> Result<Vec<Kept>, DbErr> {
    let mut query =
        row::Entity::find().filter(row::Column::Id.eq(id)).filter(row::Column::Public.eq(true));
    if let Some(owner) = owner {
        query = query.filter(workspaces::is_called(row::Column::Workspace, owner));
    }
    let rows = query.limit(PUBLISHERS_MAX).all(db).await?;
    rows.iter().map(|row| read(row, reader)).collect()
}

/// Publishes a template, or takes it back; false where the workspace has none of this id.
pub async fn set_public(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    id: &str,
    public: bool,
) -> Result<bool, DbErr> {
    let changed = row::Entity::update_many()
        .col_expr(row::Column::Public, public.into())
        .filter(row::Column::Workspace.eq(owner.uuid()))
        .filter(row::Column::Id.eq(id))
        .exec(db)
        .await?;
    Ok(changed.rows_affected == 1)
}

/// What templates are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateField {
    Id,
    Owner,
    CreatedAt,
    UpdatedAt,
}

impl Field for TemplateField {
    const ALL: &'static [Self] = &[Self::Id, Self::Owner, Self::CreatedAt, Self::UpdatedAt];

    const TIES: &'static [(Self, bool)] = &[(Self::Id, false), (Self::Owner, false)];

    const WEIGHT: &'static str = "CAST(LENGTH(document) AS BIGINT)";

    fn kind(self) -> Kind {
        match self {
            Self::Id => Kind::Text,
            Self::Owner => Kind::Uuid,
            Self::CreatedAt | Self::UpdatedAt => Kind::Time,
        }
    }

    fn is_optional(self) -> bool {
        false
    }

    fn expr(self, _: DbBackend) -> SimpleExpr {
        match self {
            Self::Id => Expr::col(row::Column::Id),
            Self::Owner => Expr::col(row::Column::Workspace),
            Self::CreatedAt => Expr::col(row::Column::CreatedUs),
            Self::UpdatedAt => Expr::col(row::Column::UpdatedUs),
        }
    }
}

/// A part of the templates.
pub async fn list(
    db: &impl ConnectionTrait,
    reader: WorkspaceId,
    shelf: Shelf,
    selection: &Selection<TemplateField>,
) -> Result<Found<Kept>, DbErr> {
    let all = row::Entity::find();
    let all = match shelf {
        Shelf::Usable => all.filter(usable(reader)),
        Shelf::Published => all.filter(row::Column::Public.eq(true)),
        Shelf::Unpublished => all.filter(own(reader)).filter(row::Column::Public.eq(false)),
    };
    selection::fetch(db, all, selection).await?.try_map(|row| read(&row, reader))
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

fn own(reader: WorkspaceId) -> SimpleExpr {
    row::Column::Workspace.eq(reader.uuid())
}

fn usable(reader: WorkspaceId) -> SimpleExpr {
    use row::Column as C;
    let (owner, name) = ((row::Entity, C::Workspace), (row::Entity, C::Id));
    let imported = is_imported(reader, Item::Template, owner, name);
    own(reader).or(C::Public.eq(true).and(imported))
}

fn read(row: &row::Model, reader: WorkspaceId) -> Result<Kept, DbErr> {
    let owner = WorkspaceId::new(row.workspace);
    let template: Template = document::read(&row.document)?;
    Ok(Kept {
        owner,
        public: row.public,
        template: if owner == reader { template } else { template.lent(owner) },
        created_at: time(row.created_us),
        updated_at: time(row.updated_us),
    })
}
