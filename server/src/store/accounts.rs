//! Workspaces and their users.

use chrono::{DateTime, Utc};
use common::ids::{UserId, WorkspaceId};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait,
    QueryFilter, QueryOrder, Set,
};
use uuid::Uuid;

use super::{Db, api_keys, begin, micros, time};
use crate::clock;

mod workspace {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "workspaces")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub name: String,
        pub created_us: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

mod user {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "users")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub workspace_id: Uuid,
        pub username: String,
        pub email: String,
        pub created_us: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A member of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    pub workspace: WorkspaceId,
    pub username: String,
    pub email: String,
    pub created_at: DateTime<Utc>,
}

/// Whose the server is. It has no `Debug`, so that no log can show the key.
pub struct Owner {
    pub workspace: WorkspaceId,
    pub user: UserId,
    pub api_key: String,
}

/// A new API key of the first user, who is made with a workspace where there is nobody.
///
/// Whoever calls writes the key down before anything else: it is shown this once.
pub async fn owner(db: &Db) -> Result<Owner, DbErr> {
    let transaction = begin(db).await?;
    let first = user::Entity::find().order_by_asc(user::Column::Id).one(&transaction).await?;
    let (workspace, user) = match first {
        Some(user) => (WorkspaceId::new(user.workspace_id), UserId::new(user.id)),
        None => {
            let workspace = create_workspace(&transaction, "default").await?;
            (workspace, create_user(&transaction, workspace, "owner").await?)
        }
    };
    let api_key = api_keys::issue(&transaction, workspace, user, "owner's key").await?;
    transaction.commit().await?;
    Ok(Owner { workspace, user, api_key })
}

pub async fn create_workspace(db: &impl ConnectionTrait, name: &str) -> Result<WorkspaceId, DbErr> {
    let id = Uuid::now_v7();
    workspace::ActiveModel {
        id: Set(id),
        name: Set(name.to_owned()),
        created_us: Set(micros(clock::now())),
    }
    .insert(db)
    .await?;
    Ok(WorkspaceId::new(id))
}

pub async fn create_user(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    username: &str,
) -> Result<UserId, DbErr> {
    let id = Uuid::now_v7();
    user::ActiveModel {
        id: Set(id),
        workspace_id: Set(workspace.uuid()),
        username: Set(username.to_owned()),
        email: Set(String::new()),
        created_us: Set(micros(clock::now())),
    }
    .insert(db)
    .await?;
    Ok(UserId::new(id))
}

/// Whether there is any workspace yet.
pub async fn is_empty(db: &impl ConnectionTrait) -> Result<bool, DbErr> {
    Ok(workspace::Entity::find().count(db).await? == 0)
}

pub async fn find_user(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    id: UserId,
) -> Result<Option<User>, DbErr> {
    let row = user::Entity::find_by_id(id.uuid())
        .filter(user::Column::WorkspaceId.eq(workspace.uuid()))
        .one(db)
        .await?;
    Ok(row.map(|row| User {
        id: UserId::new(row.id),
        workspace: WorkspaceId::new(row.workspace_id),
        username: row.username,
        email: row.email,
        created_at: time(row.created_us),
    }))
}
