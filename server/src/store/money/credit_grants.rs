//! Grants and charges that were made, so that none is made twice.

use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "grants")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

pub async fn exists(db: &impl ConnectionTrait, key: &str) -> Result<bool, DbErr> {
    Ok(Entity::find_by_id(key.to_owned()).one(db).await?.is_some())
}

pub(in crate::store) async fn insert(db: &impl ConnectionTrait, key: &str) -> Result<(), DbErr> {
    Entity::insert(ActiveModel { key: Set(key.to_owned()) }).exec_without_returning(db).await?;
    Ok(())
}
