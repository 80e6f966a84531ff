//! Writes many rows with few statements, whose texts are made once.

use std::marker::PhantomData;

use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveModelTrait, ActiveValue, ConnectionTrait, DbBackend, DbErr, EntityTrait, IdenStatic as _,
    Insert, InsertMany, Iterable as _, QueryTrait as _, Statement,
};

use super::statement_text::StatementText;

/// How many rows one statement writes. With few lengths there are few statements, so that the
/// database prepares each once: unprepared ones of any length cost time and a lot of memory.
const ROWS: [usize; 5] = [256, 64, 16, 4, 1];

/// The statements that write rows of an entity in one way.
pub(in crate::store) struct RowWriter<E> {
    /// What becomes of a row whose key is taken. Without it, that is an error.
    conflict: Option<fn() -> OnConflict>,
    /// One for each of [`ROWS`].
    texts: [StatementText; ROWS.len()],
    entity: PhantomData<fn() -> E>,
}

impl<E: EntityTrait> RowWriter<E> {
    /// Writes new rows.
    pub const fn new() -> Self {
        Self::with(None)
    }

    /// Writes rows, some of which may be there.
    pub const fn on_conflict(conflict: fn() -> OnConflict) -> Self {
        Self::with(Some(conflict))
    }

    const fn with(conflict: Option<fn() -> OnConflict>) -> Self {
        let texts = [const { StatementText::new() }; ROWS.len()];
        Self { conflict, texts, entity: PhantomData }
    }

    /// Writes rows of which every column is set.
    pub async fn write<A>(
        &self,
        db: &impl ConnectionTrait,
        rows: impl IntoIterator<Item = A>,
    ) -> Result<(), DbErr>
    where
        A: ActiveModelTrait<Entity = E>,
    {
        let rows: Vec<A> = rows.into_iter().collect();
        let mut rows = rows.into_iter();
        while let Some(place) = ROWS.iter().position(|n| *n <= rows.len()) {
            let some: Vec<A> = rows.by_ref().take(ROWS[place]).collect();
            db.execute_raw(self.statement(db.get_database_backend(), place, some)?).await?;
        }
        Ok(())
    }

    fn statement<A>(
        &self,
        backend: DbBackend,
        place: usize,
        rows: Vec<A>,
    ) -> Result<Statement, DbErr>
    where
        A: ActiveModelTrait<Entity = E>,
    {
        let Some(text) = self.texts[place].known(backend) else {
            let first = self.build(backend, rows)?;
            self.texts[place].keep(&first);
            return Ok(first);
        };
        let mut values = Vec::with_capacity(rows.len() * E::Column::iter().len());
        for mut row in rows {
            for column in E::Column::iter() {
                match row.take(column) {
                    ActiveValue::Set(value) | ActiveValue::Unchanged(value) => values.push(value),
                    ActiveValue::NotSet => return Err(unset::<E>(column)),
                }
            }
        }
        Ok(Statement::from_sql_and_values(backend, text, values))
    }

    fn build<A>(&self, backend: DbBackend, rows: Vec<A>) -> Result<Statement, DbErr>
    where
        A: ActiveModelTrait<Entity = E>,
    {
        // Such a statement would leave the column out.
        let find_unset = |row: &A| E::Column::iter().find(|column| row.get(*column).is_not_set());
        if let Some(column) = rows.iter().find_map(find_unset) {
            return Err(unset::<E>(column));
        }
        let insert: InsertMany<A> = Insert::many(rows);
        Ok(match self.conflict {
            Some(conflict) => insert.on_conflict(conflict()).build(backend),
            None => insert.build(backend),
        })
    }
}

fn unset<E: EntityTrait>(column: E::Column) -> DbErr {
    DbErr::AttrNotSet(column.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use sea_orm::ActiveValue::{NotSet, Set};
    use sea_orm::EntityTrait as _;
    use uuid::Uuid;

    use super::*;
    use crate::store::nodes::tallies::{ActiveModel, Column, Entity};
    use crate::store::testing::databases;

    fn row(n: u64) -> ActiveModel {
        ActiveModel { node: Set(Uuid::from_u128(n.into())), tasks: Set(1), earned: Set(2) }
    }

    #[tokio::test]
    async fn statement_is_the_one_that_the_library_builds() {
        let update = || OnConflict::column(Column::Node).update_column(Column::Tasks).to_owned();
        for writer in [RowWriter::<Entity>::new(), RowWriter::on_conflict(update)] {
            for backend in [DbBackend::Sqlite, DbBackend::Postgres] {
                for (place, n) in ROWS.into_iter().enumerate() {
                    for first in [0, 500] {
                        let rows: Vec<_> = (first..).map(row).take(n).collect();

                        let made = writer.statement(backend, place, rows.clone()).unwrap();

                        assert_eq!(made, writer.build(backend, rows).unwrap());
                    }
                }
            }
        }
    }

    #[tokio::test]
    async fn rows_are_written_once_or_updated() {
        static NEW: RowWriter<Entity> = RowWriter::new();
        static KEEP: RowWriter<Entity> =
            RowWriter::on_conflict(|| OnConflict::column(Column::Node).do_nothing().to_owned());
        for fresh in databases().await {
            let db = &fresh.db;

            NEW.write(db, (0..700).map(row)).await.unwrap();
            KEEP.write(db, (600..800).map(row)).await.unwrap();

            assert!(NEW.write(db, [row(3)]).await.is_err(), "{}", fresh.name);
            assert_eq!(Entity::find().all(db).await.unwrap().len(), 800, "{}", fresh.name);
            let unset = ActiveModel { earned: NotSet, ..row(900) };
            assert!(matches!(NEW.write(db, [unset]).await, Err(DbErr::AttrNotSet(_))));
        }
    }
}
