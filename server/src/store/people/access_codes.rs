//! How often each access code for signing up was used. Of a code only its hash is kept.

use common::digest::Digest;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait as _, OnConflict};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "access_codes")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub hash: String,
    pub uses: i32,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Whether a code that may be used so often has a use left.
pub async fn is_left(
    db: &impl ConnectionTrait,
    code: Digest,
    uses_max: u32,
) -> Result<bool, DbErr> {
    let row = Entity::find_by_id(code.to_string()).one(db).await?;
    Ok(row.map_or(0, |row| row.uses.unsigned_abs()) < uses_max)
}

/// Uses a code once; false where it has been used so often already.
pub async fn take(db: &impl ConnectionTrait, code: Digest, uses_max: u32) -> Result<bool, DbErr> {
    let unused = ActiveModel { hash: Set(code.to_string()), uses: Set(0) };
    let once = OnConflict::column(Column::Hash).do_nothing().to_owned();
    Entity::insert(unused).on_conflict(once).exec_without_returning(db).await?;
    let taken = Entity::update_many()
        .col_expr(Column::Uses, Expr::col(Column::Uses).add(1))
        .filter(Column::Hash.eq(code.to_string()))
        .filter(Column::Uses.lt(i32::try_from(uses_max).unwrap_or(i32::MAX)))
        .exec(db)
        .await?;
    Ok(taken.rows_affected == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::databases;

    #[tokio::test]
    async fn access_code_has_a_limited_number_of_uses() {
        for fresh in databases().await {
            let (db, code) = (&fresh.db, Digest::of(b"beta"));
            assert!(is_left(db, code, 2).await.unwrap());

            let taken = [take(db, code, 2).await, take(db, code, 2).await, take(db, code, 2).await];

            assert_eq!(taken, [Ok(true), Ok(true), Ok(false)], "{}", fresh.name);
            assert!(!is_left(db, code, 2).await.unwrap());
            assert!(is_left(db, Digest::of(b"other"), 1).await.unwrap());
        }
    }
}
