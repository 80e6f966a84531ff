//! Workspaces, users, keys and secrets; packages, templates and images; jobs.
//!
//! JSON documents are kept as text: PostgreSQL's JSON refuses texts that JSON allows.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [
            workspaces(),
            users(),
            api_keys(),
            secrets(),
            packages(),
            templates(),
            images(),
            jobs(),
            holdings(),
        ] {
            manager.create_table(table).await?;
        }
        for index in indexes() {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for name in [
            "holdings",
            "jobs",
            "images",
            "templates",
            "packages",
            "secrets",
            "api_keys",
            "users",
            "workspaces",
        ] {
            manager.drop_table(Table::drop().table(name).to_owned()).await?;
        }
        Ok(())
    }
}

fn col(name: &'static str) -> ColumnDef {
    let mut column = ColumnDef::new(name);
    column.not_null();
    column
}

fn optional(name: &'static str) -> ColumnDef {
    ColumnDef::new(name)
}

fn workspaces() -> TableCreateStatement {
    Table::create()
        .table("workspaces")
        .col(col("id").uuid().primary_key())
        .col(col("name").text())
        .col(col("created_us").big_integer())
        .to_owned()
}

fn users() -> TableCreateStatement {
    Table::create()
        .table("users")
        .col(col("id").uuid().primary_key())
        .col(col("workspace_id").uuid())
        .col(col("username").text())
        .col(col("email").text())
        .col(col("created_us").big_integer())
        .to_owned()
}

fn api_keys() -> TableCreateStatement {
    Table::create()
        .table("api_keys")
        .col(col("id").uuid().primary_key())
        .col(col("workspace_id").uuid())
        .col(col("user_id").uuid())
        .col(col("name").text())
        .col(col("hash").text().unique_key())
        .col(col("issued_us").big_integer())
        .col(optional("expires_us").big_integer())
        .col(col("revoked").boolean())
        .to_owned()
}

fn secrets() -> TableCreateStatement {
    Table::create()
        .table("secrets")
        .col(col("workspace_id").uuid())
        .col(col("id").text())
        .col(col("kind").text())
        .col(optional("bound_to").text())
        .col(col("name").text())
        .col(col("access_key").text())
        .col(col("sealed").binary())
        .col(col("params").text())
        .col(col("hidden").boolean())
        .col(optional("expires_us").big_integer())
        .col(col("created_us").big_integer())
        .primary_key(Index::create().col("workspace_id").col("id"))
        .to_owned()
}

fn packages() -> TableCreateStatement {
    Table::create()
        .table("packages")
        .col(col("id").uuid().primary_key())
        .col(col("workspace_id").uuid())
        .col(col("family").text())
        .col(col("name").text())
        .col(col("major").integer())
        .col(col("minor").integer())
        .col(col("revision").integer())
        .col(col("active").boolean())
        .col(col("digest").text())
        .col(col("size").big_integer())
        .col(col("manifest").text())
        .col(col("created_us").big_integer())
        .col(col("updated_us").big_integer())
        .to_owned()
}

fn templates() -> TableCreateStatement {
    Table::create()
        .table("templates")
        .col(col("workspace_id").uuid())
        .col(col("id").text())
        .col(col("document").text())
        .col(col("created_us").big_integer())
        .col(col("updated_us").big_integer())
        .primary_key(Index::create().col("workspace_id").col("id"))
        .to_owned()
}

fn images() -> TableCreateStatement {
    Table::create()
        .table("images")
        .col(col("workspace_id").uuid())
        .col(col("reference").text())
        .col(col("digest").text())
        .col(col("size").big_integer())
        .col(col("updated_us").big_integer())
        .primary_key(Index::create().col("workspace_id").col("reference"))
        .to_owned()
}

/// What a workspace keeps in the bucket.
fn holdings() -> TableCreateStatement {
    Table::create()
        .table("holdings")
        .col(col("workspace_id").uuid())
        .col(col("path").text())
        .col(col("bytes").big_integer())
        .col(col("updated_us").big_integer())
        .primary_key(Index::create().col("workspace_id").col("path"))
        .to_owned()
}

fn jobs() -> TableCreateStatement {
    Table::create()
        .table("jobs")
        .col(col("id").uuid().primary_key())
        .col(col("workspace_id").uuid())
        .col(col("name").text())
        .col(col("description").text())
        .col(col("template").text())
        .col(optional("source").text())
        .col(optional("destination").text())
        .col(col("params").text())
        .col(col("config").text())
        .col(optional("upload_bytes").big_integer())
        .col(col("draft").big_integer())
        .col(optional("run_id").uuid())
        .col(col("created_us").big_integer())
        .col(optional("submitted_us").big_integer())
        .col(optional("deleted_us").big_integer())
        .to_owned()
}

fn indexes() -> [IndexCreateStatement; 3] {
    [
        Index::create()
            .name("packages_by_version")
            .table("packages")
            .col("workspace_id")
            .col("family")
            .col("name")
            .col("major")
            .col("minor")
            .unique()
            .to_owned(),
        Index::create()
            .name("jobs_by_age")
            .table("jobs")
            .col("workspace_id")
            .col("created_us")
            .col("id")
            .to_owned(),
        Index::create().name("users_by_workspace").table("users").col("workspace_id").to_owned(),
    ]
}
