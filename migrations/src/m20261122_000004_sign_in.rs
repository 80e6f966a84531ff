//! Signing in by e-mail: profiles, one-time codes, sessions, and tokens that were signed out.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let text = |name: &'static str| ColumnDef::new(name).text().not_null().default("").take();
        let time = |name: &'static str| ColumnDef::new(name).big_integer().take();
        let flag =
            |name: &'static str| ColumnDef::new(name).boolean().not_null().default(false).take();
        let columns = [
            ("users", text("first_name")),
            ("users", text("last_name")),
            ("users", text("contact")),
            ("users", time("last_login_us")),
            ("api_keys", flag("session")),
        ];
        for (table, column) in columns {
            manager.alter_table(Table::alter().table(table).add_column(column).take()).await?;
        }
        for table in [codes(), ended_tokens(), access_codes()] {
            manager.create_table(table).await?;
        }
        // The first user of a server may have no e-mail address.
        let by_email = "CREATE UNIQUE INDEX users_by_email ON users (email) WHERE email <> ''";
        manager.get_connection().execute_unprepared(by_email).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared("DROP INDEX users_by_email").await?;
        for table in ["codes", "ended_tokens", "access_codes"] {
            manager.drop_table(Table::drop().table(table).take()).await?;
        }
        for (table, column) in [
            ("users", "first_name"),
            ("users", "last_name"),
            ("users", "contact"),
            ("users", "last_login_us"),
            ("api_keys", "session"),
        ] {
            manager.alter_table(Table::alter().table(table).drop_column(column).take()).await?;
        }
        Ok(())
    }
}

fn codes() -> TableCreateStatement {
    Table::create()
        .table("codes")
        .col(ColumnDef::new("nonce").text().not_null().primary_key())
        .col(ColumnDef::new("email").text().not_null())
        .col(ColumnDef::new("hash").text().not_null())
        // A profile in JSON, where the code also signs up.
        .col(ColumnDef::new("profile").text())
        // The hash of the access code with which it was asked for, where its uses are counted.
        .col(ColumnDef::new("access").text())
        .col(ColumnDef::new("tries").integer().not_null())
        .col(ColumnDef::new("expires_us").big_integer().not_null())
        .take()
}

fn access_codes() -> TableCreateStatement {
    Table::create()
        .table("access_codes")
        .col(ColumnDef::new("hash").text().not_null().primary_key())
        .col(ColumnDef::new("uses").integer().not_null())
        .take()
}

fn ended_tokens() -> TableCreateStatement {
    Table::create()
        .table("ended_tokens")
        .col(ColumnDef::new("id").uuid().not_null().primary_key())
        .col(ColumnDef::new("expires_us").big_integer().not_null())
        .take()
}
