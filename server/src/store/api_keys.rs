//! API keys. A key's text is shown once, when it is made; only its SHA-256 is kept.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use common::digest::Digest;
use common::ids::{ApiKeyId, UserId, WorkspaceId};
use rand::Rng as _;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, Set,
};
use uuid::Uuid;

use super::{micros, time};
use crate::clock;

/// Every key starts with this, so that people and scanners know it when they see it.
pub const PREFIX: &str = "ff_";

mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "api_keys")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub workspace_id: Uuid,
        pub user_id: Uuid,
        pub name: String,
        pub hash: String,
        pub issued_us: i64,
        pub expires_us: Option<i64>,
        pub revoked: bool,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A key in force, and who acts by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyHolder {
    pub key: ApiKeyId,
    pub workspace: WorkspaceId,
    pub user: UserId,
}

/// Makes a key without end and gives its text.
pub async fn issue(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    user: UserId,
    name: &str,
) -> Result<String, DbErr> {
    let mut random = [0u8; 32];
    rand::rng().fill(&mut random);
    let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
    row::ActiveModel {
        id: Set(Uuid::now_v7()),
        workspace_id: Set(workspace.uuid()),
        user_id: Set(user.uuid()),
        name: Set(name.to_owned()),
        hash: Set(Digest::of(text.as_bytes()).to_string()),
        issued_us: Set(micros(clock::now())),
        expires_us: Set(None),
        revoked: Set(false),
    }
    .insert(db)
    .await?;
    Ok(text)
}

/// Who holds the key with this text, if it is in force.
///
/// The text is looked up by its hash: how long that takes tells nothing about a key.
pub async fn find_by_text(
    db: &impl ConnectionTrait,
    text: &str,
) -> Result<Option<KeyHolder>, DbErr> {
    let hash = Digest::of(text.as_bytes()).to_string();
    let row = row::Entity::find().filter(row::Column::Hash.eq(hash)).one(db).await?;
    Ok(row.and_then(|row| in_force(&row, clock::now())))
}

/// Who holds the key with this id, if it is in force.
pub async fn find(db: &impl ConnectionTrait, id: ApiKeyId) -> Result<Option<KeyHolder>, DbErr> {
    let row = row::Entity::find_by_id(id.uuid()).one(db).await?;
    Ok(row.and_then(|row| in_force(&row, clock::now())))
}

/// Ends a key for good; false where the workspace has no such key.
pub async fn revoke(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    id: ApiKeyId,
) -> Result<bool, DbErr> {
    let ended = row::Entity::update_many()
        .col_expr(row::Column::Revoked, true.into())
        .filter(row::Column::Id.eq(id.uuid()))
        .filter(row::Column::WorkspaceId.eq(owner.uuid()))
        .exec(db)
        .await?;
    Ok(ended.rows_affected == 1)
}

fn in_force(row: &row::Model, now: DateTime<Utc>) -> Option<KeyHolder> {
    if row.revoked || row.expires_us.is_some_and(|end| time(end) <= now) {
        return None;
    }
    Some(KeyHolder {
        key: ApiKeyId::new(row.id),
        workspace: WorkspaceId::new(row.workspace_id),
        user: UserId::new(row.user_id),
    })
}
