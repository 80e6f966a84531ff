//! Workspaces, and the people who sign in. Who may do what in which is in `members`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::access::Role;
use common::compute::container::Sharing;
use common::ids::{UserId, WorkspaceId};
use sea_orm::sea_query::{Expr, ExprTrait as _, Func, IntoColumnRef, Query, SimpleExpr};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait,
    QueryFilter, QueryOrder, Select, Set,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{api_keys, invitations, members};
use crate::clock;
use crate::store::query::document;
use crate::store::{Db, begin, micros, time};

pub(super) mod workspace {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "workspaces")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub name: String,
        pub created_us: i64,
        pub log_days: Option<i32>,
        pub containers: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(in crate::store) mod user {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "users")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
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

/// Somebody who signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
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
/// Callers write the key down before anything else: it is shown this once.
pub async fn owner(db: &Db) -> Result<Owner, DbErr> {
    let transaction = begin(db).await?;
    let first = user::Entity::find().order_by_asc(user::Column::Id).one(&transaction).await?;
    let own = match &first {
        None => None,
        Some(user) => members::own_workspace(&transaction, UserId::new(user.id)).await?,
    };
    let user = match first {
        None => insert_user(&transaction, "owner", "", &Profile::default()).await?,
        Some(user) => UserId::new(user.id),
    };
    let workspace = match own {
        None => found_workspace(&transaction, "default", user).await?,
        Some(workspace) => workspace,
    };
    let api_key = api_keys::issue(&transaction, workspace, user, "owner's key").await?;
    transaction.commit().await?;
    Ok(Owner { workspace, user, api_key })
}

/// Whether the server is this workspace's: that of the first user.
pub async fn owns_server(db: &impl ConnectionTrait, workspace: WorkspaceId) -> Result<bool, DbErr> {
    let first = user::Entity::find().order_by_asc(user::Column::Id).one(db).await?;
    let Some(first) = first else { return Ok(false) };
    Ok(members::own_workspace(db, UserId::new(first.id)).await? == Some(workspace))
}

pub async fn create_workspace(db: &impl ConnectionTrait, name: &str) -> Result<WorkspaceId, DbErr> {
    let id = Uuid::now_v7();
    workspace::ActiveModel {
        id: Set(id),
        name: Set(name.to_owned()),
        created_us: Set(micros(clock::now())),
        log_days: Set(None),
        containers: Set(Sharing::default().as_str().to_owned()),
    }
    .insert(db)
    .await?;
    Ok(WorkspaceId::new(id))
}

/// A new user without an address, who is an admin of the workspace.
pub async fn create_user(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    username: &str,
) -> Result<UserId, DbErr> {
    let user = insert_user(db, username, "", &Profile::default()).await?;
    members::add(db, workspace, user, Role::Admin).await?;
    Ok(user)
}

/// A new workspace, with the user as its first admin.
async fn found_workspace(
    db: &impl ConnectionTrait,
    name: &str,
    admin: UserId,
) -> Result<WorkspaceId, DbErr> {
    let workspace = create_workspace(db, name).await?;
    members::add(db, workspace, admin, Role::Admin).await?;
    Ok(workspace)
}

/// Somebody who has proven an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    pub user: UserId,
    /// Who signs up has a workspace of their own.
    pub own: Option<WorkspaceId>,
}

/// Takes in a person who has proven an address: finds the user, makes one who signs up or was invited,
/// and lets them into the workspaces that have invited them. `None` where nobody knows the
/// address and it does not sign up.
pub async fn arrive(
    db: &Db,
    email: &str,
    sign_up: Option<&Profile>,
) -> Result<Option<Arrival>, DbErr> {
    let transaction = begin(db).await?;
    let known = find_by_email(&transaction, email).await?;
    let invited = invitations::take(&transaction, email).await?;
    if known.is_none() && sign_up.is_none() && invited.is_empty() {
        return Ok(None);
    }
    let username = email.split('@').next().unwrap_or(email);
    let user = match known {
        Some(user) => user.id,
        None => {
            let profile = sign_up.cloned().unwrap_or_default();
            insert_user(&transaction, username, email, &profile).await?
        }
    };
    let own = match sign_up {
        None => None,
        Some(_) => Some(match members::own_workspace(&transaction, user).await? {
            Some(workspace) => workspace,
            None => found_workspace(&transaction, username, user).await?,
        }),
    };
    let places: Vec<_> = invited.iter().map(|place| (place.workspace, place.role)).collect();
    members::add_all(&transaction, user, &places).await?;
    signed_in(&transaction, user).await?;
    transaction.commit().await?;
    Ok(Some(Arrival { user, own }))
}

/// The user with this address.
pub async fn find_by_email(db: &impl ConnectionTrait, email: &str) -> Result<Option<User>, DbErr> {
    let row = by_email(email).one(db).await?;
    row.map(read).transpose()
}

fn by_email(email: &str) -> Select<user::Entity> {
    // As the partial index says it: no database would know it from a bound value.
    let found = user::Entity::find().filter(user::Column::Email.eq(email));
    found.filter(Expr::cust("email <> ''"))
}

