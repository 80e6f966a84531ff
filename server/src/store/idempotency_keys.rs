//! Creates that their callers have named: the same name makes the same thing once.

use chrono::TimeDelta;
use common::digest::Digest;
use common::ids::WorkspaceId;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, Set};
use uuid::Uuid;

use super::{corrupt, micros};
use crate::clock;

/// How long a name is remembered.
const KEPT: TimeDelta = TimeDelta::hours(48);

mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "creates")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub workspace: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub name: String,
        pub digest: String,
        pub made: Uuid,
        pub at_us: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

use row::Column as C;

/// What a named create is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// The first of its name.
    First,
    /// One that asks for the same again: what it makes has this id.
    Again(Uuid),
    /// The name was used to ask for something else.
    Other,
}

/// Binds a name to what was asked for and to the id of what it makes, unless it is bound already.
/// The thing itself may not be there yet, where its making was cut off.
pub async fn bind(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    name: &str,
    asked: Digest,
    id: Uuid,
) -> Result<Named, DbErr> {
    let now = clock::now();
    row::Entity::delete_many()
        .filter(C::Workspace.eq(owner.uuid()))
        .filter(C::AtUs.lt(micros(now - KEPT)))
        .exec(db)
        .await?;
    let row = row::ActiveModel {
        workspace: Set(owner.uuid()),
        name: Set(name.to_owned()),
        digest: Set(asked.to_string()),
        made: Set(id),
        at_us: Set(micros(now)),
    };
    // Who is first stays: of two side by side, both then read the same row.
    let first = OnConflict::columns([C::Workspace, C::Name]).do_nothing().to_owned();
    if row::Entity::insert(row).on_conflict(first).exec_without_returning(db).await? == 1 {
        return Ok(Named::First);
    }
    match find(db, owner, name, asked).await? {
        Named::First => Err(corrupt("name of a create")),
        bound @ (Named::Again(_) | Named::Other) => Ok(bound),
    }
}

/// What a create of this name would be; binds nothing.
pub async fn find(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    name: &str,
    asked: Digest,
) -> Result<Named, DbErr> {
    let row = row::Entity::find_by_id((owner.uuid(), name.to_owned())).one(db).await?;
    Ok(match row {
        None => Named::First,
        Some(row) if row.digest == asked.to_string() => Named::Again(row.made),
        Some(_) => Named::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::people::workspaces;
    use crate::store::testing::databases;

    #[tokio::test]
    async fn idempotency_key_is_bound_to_one_request_per_workspace() {
        for fresh in databases().await {
            let db = &fresh.db;
            let one = workspaces::create_workspace(db, "one").await.unwrap();
            let two = workspaces::create_workspace(db, "two").await.unwrap();
            let id = Uuid::from_u128;
            let bound = async |owner, asked: &[u8], n| {
                bind(db, owner, "name", Digest::of(asked), id(n)).await.unwrap()
            };

            assert_eq!(bound(one, b"a", 1).await, Named::First, "{}", fresh.name);
            assert_eq!(bound(one, b"a", 2).await, Named::Again(id(1)));
            assert_eq!(bound(one, b"b", 3).await, Named::Other);
            assert_eq!(bound(two, b"b", 4).await, Named::First);
        }
    }
}
