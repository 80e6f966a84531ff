//! A PostgreSQL database of a test's own, where `FANFOLD_TEST_POSTGRES` names a server.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use reqwest::Url;
use sea_orm::{ConnectionTrait as _, Database, DatabaseConnection};
use tokio::net::lookup_host;
use uuid::Uuid;

use crate::say::say;

/// An empty database.
pub struct Postgres {
    server: Url,
    name: String,
}

impl Postgres {
    /// Makes the database; says "skipped" where there is no server.
    pub async fn create() -> Result<Option<Self>> {
        let Ok(server) = std::env::var("FANFOLD_TEST_POSTGRES") else {
            say(format_args!("skipped on PostgreSQL: FANFOLD_TEST_POSTGRES is not set"));
            return Ok(None);
        };
        let this = Self {
            server: server.parse().context("FANFOLD_TEST_POSTGRES")?,
            name: format!("fanfold_{}", Uuid::now_v7().simple()),
        };
        this.order(&format!("CREATE DATABASE {}", this.name)).await?;
        Ok(Some(this))
    }

    /// Where its server is.
    pub async fn address(&self) -> Result<SocketAddr> {
        let host = self.server.host_str().context("a host")?;
        let port = self.server.port().unwrap_or(5432);
        lookup_host((host, port)).await?.next().context("an address")
    }

    /// The database's URL, reached through this address.
    pub fn url_through(&self, gateway: SocketAddr) -> Result<String> {
        let mut url = self.server.clone();
        url.set_host(Some(&gateway.ip().to_string())).context("a host")?;
        url.set_port(Some(gateway.port())).ok().context("a port")?;
        url.set_path(&self.name);
        Ok(url.to_string())
    }

    /// The database's URL.
    pub fn url(&self) -> String {
        let mut url = self.server.clone();
        url.set_path(&self.name);
        url.to_string()
    }

    /// Connects to the database.
    pub async fn connect(&self) -> Result<DatabaseConnection> {
        Ok(Database::connect(self.url()).await?)
    }

    /// Removes the database, with whatever connections there are.
    pub async fn remove(self) -> Result<()> {
        self.order(&format!("DROP DATABASE {} WITH (FORCE)", self.name)).await
    }

    async fn order(&self, sql: &str) -> Result<()> {
        let admin = Database::connect(self.server.as_str()).await?;
        admin.execute_unprepared(sql).await?;
        admin.close().await?;
        Ok(())
    }
}
