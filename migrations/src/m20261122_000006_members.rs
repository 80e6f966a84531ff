//! Members of workspaces with their roles, those who are invited, and what keys may do.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [members(), invitations()] {
            manager.create_table(table).await?;
        }
        for index in indexes() {
            manager.create_index(index).await?;
        }
        // Unset for all that the holder's role allows.
        let scopes = ColumnDef::new("scopes").text().take();
        let last_used = ColumnDef::new("last_used_us").big_integer().take();
        for column in [scopes, last_used] {
            let change = Table::alter().table("api_keys").add_column(column).take();
            manager.alter_table(change).await?;
        }
        let everybody = "INSERT INTO members (workspace_id, user_id, role, since_us) \
                         SELECT workspace_id, id, 'ROLE_ADMIN', created_us FROM users";
        manager.get_connection().execute_unprepared(everybody).await?;
        manager
            .drop_index(Index::drop().name("users_by_workspace").table("users").to_owned())
            .await?;
        let without = Table::alter().table("users").drop_column("workspace_id").take();
        manager.alter_table(without).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // A user of several workspaces goes back to the first of them.
        let workspace = ColumnDef::new("workspace_id").uuid().take();
        let change = Table::alter().table("users").add_column(workspace).take();
        manager.alter_table(change).await?;
        let first = "UPDATE users SET workspace_id = (SELECT workspace_id FROM members \
                     WHERE user_id = users.id ORDER BY since_us LIMIT 1)";
        manager.get_connection().execute_unprepared(first).await?;
        let index =
            Index::create().name("users_by_workspace").table("users").col("workspace_id").take();
        manager.create_index(index).await?;
        let keys = Index::drop().name("api_keys_by_member").table("api_keys").to_owned();
        manager.drop_index(keys).await?;
        for column in ["scopes", "last_used_us"] {
            let change = Table::alter().table("api_keys").drop_column(column).take();
            manager.alter_table(change).await?;
        }
        for table in ["members", "invitations"] {
            manager.drop_table(Table::drop().table(table).take()).await?;
        }
        Ok(())
    }
}

fn members() -> TableCreateStatement {
    Table::create()
        .table("members")
        .col(ColumnDef::new("workspace_id").uuid().not_null())
        .col(ColumnDef::new("user_id").uuid().not_null())
        .col(ColumnDef::new("role").text().not_null())
        .col(ColumnDef::new("since_us").big_integer().not_null())
        .primary_key(Index::create().col("workspace_id").col("user_id"))
        .take()
}

fn invitations() -> TableCreateStatement {
    Table::create()
        .table("invitations")
        .col(ColumnDef::new("id").uuid().not_null().primary_key())
        .col(ColumnDef::new("workspace_id").uuid().not_null())
        .col(ColumnDef::new("email").text().not_null())
        .col(ColumnDef::new("role").text().not_null())
        .col(ColumnDef::new("at_us").big_integer().not_null())
        .take()
}

fn indexes() -> [IndexCreateStatement; 4] {
    [
        Index::create()
            .name("api_keys_by_member")
            .table("api_keys")
            .col("workspace_id")
            .col("user_id")
            .take(),
        Index::create().name("members_by_user").table("members").col("user_id").take(),
        Index::create()
            .name("invitations_by_workspace")
            .table("invitations")
            .col("workspace_id")
            .col("email")
            .unique()
            .take(),
        Index::create().name("invitations_by_email").table("invitations").col("email").take(),
    ]
}
