//! The number of the last batch that was committed. A commit whose answer was lost is known by
//! it, and a second coordinator on the same database is noticed.

use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait as _, DbErr, EntityName as _, EntityTrait as _, QueryFilter as _, UpdateMany,
};

use crate::store::database::upgrade::has_table;
use crate::store::{Db, begin, is_read_only};

/// The id of the table's only row.
const ROW: i16 = 1;

mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "batches")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: i16,
        pub number: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The number of the last batch.
pub async fn last(db: &Db) -> Result<i64, DbErr> {
    let row = row::Entity::find_by_id(ROW).one(db).await?;
    row.map(|row| row.number).ok_or_else(|| DbErr::RecordNotFound("batches".to_owned()))
}

/// The same of a database that may have no tables yet.
pub async fn last_if_any(db: &Db) -> Result<i64, DbErr> {
    if has_table(db, row::Entity.table_name()).await? { last(db).await } else { Ok(0) }
}

/// Notes that the batch is this one; changes no row where the one before is not the last.
pub(in crate::store) fn advance(number: i64) -> UpdateMany<row::Entity> {
    row::Entity::update_many()
        .col_expr(row::Column::Number, Expr::val(number))
        .filter(row::Column::Id.eq(ROW))
        .filter(row::Column::Number.eq(number - 1))
}

/// Whether the database takes writes. Any other trouble with them is not this one.
pub async fn is_writable(db: &Db) -> Result<bool, DbErr> {
    let tx = begin(db).await?;
    let number = Expr::col(row::Column::Number);
    let written = row::Entity::update_many().col_expr(row::Column::Number, number).exec(&tx);
    let written = written.await;
    drop(tx);
    Ok(!written.is_err_and(|error| is_read_only(&error)))
}
