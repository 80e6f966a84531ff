//! Damaged pages, one at a time.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::store::{connect, is_away, is_damage, open};

/// A database with all tables, closed.
struct Closed {
    _folder: tempfile::TempDir,
    file: PathBuf,
    url: String,
}

impl Closed {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("db.sqlite");
        let url = format!("sqlite://{}", file.display());
        open(&url).await.unwrap().close().await.unwrap();
        Self { _folder: folder, file, url }
    }

    fn flip(&self, at: usize, mask: u8) {
        let mut bytes = fs::read(&self.file).unwrap();
        bytes[at] ^= mask;
        fs::write(&self.file, bytes).unwrap();
    }
}

async fn roots(url: &str) -> Vec<(String, usize)> {
    let db = connect(url).await.unwrap();
    let query = "SELECT name, rootpage FROM sqlite_schema WHERE type = 'table'".to_owned();
    let rows = db.query_all_raw(Statement::from_string(DbBackend::Sqlite, query)).await.unwrap();
    db.close().await.unwrap();
    let root = |row: &sea_orm::QueryResult| {
        let number: i64 = row.try_get("", "rootpage").unwrap();
        (row.try_get("", "name").unwrap(), usize::try_from(number).unwrap())
    };
    rows.iter().map(root).collect()
}

#[tokio::test]
async fn damaged_page_of_each_table_is_detected_and_the_table_named() {
    let closed = Closed::new().await;
    let roots = roots(&closed.url).await;
    assert!(roots.len() > 20, "{roots:?}");
    for (table, root) in roots {
        closed.flip((root - 1) * 4096, 0x40);

        let db = connect(&closed.url).await.unwrap();
        let problems = problems(&db).await;

        let problems = problems.unwrap_or_else(|error| panic!("{table}: {error}")).join("; ");
        assert!(problems.contains(&format!("table {table}:")), "{table}: {problems}");
        db.close().await.unwrap();
        closed.flip((root - 1) * 4096, 0x40);
    }
}

#[tokio::test]
async fn damaged_header_is_reported_as_damage() {
    for (at, mask) in [(0, 0xff), (100, 0x40)] {
        let closed = Closed::new().await;
        closed.flip(at, mask);

        let error = open(&closed.url).await.unwrap_err();

        assert!(is_damage(&error) && !is_away(&error), "byte {at}: {error:?}");
    }
}

#[tokio::test]
async fn intact_database_has_no_problems() {
    let closed = Closed::new().await;

    let db = connect(&closed.url).await.unwrap();

    assert!(problems(&db).await.unwrap().is_empty());
}
