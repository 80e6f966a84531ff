//! API keys. A key's text is shown once, when it is made; only its SHA-256 is kept.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use common::digest::Digest;
use common::ids::{ApiKeyId, UserId, WorkspaceId};
use rand::Rng as _;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect, Set,
};
use uuid::Uuid;

use super::{micros, time};
use crate::clock;

/// Every key starts with this, so that people and scanners know it when they see it.
pub const PREFIX: &str = "ff_";
const FINGERPRINT_CHARS: usize = 16;

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
        pub session: bool,
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

/// A key as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub id: ApiKeyId,
    pub user: UserId,
    pub name: String,
    pub issued_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
    pub revoked: bool,
    /// The beginning of its hash: tells keys apart and opens nothing.
    pub fingerprint: String,
}

/// Makes a key without end and gives its text.
pub async fn issue(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    user: UserId,
    name: &str,
) -> Result<String, DbErr> {
    Ok(make(db, workspace, user, New { name, expires_at: None, session: false }).await?.0)
}

/// Makes a key that ends by itself, and gives its text.
pub async fn issue_until(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    user: UserId,
    name: &str,
    expires_at: DateTime<Utc>,
) -> Result<(String, ApiKey), DbErr> {
    let (text, row) =
        make(db, workspace, user, New { name, expires_at: Some(expires_at), session: false })
            .await?;
    Ok((text, read(row)))
}

/// What stands behind the access tokens of one sign-in: a key whose text nobody knows.
pub async fn open_session(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    user: UserId,
    expires_at: DateTime<Utc>,
) -> Result<KeyHolder, DbErr> {
    let new = New { name: "sign-in", expires_at: Some(expires_at), session: true };
    let (_, row) = make(db, workspace, user, new).await?;
    Ok(KeyHolder { key: ApiKeyId::new(row.id), workspace, user })
}

struct New<'a> {
    name: &'a str,
    expires_at: Option<DateTime<Utc>>,
    session: bool,
}

async fn make(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    user: UserId,
    new: New<'_>,
) -> Result<(String, row::Model), DbErr> {
    let mut random = [0u8; 32];
    rand::rng().fill(&mut random);
    let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
    let row = row::ActiveModel {
        id: Set(Uuid::now_v7()),
        workspace_id: Set(workspace.uuid()),
        user_id: Set(user.uuid()),
        name: Set(new.name.to_owned()),
        hash: Set(Digest::of(text.as_bytes()).to_string()),
        issued_us: Set(micros(clock::now())),
        expires_us: Set(new.expires_at.map(micros)),
        revoked: Set(false),
        session: Set(new.session),
    }
    .insert(db)
    .await?;
    Ok((text, row))
}

/// The workspace's keys, newest first.
pub async fn list(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    limit: u64,
) -> Result<Vec<ApiKey>, DbErr> {
    let rows = row::Entity::find()
        .filter(row::Column::WorkspaceId.eq(owner.uuid()))
        .filter(row::Column::Session.eq(false))
        .order_by_desc(row::Column::Id)
        .limit(limit)
        .all(db)
        .await?;
    Ok(rows.into_iter().map(read).collect())
}

fn read(row: row::Model) -> ApiKey {
    ApiKey {
        id: ApiKeyId::new(row.id),
        user: UserId::new(row.user_id),
        name: row.name,
        issued_at: time(row.issued_us),
        expires_at: row.expires_us.map(time),
        revoked: row.revoked,
        fingerprint: row.hash.chars().take(FINGERPRINT_CHARS).collect(),
    }
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

/// Ends what a sign-in stands on; a key that was made to last stays.
pub async fn close_session(db: &impl ConnectionTrait, id: ApiKeyId) -> Result<(), DbErr> {
    row::Entity::delete_many()
        .filter(row::Column::Id.eq(id.uuid()))
        .filter(row::Column::Session.eq(true))
        .exec(db)
        .await?;
    Ok(())
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
