//! Access tokens that were signed out before their time.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait, QueryFilter, Set};
use uuid::Uuid;

use crate::clock;
use crate::store::micros;

mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "ended_tokens")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub expires_us: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Ends a token; it is remembered until it would have ended by itself.
pub async fn end(
    db: &impl ConnectionTrait,
    id: Uuid,
    expires_at: DateTime<Utc>,
) -> Result<(), DbErr> {
    let over = row::Column::ExpiresUs.lte(micros(clock::now()));
    row::Entity::delete_many().filter(over).exec(db).await?;
    let row = row::ActiveModel { id: Set(id), expires_us: Set(micros(expires_at)) };
    let once = OnConflict::column(row::Column::Id).update_column(row::Column::ExpiresUs).to_owned();
    row::Entity::insert(row).on_conflict(once).exec_without_returning(db).await?;
    Ok(())
}

pub async fn has_ended(db: &impl ConnectionTrait, id: Uuid) -> Result<bool, DbErr> {
    Ok(row::Entity::find_by_id(id).count(db).await? > 0)
}