/// Notes that somebody has signed in.
async fn signed_in(db: &impl ConnectionTrait, id: UserId) -> Result<(), DbErr> {
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

/// Gives a user another name, and with it the user's own workspace: there it is the OWNER in front
/// of what is published. Imports know the workspace by its id, so they stay. False where another
/// workspace has the name.
pub async fn set_username(db: &Db, id: UserId, name: &str) -> Result<bool, DbErr> {
    let transaction = begin(db).await?;
    if let Some(own) = members::own_workspace(&transaction, id).await? {
        let taken = workspace::Entity::find()
            .filter(workspace::Column::Id.ne(own.uuid()))
            .filter(
                Expr::expr(Func::lower(Expr::col(workspace::Column::Name))).eq(name.to_lowercase()),
            )
            .count(&transaction)
            .await?;
        if taken > 0 {
            return Ok(false);
        }
        workspace::Entity::update_many()
            .col_expr(workspace::Column::Name, Expr::value(name))
            .filter(workspace::Column::Id.eq(own.uuid()))
            .exec(&transaction)
            .await?;
    }
    user::Entity::update_many()
        .col_expr(user::Column::Username, Expr::value(name))
        .filter(user::Column::Id.eq(id.uuid()))
        .exec(&transaction)
        .await?;
    transaction.commit().await?;
    Ok(true)
}

async fn insert_user(
    db: &impl ConnectionTrait,
    username: &str,
    email: &str,
    profile: &Profile,
) -> Result<UserId, DbErr> {
    let id = Uuid::now_v7();
    user::ActiveModel {
        id: Set(id),
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

/// Of a column of workspaces: the one of this id, or those of this name.
pub(in crate::store) fn is_called(column: impl IntoColumnRef, owner: &str) -> SimpleExpr {
    let column = Expr::col(column);
    if let Ok(id) = owner.parse::<WorkspaceId>() {
        return column.eq(id.uuid());
    }
    let named = Query::select()
        .column(workspace::Column::Id)
        .from(workspace::Entity)
        .and_where(Expr::col(workspace::Column::Name).eq(owner))
        .to_owned();
    column.in_subquery(named)
}

/// A workspace's name, and when it was made.
pub async fn find_workspace(
    db: &impl ConnectionTrait,
    id: WorkspaceId,
) -> Result<Option<(String, DateTime<Utc>)>, DbErr> {
    let row = workspace::Entity::find_by_id(id.uuid()).one(db).await?;
    Ok(row.map(|row| (row.name, time(row.created_us))))
}

/// Whether there is any workspace yet.
pub async fn is_empty(db: &impl ConnectionTrait) -> Result<bool, DbErr> {
    Ok(workspace::Entity::find().count(db).await? == 0)
}

/// A user by id; callers make sure that it may be shown.
pub async fn find_user(db: &impl ConnectionTrait, id: UserId) -> Result<Option<User>, DbErr> {
    let row = user::Entity::find_by_id(id.uuid()).one(db).await?;
    row.map(read).transpose()
}

/// These users, in no order.
pub(in crate::store) async fn find_users(
    db: &impl ConnectionTrait,
    ids: impl IntoIterator<Item = UserId>,
) -> Result<Vec<User>, DbErr> {
    let ids = ids.into_iter().map(UserId::uuid);
    let rows = user::Entity::find().filter(user::Column::Id.is_in(ids)).all(db).await?;
    rows.into_iter().map(read).collect()
}

pub async fn workspace_name(db: &impl ConnectionTrait, id: WorkspaceId) -> Result<String, DbErr> {
    let row = workspace::Entity::find_by_id(id.uuid()).one(db).await?;
    Ok(row.map(|row| row.name).unwrap_or_default())
}

/// The names of these workspaces, as strangers see them on what they publish.
pub async fn workspace_names(
    db: &impl ConnectionTrait,
    ids: impl IntoIterator<Item = WorkspaceId>,
) -> Result<BTreeMap<WorkspaceId, String>, DbErr> {
    let ids = ids.into_iter().map(WorkspaceId::uuid);
    let rows = workspace::Entity::find().filter(workspace::Column::Id.is_in(ids)).all(db).await?;
    Ok(rows.into_iter().map(|row| (WorkspaceId::new(row.id), row.name)).collect())
}

/// Lets changes of a workspace's members wait for each other until the transaction ends.
pub(in crate::store) async fn lock_workspace(
    db: &impl ConnectionTrait,
    id: WorkspaceId,
) -> Result<(), DbErr> {
    // SQLite has no `FOR UPDATE`; a write that changes nothing locks the row on both.
    workspace::Entity::update_many()
        .col_expr(workspace::Column::Id, Expr::value(id.uuid()))
        .filter(workspace::Column::Id.eq(id.uuid()))
        .exec(db)
        .await?;
    Ok(())
}

pub(in crate::store) fn read(row: user::Model) -> Result<User, DbErr> {
    let contact = match row.contact.as_str() {
        "" => BTreeMap::new(),
        contact => document::read(contact)?,
    };
    Ok(User {
        id: UserId::new(row.id),
        username: row.username,
        email: row.email,
        profile: Profile { first_name: row.first_name, last_name: row.last_name, contact },
        created_at: time(row.created_us),
        last_login_at: row.last_login_us.map(time),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{databases, steps};

    #[tokio::test]
    async fn user_is_found_by_address_in_an_index() {
        let databases = databases().await;

        let steps = steps(&databases[0].db, &by_email("a@example.org")).await;

        assert!(steps.contains("USING INDEX users_by_email"), "{steps}");
    }
}
