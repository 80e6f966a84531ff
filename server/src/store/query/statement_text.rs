//! Statements that differ in their values alone.

use std::sync::OnceLock;

use sea_orm::{DbBackend, Statement};

/// The text of a statement, made once for SQLite and once for PostgreSQL. To make those of each batch
/// and read anew took about a tenth of the server's CPU.
pub(in crate::store) struct StatementText([OnceLock<String>; 2]);

impl StatementText {
    pub const fn new() -> Self {
        Self([const { OnceLock::new() }; 2])
    }

    /// The text, once the first statement was kept.
    pub fn known(&self, backend: DbBackend) -> Option<&str> {
        self.of(backend).get().map(String::as_str)
    }

    /// Keeps the text of the first statement.
    pub fn keep(&self, first: &Statement) {
        self.of(first.db_backend).get_or_init(|| first.sql.clone());
    }

    fn of(&self, backend: DbBackend) -> &OnceLock<String> {
        &self.0[usize::from(backend == DbBackend::Postgres)]
    }
}
