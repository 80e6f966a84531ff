//! Workspaces and their users.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::ids::{UserId, WorkspaceId};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait,
    QueryFilter, QueryOrder, Set,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Db, api_keys, begin, corrupt, document, micros, time};
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
        pub first_name: String,
        pub last_name: String,
        pub contact: String,
        pub last_login_us: Option<i64>,
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
    pub profile: Profile,
    pub created_at: DateTime<Utc>,
    pub last_login_at: Option<DateTime<Utc>>,
}

/// What people say of themselves.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Profile {
    pub first_name: String,
    pub last_name: String,
    /// By the documented names of its fields.
    pub contact: BTreeMap<String, String>,
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
    insert_user(db, workspace, username, "", &Profile::default()).await
}

/// A new workspace of a new user; the one who has the address already, where there is one.
pub async fn sign_up(db: &Db, email: &str, profile: &Profile) -> Result<User, DbErr> {
    let transaction = begin(db).await?;
    if let Some(user) = find_by_email(&transaction, email).await? {
        return Ok(user);
    }
    let username = email.split('@').next().unwrap_or(email);
    let workspace = create_workspace(&transaction, username).await?;
    insert_user(&transaction, workspace, username, email, profile).await?;
    let user = find_by_email(&transaction, email).await?.ok_or_else(|| corrupt("new user"))?;
    transaction.commit().await?;
    Ok(user)
}

/// Whoever signs in with this address.
pub async fn find_by_email(db: &impl ConnectionTrait, email: &str) -> Result<Option<User>, DbErr> {
    let row = user::Entity::find().filter(user::Column::Email.eq(email)).one(db).await?;
    row.map(read).transpose()
}

/// Notes that somebody has signed in.
pub async fn signed_in(db: &impl ConnectionTrait, id: UserId) -> Result<(), DbErr> {
    user::Entity::update_many()
        .col_expr(user::Column::LastLoginUs, Expr::value(micros(clock::now())))
        .filter(user::Column::Id.eq(id.uuid()))
        .exec(db)
        .await?;
    Ok(())
}

pub async fn set_profile(
    db: &impl ConnectionTrait,
    id: UserId,
    profile: &Profile,
) -> Result<(), DbErr> {
    user::Entity::update_many()
        .col_expr(user::Column::FirstName, Expr::value(profile.first_name.clone()))
        .col_expr(user::Column::LastName, Expr::value(profile.last_name.clone()))
        .col_expr(user::Column::Contact, Expr::value(document::write(&profile.contact)?))
        .filter(user::Column::Id.eq(id.uuid()))
        .exec(db)
        .await?;
    Ok(())
}

async fn insert_user(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    username: &str,
    email: &str,
    profile: &Profile,
) -> Result<UserId, DbErr> {
    let id = Uuid::now_v7();
    user::ActiveModel {
        id: Set(id),
        workspace_id: Set(workspace.uuid()),
        username: Set(username.to_owned()),
        email: Set(email.to_owned()),
        created_us: Set(micros(clock::now())),
        first_name: Set(profile.first_name.clone()),
        last_name: Set(profile.last_name.clone()),
        contact: Set(document::write(&profile.contact)?),
        last_login_us: Set(None),
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
    row.map(read).transpose()
}

fn read(row: user::Model) -> Result<User, DbErr> {
    let contact = match row.contact.as_str() {
        "" => BTreeMap::new(),
        contact => document::read(contact)?,
    };
    Ok(User {
        id: UserId::new(row.id),
        workspace: WorkspaceId::new(row.workspace_id),
        username: row.username,
        email: row.email,
        profile: Profile { first_name: row.first_name, last_name: row.last_name, contact },
        created_at: time(row.created_us),
        last_login_at: row.last_login_us.map(time),
    })
}
