//! Databases for tests: SQLite always, PostgreSQL too where `FANFOLD_TEST_POSTGRES` names a
//! server on which databases may be made.

use sea_orm::{ConnectionTrait as _, Database, DbBackend, Statement};
use uuid::Uuid;

use super::{Db, open};

/// An empty database of its own, with what keeps it.
pub struct Fresh {
    pub name: &'static str,
    pub db: Db,
    _folder: Option<tempfile::TempDir>,
}

/// One fresh database of each kind there is.
pub async fn databases() -> Vec<Fresh> {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("test.sqlite").display());
    let sqlite = Fresh { name: "sqlite", db: open(&url).await.unwrap(), _folder: Some(folder) };
    match std::env::var("FANFOLD_TEST_POSTGRES") {
        Ok(server) => vec![sqlite, postgres(&server).await],
        Err(_) => {
            println!("skipped on PostgreSQL: FANFOLD_TEST_POSTGRES is not set");
            vec![sqlite]
        }
    }
}

async fn postgres(server: &str) -> Fresh {
    let admin = Database::connect(server).await.unwrap();
    let name = format!("fanfold_{}", Uuid::now_v7().simple());
    let create = Statement::from_string(DbBackend::Postgres, format!("CREATE DATABASE {name}"));
    admin.execute_raw(create).await.unwrap();
    let (base, _) = server.rsplit_once('/').unwrap();
    let db = open(&format!("{base}/{name}")).await.unwrap();
    Fresh { name: "postgres", db, _folder: None }
}
