//! Who belongs to which workspace, and as what.

use chrono::{DateTime, Utc};
use common::access::Role;
use common::ids::{UserId, WorkspaceId};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, Set,
};

use super::api_keys;
use super::workspaces;
use super::workspaces::User;
use crate::clock;
use crate::store::query::insert::RowWriter;
use crate::store::{Db, begin, corrupt, micros, time};

pub(in crate::store) mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "members")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub workspace: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub user_id: Uuid,
        pub role: String,
        pub since_us: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

use row::Column as C;

/// A member as the workspace sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub user: User,
    pub role: Role,
    pub since: DateTime<Utc>,
}

/// A workspace as one of its members sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    pub workspace: WorkspaceId,
    pub name: String,
    pub role: Role,
    pub since: DateTime<Utc>,
}

/// What became of a change of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    Done,
    /// The workspace has no such member.
    Unknown,
    /// The workspace would be left without an admin, so nothing was done.
    LastAdmin,
}

/// Makes the user a member; one who is a member already stays what they are.
pub async fn add(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    user: UserId,
    role: Role,
) -> Result<(), DbErr> {
    add_all(db, user, &[(workspace, role)]).await
}

/// Makes the user a member of all these workspaces.
pub(in crate::store) async fn add_all(
    db: &impl ConnectionTrait,
    user: UserId,
    places: &[(WorkspaceId, Role)],
) -> Result<(), DbErr> {
    static NEW: RowWriter<row::Entity> = RowWriter::on_conflict(|| {
        OnConflict::columns([C::Workspace, C::UserId]).do_nothing().to_owned()
    });
    let since = micros(clock::now());
    let row = |(workspace, role): &(WorkspaceId, Role)| row::ActiveModel {
        workspace: Set(workspace.uuid()),
        user_id: Set(user.uuid()),
        role: Set(role.name().to_owned()),
        since_us: Set(since),
    };
    NEW.write(db, places.iter().map(row)).await
}

/// What the user is in the workspace, if they belong to it.
pub async fn role(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    user: UserId,
) -> Result<Option<Role>, DbErr> {
    let row = row::Entity::find_by_id((workspace.uuid(), user.uuid())).one(db).await?;
    row.map(|row| read_role(&row)).transpose()
}

/// The workspace's members, those who came first before the others.
pub async fn list(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    limit: u64,
) -> Result<Vec<Member>, DbErr> {
    let rows = row::Entity::find()
        .filter(C::Workspace.eq(workspace.uuid()))
        .order_by_asc(C::SinceUs)
        .order_by_asc(C::UserId)
        .limit(limit)
        .all(db)
        .await?;
    let users = workspaces::find_users(db, rows.iter().map(|row| UserId::new(row.user_id))).await?;
    let member = |row: &row::Model| {
        let user = users.iter().find(|user| user.id.uuid() == row.user_id);
        Ok(Member {
            user: user.cloned().ok_or_else(|| corrupt("member"))?,
            role: read_role(row)?,
            since: time(row.since_us),
        })
    };
    rows.iter().map(member).collect()
}

pub async fn count(db: &impl ConnectionTrait, workspace: WorkspaceId) -> Result<u64, DbErr> {
    row::Entity::find().filter(C::Workspace.eq(workspace.uuid())).count(db).await
}

/// The workspaces that the user belongs to, the first joined before the others.
pub async fn of_user(
    db: &impl ConnectionTrait,
    user: UserId,
    limit: u64,
) -> Result<Vec<Membership>, DbErr> {
    let rows = row::Entity::find()
        .filter(C::UserId.eq(user.uuid()))
        .order_by_asc(C::SinceUs)
        .order_by_asc(C::Workspace)
        .limit(limit)
        .all(db)
        .await?;
    let ids = rows.iter().map(|row| WorkspaceId::new(row.workspace));
    let mut names = workspaces::workspace_names(db, ids).await?;
    let membership = |row: row::Model| {
        let workspace = WorkspaceId::new(row.workspace);
        Ok(Membership {
            workspace,
            name: names.remove(&workspace).unwrap_or_default(),
            role: read_role(&row)?,
            since: time(row.since_us),
        })
    };
    rows.into_iter().map(membership).collect()
}

/// The first workspace of which the user is an admin.
pub async fn own_workspace(
    db: &impl ConnectionTrait,
    user: UserId,
) -> Result<Option<WorkspaceId>, DbErr> {
    let row = row::Entity::find()
        .filter(C::UserId.eq(user.uuid()))
        .filter(C::Role.eq(Role::Admin.name()))
        .order_by_asc(C::SinceUs)
        .order_by_asc(C::Workspace)
        .one(db)
        .await?;
    Ok(row.map(|row| WorkspaceId::new(row.workspace)))
}

