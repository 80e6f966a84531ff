//! Addresses that were invited into workspaces and have not been proven since.
//!
//! An invitation is kept by its address alone, so that it tells nobody whether the address is
//! known here, and makes nobody a member who has not come.

use chrono::{DateTime, Utc};
use common::access::Role;
use common::ids::{InvitationId, WorkspaceId};
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, Set,
};
use uuid::Uuid;

use crate::clock;
use crate::store::{corrupt, micros, time};

pub(in crate::store) mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "invitations")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub workspace: Uuid,
        pub email: String,
        pub role: String,
        pub at_us: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

use row::Column as C;

/// An address that may come, and as what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    pub id: InvitationId,
    pub workspace: WorkspaceId,
    pub email: String,
    pub role: Role,
    pub at: DateTime<Utc>,
}

/// Invites an address; one that is invited already gets the new role.
pub async fn invite(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    email: &str,
    role: Role,
) -> Result<Invitation, DbErr> {
    let row = row::ActiveModel {
        id: Set(Uuid::now_v7()),
        workspace: Set(workspace.uuid()),
        email: Set(email.to_owned()),
        role: Set(role.name().to_owned()),
        at_us: Set(micros(clock::now())),
    };
    let again =
        OnConflict::columns([C::Workspace, C::Email]).update_columns([C::Role, C::AtUs]).to_owned();
    row::Entity::insert(row).on_conflict(again).exec_without_returning(db).await?;
    let row = row::Entity::find()
        .filter(C::Workspace.eq(workspace.uuid()))
        .filter(C::Email.eq(email))
        .one(db)
        .await?;
    read(row.ok_or_else(|| corrupt("invitation"))?)
}

/// The workspace's invitations, the oldest first.
pub async fn list(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    limit: u64,
) -> Result<Vec<Invitation>, DbErr> {
    let rows = row::Entity::find()
        .filter(C::Workspace.eq(workspace.uuid()))
        .order_by_asc(C::Id)
        .limit(limit)
        .all(db)
        .await?;
    rows.into_iter().map(read).collect()
}

pub async fn count(db: &impl ConnectionTrait, workspace: WorkspaceId) -> Result<u64, DbErr> {
    row::Entity::find().filter(C::Workspace.eq(workspace.uuid())).count(db).await
}

/// Gives an invitation another role; false where the workspace has no such one.
pub async fn change(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    id: InvitationId,
    to: Role,
) -> Result<bool, DbErr> {
    let changed = row::Entity::update_many()
        .col_expr(C::Role, to.name().into())
        .filter(C::Id.eq(id.uuid()))
        .filter(C::Workspace.eq(workspace.uuid()))
        .exec(db)
        .await?;
    Ok(changed.rows_affected == 1)
}

/// Takes an invitation back; false where the workspace has no such one.
pub async fn withdraw(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    id: InvitationId,
) -> Result<bool, DbErr> {
    let gone = row::Entity::delete_many()
        .filter(C::Id.eq(id.uuid()))
        .filter(C::Workspace.eq(workspace.uuid()))
        .exec(db)
        .await?;
    Ok(gone.rows_affected == 1)
}

/// Whether any workspace has invited this address.
pub async fn exist_for(db: &impl ConnectionTrait, email: &str) -> Result<bool, DbErr> {
    Ok(row::Entity::find().filter(C::Email.eq(email)).count(db).await? > 0)
}

/// Uses up all that has invited this address.
pub(in crate::store) async fn take(
    db: &impl ConnectionTrait,
    email: &str,
) -> Result<Vec<Invitation>, DbErr> {
    // Writing first locks the rows: what is withdrawn meanwhile is either taken or gone.
    row::Entity::update_many()
        .col_expr(C::Email, email.into())
        .filter(C::Email.eq(email))
        .exec(db)
        .await?;
    let rows = row::Entity::find().filter(C::Email.eq(email)).order_by_asc(C::Id).all(db).await?;
    row::Entity::delete_many().filter(C::Email.eq(email)).exec(db).await?;
    rows.into_iter().map(read).collect()
}

pub(in crate::store) fn read(row: row::Model) -> Result<Invitation, DbErr> {
    Ok(Invitation {
        id: InvitationId::new(row.id),
        workspace: WorkspaceId::new(row.workspace),
        email: row.email,
        role: row.role.parse().map_err(|_| corrupt("role"))?,
        at: time(row.at_us),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::people::members;
    use crate::store::people::workspaces;
    use crate::store::people::workspaces::{Arrival, Profile};
    use crate::store::testing::databases;

    #[tokio::test]
    async fn invited_user_joins_the_workspace_and_has_no_own_one() {
        for fresh in databases().await {
            let db = &fresh.db;
            let workspace = workspaces::create_workspace(db, "w").await.unwrap();
            invite(db, workspace, "a@b.c", Role::User).await.unwrap();
            let again = invite(db, workspace, "a@b.c", Role::Developer).await.unwrap();
            assert_eq!(list(db, workspace, 9).await.unwrap(), [again]);

            let came = workspaces::arrive(db, "a@b.c", None).await.unwrap().unwrap();

            assert_eq!(came.own, None);
            assert_eq!(members::role(db, workspace, came.user).await, Ok(Some(Role::Developer)));
            assert_eq!(list(db, workspace, 9).await.unwrap(), []);
            let own = workspaces::arrive(db, "a@b.c", Some(&Profile::default())).await.unwrap();
            let Some(Arrival { user, own: Some(own) }) = own else { panic!("{own:?}") };
            assert_eq!((user, own == workspace), (came.user, false), "{}", fresh.name);
            assert_eq!(members::of_user(db, user, 9).await.unwrap().len(), 2);
        }
    }

    #[tokio::test]
    async fn sign_up_requires_an_invitation_that_is_not_withdrawn() {
        for fresh in databases().await {
            let db = &fresh.db;
            let workspace = workspaces::create_workspace(db, "w").await.unwrap();
            let other = workspaces::create_workspace(db, "other").await.unwrap();
            let sent = invite(db, workspace, "a@b.c", Role::User).await.unwrap();

            assert_eq!(workspaces::arrive(db, "x@y.z", None).await, Ok(None));
            assert_eq!(change(db, other, sent.id, Role::Admin).await, Ok(false));
            assert_eq!(withdraw(db, other, sent.id).await, Ok(false));
            assert_eq!(withdraw(db, workspace, sent.id).await, Ok(true));
            assert_eq!(workspaces::arrive(db, "a@b.c", None).await, Ok(None));
        }
    }
}
