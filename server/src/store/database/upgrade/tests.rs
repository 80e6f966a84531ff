//! Kills at every statement of a first start and of an upgrade.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use sea_orm::{ConnectionTrait as _, DbBackend, Statement};
use sea_orm_migration::prelude::*;

use super::*;
use crate::store::{connect, testing};

/// What a later release upgrades by: one more migration of many statements.
struct Later;

impl MigratorTrait for Later {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        let mut all = Migrator::migrations();
        all.push(Box::new(ManyStatements));
        all
    }
}

#[derive(DeriveMigrationName)]
struct ManyStatements;

const STATEMENTS: [&str; 8] = [
    "CREATE TABLE later (id BIGINT PRIMARY KEY, name TEXT NOT NULL)",
    "CREATE INDEX later_name ON later (name)",
    "INSERT INTO later VALUES (1, 'one')",
    "ALTER TABLE later ADD COLUMN size BIGINT NOT NULL DEFAULT 0",
    "UPDATE batches SET number = number + 1",
    "ALTER TABLE batches ADD COLUMN later BIGINT NOT NULL DEFAULT 0",
    "ALTER TABLE later RENAME COLUMN name TO title",
    "DROP INDEX later_name",
];

#[expect(elided_lifetimes_in_paths, reason = "the trait's methods must be written like this")]
#[async_trait::async_trait]
impl MigrationTrait for ManyStatements {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in STATEMENTS {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

/// What an upgrade begins with: no table at all, or the schema of the release before.
#[derive(Debug, Clone, Copy)]
enum Start {
    Nothing,
    Release,
}

async fn prepare(db: &Db, from: Start) {
    match from {
        Start::Nothing => {}
        Start::Release => upgrade(db).await.unwrap(),
    }
}

/// What a kill leaves on the disk: the database and its log.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Left {
    database: Vec<u8>,
    wal: Vec<u8>,
}

const FRAME_BYTES: usize = 24 + 4096;

fn wal_of(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}-wal", path.display()))
}

impl Left {
    fn read(path: &Path) -> Self {
        let read = |path: &Path| fs::read(path).unwrap_or_default();
        Self { database: read(path), wal: read(&wal_of(path)) }
    }

    /// Whether a server starts on it.
    async fn starts(&self) -> Result<(), DbErr> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db.sqlite");
        fs::write(&path, &self.database).unwrap();
        fs::write(wal_of(&path), &self.wal).unwrap();
        let db = connect(&format!("sqlite://{}", path.display())).await?;
        upgrade_by::<Later>(&db).await?;
        assert!(Later::get_pending_migrations(&db.connection).await?.is_empty());
        db.close().await
    }
}

/// Upgrades a database, and gives everything that was on the disk meanwhile, from step to step of
/// SQLite's virtual machine.
async fn watched_upgrade(from: Start) -> Vec<Left> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db.sqlite");
    let seen: Arc<Mutex<Vec<Left>>> = Arc::default();
    let options = SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    let db = Db::from(pool.clone());
    prepare(&db, from).await;
    let mut connection = pool.acquire().await.unwrap();
    let (noted, watched) = (seen.clone(), path.clone());
    connection.lock_handle().await.unwrap().set_progress_handler(25, move || {
        let left = Left::read(&watched);
        let mut noted = noted.lock().unwrap();
        if noted.last() != Some(&left) {
            noted.push(left);
        }
        true
    });
    drop(connection);

    upgrade_by::<Later>(&db).await.unwrap();

    let mut seen = std::mem::take(&mut *seen.lock().unwrap());
    seen.push(Left::read(&path));
    db.close().await.unwrap();
    seen
}

#[tokio::test]
async fn upgrade_killed_at_any_statement_leaves_a_database_that_starts() {
    for from in [Start::Nothing, Start::Release] {
        let seen = watched_upgrade(from).await;

        assert!(seen.len() > 1, "{from:?}: the upgrade was watched");
        for (n, left) in seen.iter().enumerate() {
            let started = left.starts().await;
            assert!(started.is_ok(), "state {n} from {from:?}: {started:?}");
        }
    }
}

#[tokio::test]
async fn upgrade_cut_within_its_commit_leaves_a_database_that_starts() {
    for from in [Start::Nothing, Start::Release] {
        let whole = watched_upgrade(from).await.pop().unwrap();
        for cut in (0..whole.wal.len()).step_by(9 * FRAME_BYTES + 100) {
            let left = Left { wal: whole.wal[..cut].to_vec(), ..whole.clone() };

            let started = left.starts().await;

            assert!(started.is_ok(), "{from:?} cut at {cut}: {started:?}");
        }
    }
}

/// Counts the statements that change the schema, and ends the connection in one of them.
const KILLER: [&str; 5] = [
    "CREATE SCHEMA kills",
    "CREATE TABLE kills.at (n BIGINT)",
    "CREATE SEQUENCE kills.statements",
    "CREATE FUNCTION kills.kill() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN \
     IF nextval('kills.statements') = (SELECT n FROM kills.at) \
     THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF; END $$",
    "CREATE EVENT TRIGGER kills ON ddl_command_end EXECUTE FUNCTION kills.kill()",
];

/// Every column of the tables, as text.
async fn schema(db: &Db) -> String {
    let sql = "SELECT COALESCE(STRING_AGG(table_name || '.' || column_name, ' ' \
               ORDER BY table_name, ordinal_position), '') AS all_columns \
               FROM information_schema.columns WHERE table_schema = 'public'";
    let query = Statement::from_string(DbBackend::Postgres, sql.to_owned());
    db.query_one_raw(query).await.unwrap().unwrap().try_get("", "all_columns").unwrap()
}

#[tokio::test]
async fn upgrade_killed_at_any_statement_leaves_nothing_behind_on_postgres() {
    let Ok(server) = std::env::var("FANFOLD_TEST_POSTGRES") else {
        println!("skipped: FANFOLD_TEST_POSTGRES is not set");
        return;
    };
    for from in [Start::Nothing, Start::Release] {
        let url = testing::empty_postgres(&server).await;
        let admin = connect(&url).await.unwrap();
        prepare(&admin, from).await;
        for sql in KILLER {
            admin.execute_unprepared(sql).await.unwrap();
        }
        let before = schema(&admin).await;
        let mut kills = 0;
        loop {
            let at = kills + 1;
            let set = format!(
                "DELETE FROM kills.at; INSERT INTO kills.at VALUES ({at}); \
                 SELECT setval('kills.statements', 1, false)"
            );
            admin.execute_unprepared(&set).await.unwrap();
            let db = connect(&url).await.unwrap();
            if upgrade_by::<Later>(&db).await.is_ok() {
                break db.close().await.unwrap();
            }
            assert_eq!(schema(&admin).await, before, "killed at statement {at} from {from:?}");
            kills += 1;
            assert!(kills < 1_000, "the upgrade never ends");
        }
        assert!(kills >= STATEMENTS.len() - 2, "{from:?}: {kills}");
        assert!(schema(&admin).await.contains("later.title"));
    }
}
