//! A new job, as it is stored in a batch with others.

use sea_orm::{ActiveModelTrait as _, ActiveValue, ConnectionTrait, DbErr, Iterable as _, Value};

use super::record::row;
use super::{Job, write};
use crate::store::query::insert::RowWriter;

/// Where the id of what is new is from: a job, or a run of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdOrigin {
    /// It was drawn for this, and nobody has heard of it.
    Drawn,
    /// It is the caller's choice, or that of an earlier request under the same key: what has it may
    /// be there.
    Given,
}

/// A job that any database takes: what is refused in a batch ends the coordinator.
#[derive(Debug, Clone)]
pub struct CreatedJob {
    row: row::ActiveModel,
}

impl Job {
    /// The job as it is stored first.
    ///
    /// # Errors
    /// Where it could not be stored or read back.
    pub fn created(&self) -> Result<CreatedJob, DbErr> {
        let row = write(self)?;
        // Where names must differ, another one may have this one.
        if self.scope.is_some() {
            return Err(DbErr::Type("a job of a scope is stored by itself".to_owned()));
        }
        // PostgreSQL takes no NUL in a text; nothing else of a row can be refused.
        if row::Column::iter().any(|column| has_nul(&row.get(column))) {
            return Err(DbErr::Type("a text of a job has a NUL".to_owned()));
        }
        Ok(CreatedJob { row })
    }
}

fn has_nul(value: &ActiveValue<Value>) -> bool {
    matches!(value, ActiveValue::Set(Value::String(Some(text))) if text.contains('\0'))
}

/// Stores new jobs, whose ids nobody has.
pub(in crate::store) async fn insert_created(
    db: &impl ConnectionTrait,
    created: &[CreatedJob],
) -> Result<(), DbErr> {
    static NEW: RowWriter<row::Entity> = RowWriter::new();
    NEW.write(db, created.iter().map(|job| job.row.clone())).await
}
