//! Packages and templates that are published, and the names that workspaces have imported.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["packages", "templates"] {
            let public = ColumnDef::new("public").boolean().not_null().default(false).to_owned();
            manager.alter_table(Table::alter().table(table).add_column(public).to_owned()).await?;
        }
        let schema = ColumnDef::new("params_schema").text().to_owned();
        manager.alter_table(Table::alter().table("packages").add_column(schema).to_owned()).await?;
        manager.create_table(imports()).await?;
        for index in indexes() {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("imports").to_owned()).await?;
        for (name, table) in [("packages_by_name", "packages"), ("templates_by_name", "templates")]
        {
            manager.drop_index(Index::drop().name(name).table(table).to_owned()).await?;
        }
        for (table, column) in
            [("packages", "params_schema"), ("packages", "public"), ("templates", "public")]
        {
            manager.alter_table(Table::alter().table(table).drop_column(column).to_owned()).await?;
        }
        Ok(())
    }
}

fn imports() -> TableCreateStatement {
    let col = |name: &'static str| ColumnDef::new(name).not_null().to_owned();
    Table::create()
        .table("imports")
        .col(col("workspace_id").uuid())
        .col(col("family").text())
        .col(col("name").text())
        .col(col("owner_id").uuid())
        .col(col("secrets").text())
        .col(col("created_us").big_integer())
        .primary_key(Index::create().col("workspace_id").col("family").col("name"))
        .to_owned()
}

fn indexes() -> [IndexCreateStatement; 2] {
    [
        Index::create()
            .name("packages_by_name")
            .table("packages")
            .col("family")
            .col("public")
            .col("name")
            .to_owned(),
        Index::create()
            .name("templates_by_name")
            .table("templates")
            .col("public")
            .col("id")
            .to_owned(),
    ]
}
