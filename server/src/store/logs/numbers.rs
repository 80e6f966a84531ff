//! The numbers of batches.

use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _, QueryFilter as _};

/// The id of the table's only row.
const ROW: i16 = 1;

mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "log_numbers")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: i16,
        pub last: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Takes so many numbers that follow one another, and gives the first. Until the transaction ends,
/// nobody else takes any: one whose end nobody knows is waited for.
pub async fn take(db: &impl ConnectionTrait, n: usize) -> Result<i64, DbErr> {
    let n = i64::try_from(n).unwrap_or(i64::MAX);
    row::Entity::update_many()
        .col_expr(row::Column::Last, Expr::col(row::Column::Last).add(n))
        .filter(row::Column::Id.eq(ROW))
        .exec(db)
        .await?;
    let row = row::Entity::find_by_id(ROW).one(db).await?;
    let last = row.ok_or_else(|| DbErr::RecordNotFound("log_numbers".to_owned()))?.last;
    Ok(last - n + 1)
}
