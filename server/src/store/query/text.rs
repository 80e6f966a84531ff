//! Statements that differ in their values alone.

use std::sync::OnceLock;

use sea_orm::{DbBackend, Statement};

/// The text of a statement, made once for SQLite and once for PostgreSQL: to make it takes about as
/// long as to run a small one.
pub(in crate::store) struct Text([OnceLock<String>; 2]);

impl Text {
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