/// Gives a member another role.
pub async fn change(
    db: &Db,
    workspace: WorkspaceId,
    user: UserId,
    to: Role,
) -> Result<Changed, DbErr> {
    let transaction = begin(db).await?;
    let allowed = may_stop_being(&transaction, workspace, user, to != Role::Admin).await?;
    if allowed != Changed::Done {
        return Ok(allowed);
    }
    row::Entity::update_many()
        .col_expr(C::Role, Expr::value(to.name()))
        .filter(C::Workspace.eq(workspace.uuid()))
        .filter(C::UserId.eq(user.uuid()))
        .exec(&transaction)
        .await?;
    transaction.commit().await?;
    Ok(Changed::Done)
}

/// Ends a membership and every key that the member has here. Access tokens end with it, since
/// each request asks for the member's role.
pub async fn remove(db: &Db, workspace: WorkspaceId, user: UserId) -> Result<Changed, DbErr> {
    let transaction = begin(db).await?;
    let allowed = may_stop_being(&transaction, workspace, user, true).await?;
    if allowed != Changed::Done {
        return Ok(allowed);
    }
    row::Entity::delete_by_id((workspace.uuid(), user.uuid())).exec(&transaction).await?;
    api_keys::revoke_all(&transaction, workspace, user).await?;
    transaction.commit().await?;
    Ok(Changed::Done)
}

/// Whether there is such a member, and another admin where this one stops being one.
async fn may_stop_being(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    user: UserId,
    stops: bool,
) -> Result<Changed, DbErr> {
    // Two admins who remove each other at once must not both succeed.
    workspaces::lock_workspace(db, workspace).await?;
    let Some(role) = role(db, workspace, user).await? else {
        return Ok(Changed::Unknown);
    };
    let admins = row::Entity::find()
        .filter(C::Workspace.eq(workspace.uuid()))
        .filter(C::Role.eq(Role::Admin.name()))
        .count(db)
        .await?;
    Ok(if stops && role == Role::Admin && admins < 2 { Changed::LastAdmin } else { Changed::Done })
}

pub(in crate::store) fn read_role(row: &row::Model) -> Result<Role, DbErr> {
    role_named(&row.role)
}

/// The role of a column.
pub(super) fn role_named(name: &str) -> Result<Role, DbErr> {
    name.parse().map_err(|_| corrupt("role"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::databases;

    #[tokio::test]
    async fn last_admin_neither_leaves_nor_loses_the_role() {
        for fresh in databases().await {
            let db = &fresh.db;
            let workspace = workspaces::create_workspace(db, "w").await.unwrap();
            let first = workspaces::create_user(db, workspace, "first").await.unwrap();
            let stays = async |user| {
                assert_eq!(change(db, workspace, user, Role::User).await, Ok(Changed::LastAdmin));
                assert_eq!(remove(db, workspace, user).await, Ok(Changed::LastAdmin));
                assert_eq!(role(db, workspace, user).await, Ok(Some(Role::Admin)));
            };

            stays(first).await;
            let second = workspaces::create_user(db, workspace, "second").await.unwrap();
            assert_eq!(change(db, workspace, first, Role::User).await, Ok(Changed::Done));
            stays(second).await;
            assert_eq!(remove(db, workspace, first).await, Ok(Changed::Done));
            assert_eq!(role(db, workspace, first).await, Ok(None), "{}", fresh.name);
            assert_eq!(remove(db, workspace, first).await, Ok(Changed::Unknown));
        }
    }

    #[tokio::test]
    async fn admins_who_remove_each_other_at_once_leave_one() {
        for fresh in databases().await {
            let db = &fresh.db;
            let workspace = workspaces::create_workspace(db, "w").await.unwrap();
            let first = workspaces::create_user(db, workspace, "first").await.unwrap();
            let second = workspaces::create_user(db, workspace, "second").await.unwrap();

            let (one, other) =
                tokio::join!(remove(db, workspace, first), remove(db, workspace, second));

            let mut became = [one.unwrap(), other.unwrap()];
            became.sort_by_key(|became| *became == Changed::LastAdmin);
            assert_eq!(became, [Changed::Done, Changed::LastAdmin], "{}", fresh.name);
        }
    }

    #[tokio::test]
    async fn removed_member_loses_the_keys_of_this_workspace_only() {
        for fresh in databases().await {
            let db = &fresh.db;
            let here = workspaces::create_workspace(db, "here").await.unwrap();
            let there = workspaces::create_workspace(db, "there").await.unwrap();
            workspaces::create_user(db, here, "admin").await.unwrap();
            let user = workspaces::create_user(db, there, "guest").await.unwrap();
            add(db, here, user, Role::User).await.unwrap();
            let key_here = api_keys::issue(db, here, user, "k").await.unwrap();
            let key_there = api_keys::issue(db, there, user, "k").await.unwrap();

            assert_eq!(remove(db, here, user).await, Ok(Changed::Done));

            assert_eq!(api_keys::find_by_text(db, &key_here).await, Ok(None));
            assert!(api_keys::find_by_text(db, &key_there).await.unwrap().is_some());
        }
    }
}
