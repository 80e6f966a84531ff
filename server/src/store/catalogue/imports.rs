//! Imports: the names under which a workspace uses what another one has published.
//!
//! An import is a link and no copy. A name of a workspace is either its own or imported.

use common::ids::WorkspaceId;
use sea_orm::sea_query::{Expr, ExprTrait as _, IntoColumnRef, OnConflict, Query, SimpleExpr};
use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, Set};

use super::packages::Family;
use crate::clock;
use crate::store::micros;
use crate::store::query::document;

pub(in crate::store) mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "imports")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub workspace: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub family: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub name: String,
        pub owner: Uuid,
        pub secrets: String,
        pub created_us: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

use row::Column as C;

/// What can be imported; each has names of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    Package(Family),
    Template,
}

impl Item {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Package(family) => family.as_str(),
            Self::Template => "template",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    pub owner: WorkspaceId,
    /// The secrets that the package asked for when it was imported: later it gets no others.
    pub secrets: Vec<String>,
}

/// Lets a name stand for another workspace's item, in place of what it stood for before.
pub async fn put(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    item: Item,
    name: &str,
    import: &Import,
) -> Result<(), DbErr> {
    let row = row::ActiveModel {
        workspace: Set(workspace.uuid()),
        family: Set(item.as_str().to_owned()),
        name: Set(name.to_owned()),
        owner: Set(import.owner.uuid()),
        secrets: Set(document::write(&import.secrets)?),
        created_us: Set(micros(clock::now())),
    };
    let replace = OnConflict::columns([C::Workspace, C::Family, C::Name])
        .update_columns([C::Owner, C::Secrets, C::CreatedUs])
        .to_owned();
    row::Entity::insert(row).on_conflict(replace).exec_without_returning(db).await?;
    Ok(())
}

pub async fn find(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    item: Item,
    name: &str,
) -> Result<Option<Import>, DbErr> {
    let key = (workspace.uuid(), item.as_str().to_owned(), name.to_owned());
    let Some(row) = row::Entity::find_by_id(key).one(db).await? else { return Ok(None) };
    Ok(Some(Import { owner: WorkspaceId::new(row.owner), secrets: document::read(&row.secrets)? }))
}

/// Forgets an import; false where there is none.
pub async fn delete(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    item: Item,
    name: &str,
) -> Result<bool, DbErr> {
    let gone = row::Entity::delete_many()
        .filter(C::Workspace.eq(workspace.uuid()))
        .filter(C::Family.eq(item.as_str()))
        .filter(C::Name.eq(name))
        .exec(db)
        .await?;
    Ok(gone.rows_affected == 1)
}

/// Of a row with this owner and this name: the workspace has imported it.
pub(in crate::store) fn is_imported(
    workspace: WorkspaceId,
    item: Item,
    owner: impl IntoColumnRef,
    name: impl IntoColumnRef,
) -> SimpleExpr {
    let column = |column| Expr::col((row::Entity, column));
    let link = Query::select()
        .expr(Expr::value(1))
        .from(row::Entity)
        .and_where(column(C::Workspace).eq(workspace.uuid()))
        .and_where(column(C::Family).eq(item.as_str()))
        .and_where(column(C::Owner).eq(Expr::col(owner)))
        .and_where(column(C::Name).eq(Expr::col(name)))
        .to_owned();
    Expr::exists(link)
}
