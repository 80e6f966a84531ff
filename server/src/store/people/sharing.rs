//! Which tasks of a workspace may follow one another in containers.

use common::compute::container::Sharing;
use common::ids::WorkspaceId;
use sea_orm::QuerySelect as _;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _, QueryFilter as _};

use super::workspaces::workspace::{Column, Entity};
use crate::store::known::Read;
use crate::store::{Db, corrupt};

/// What the workspace has said; the default where it has said nothing.
pub async fn of(db: &impl ConnectionTrait, id: WorkspaceId) -> Result<Sharing, DbErr> {
    let name: Option<String> = Entity::find_by_id(id.uuid())
        .select_only()
        .column(Column::Containers)
        .into_tuple()
        .one(db)
        .await?;
    let Some(name) = name else { return Ok(Sharing::default()) };
    Sharing::from_name(&name).ok_or_else(|| corrupt("containers"))
}

/// The same, as each start asks it: it is used again (`store::known`).
pub async fn known(db: &Db, id: WorkspaceId) -> Result<Sharing, DbErr> {
    let found = async { Ok(Some(Read { value: of(db, id).await?, bytes: 0 })) };
    Ok(db.known.sharing.find(&db.epoch, id, found).await?.unwrap_or_default())
}

/// Says it for runs that start from now on.
pub async fn set(
    db: &impl ConnectionTrait,
    id: WorkspaceId,
    sharing: Sharing,
) -> Result<(), DbErr> {
    Entity::update_many()
        .col_expr(Column::Containers, Expr::value(sharing.as_str()))
        .filter(Column::Id.eq(id.uuid()))
        .exec(db)
        .await?;
    Ok(())
}
