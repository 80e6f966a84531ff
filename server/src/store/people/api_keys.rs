//! API keys. A key's text is shown once, when it is made; only its SHA-256 is kept.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use common::access::{Role, Scopes};
use common::digest::Digest;
use common::ids::{ApiKeyId, UserId, WorkspaceId};
use rand::Rng as _;
use sea_orm::sea_query::{Expr, ExprTrait as _, OnConflict, SimpleExpr};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, FromQueryResult as _, IntoActiveModel as _,
    PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait as _,
};
use uuid::Uuid;

use super::members;
use crate::clock;
use crate::store::known::Read;
use crate::store::{Db, corrupt, micros, time};

/// What a key's text starts with, before `_`, so that people and scanners know it when they see it.
#[derive(Debug, Clone)]
pub struct KeyPrefix(String);

/// The text cannot be the prefix of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 2 to 5 small letters")]
pub struct NotAPrefix;

impl KeyPrefix {
    /// Whether a text looks like a key, and not like an access token.
    pub fn is_in(text: &str) -> bool {
        text.split_once('_').is_some_and(|(prefix, _)| prefix.parse::<Self>().is_ok())
    }
}

impl Default for KeyPrefix {
    fn default() -> Self {
        Self("ff".to_owned())
    }
}

impl FromStr for KeyPrefix {
    type Err = NotAPrefix;

    fn from_str(text: &str) -> Result<Self, NotAPrefix> {
        let fits = (2..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase());
        if fits { Ok(Self(text.to_owned())) } else { Err(NotAPrefix) }
    }
}
const FINGERPRINT_CHARS: usize = 16;
/// How exactly it is kept when a key was last used: not every request is worth a write.
const USE_NOTED: TimeDelta = TimeDelta::minutes(10);

pub(in crate::store) mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "api_keys")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub workspace: Uuid,
        pub user_id: Uuid,
        pub name: String,
        pub hash: String,
        pub issued_us: i64,
        pub expires_us: Option<i64>,
        pub revoked: bool,
        pub session: bool,
        pub scopes: Option<String>,
        pub last_used_us: Option<i64>,
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
    /// What the key may do, as far as its holder's role allows it.
    pub scopes: Scopes,
    /// Stands behind a sign-in: its holder may act in each of their workspaces.
    pub session: bool,
    pub expires_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
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
    /// `Scopes::ALL` for all that its holder's role allows.
    pub scopes: Scopes,
    /// To within `USE_NOTED`.
    pub last_used_at: Option<DateTime<Utc>>,
    /// The beginning of its hash: tells keys apart and opens nothing.
    pub fingerprint: String,
}

/// What a key is made with.
#[derive(Debug, Clone)]
pub struct New<'a> {
    pub id: ApiKeyId,
    pub prefix: KeyPrefix,
    pub name: &'a str,
    pub expires_at: Option<DateTime<Utc>>,
    pub scopes: Scopes,
}

/// Makes a key without end that may all that its holder may, and gives its text.
pub async fn issue(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    user: UserId,
    name: &str,
) -> Result<String, DbErr> {
    let id = ApiKeyId::new(Uuid::now_v7());
    let prefix = KeyPrefix::default();
    let new = New { id, prefix, name, expires_at: None, scopes: Scopes::ALL };
    let made = issue_new(db, workspace, user, new).await?;
    made.map(|(text, _)| text).ok_or(DbErr::RecordNotInserted)
}

/// Whether there is, or was, a key of this id.
pub async fn is_made(db: &impl ConnectionTrait, id: ApiKeyId) -> Result<bool, DbErr> {
    Ok(row::Entity::find_by_id(id.uuid()).count(db).await? > 0)
}

/// Makes a key, and gives its text; `None` where its id is taken.
pub async fn issue_new(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    user: UserId,
    new: New<'_>,
) -> Result<Option<(String, ApiKey)>, DbErr> {
    let made = make(db, workspace, user, new, false).await?;
    made.map(|(text, row)| Ok((text, read(row)?))).transpose()
}

/// What stands behind the access tokens of one sign-in: a key whose text nobody knows. It takes
/// the place of those that have ended.
pub async fn open_session(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    user: UserId,
    expires_at: DateTime<Utc>,
) -> Result<KeyHolder, DbErr> {
    row::Entity::delete_many()
        .filter(row::Column::Workspace.eq(workspace.uuid()))
        .filter(row::Column::UserId.eq(user.uuid()))
        .filter(row::Column::Session.eq(true))
        .filter(row::Column::ExpiresUs.lte(micros(clock::now())))
        .exec(db)
        .await?;
    let id = ApiKeyId::new(Uuid::now_v7());
    let (prefix, expires_at) = (KeyPrefix::default(), Some(expires_at));
    let new = New { id, prefix, name: "sign-in", expires_at, scopes: Scopes::ALL };
    let made = make(db, workspace, user, new, true).await?;
    holder(&made.ok_or(DbErr::RecordNotInserted)?.1)
}

async fn make(
    db: &impl ConnectionTrait,
    workspace: WorkspaceId,
    user: UserId,
    new: New<'_>,
    session: bool,
) -> Result<Option<(String, row::Model)>, DbErr> {
    let mut random = [0u8; 32];
    rand::rng().fill(&mut random);
    let text = format!("{}_{}", new.prefix.0, URL_SAFE_NO_PAD.encode(random));
    let row = row::Model {
        id: new.id.uuid(),
        workspace: workspace.uuid(),
        user_id: user.uuid(),
        name: new.name.to_owned(),
        hash: Digest::of(text.as_bytes()).to_string(),
        issued_us: micros(clock::now()),
        expires_us: new.expires_at.map(micros),
        revoked: false,
        session,
        // A key that may everything may also what is thought of later.
        scopes: (new.scopes != Scopes::ALL).then(|| new.scopes.to_string()),
        last_used_us: None,
    };
    let first = OnConflict::column(row::Column::Id).do_nothing().to_owned();
    let columns = row.clone().into_active_model();
    let made = row::Entity::insert(columns).on_conflict(first).exec_without_returning(db).await?;
    Ok((made == 1).then_some((text, row)))
}

/// The workspace's keys, newest first; those of one member, or of all.
pub async fn list(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    member: Option<UserId>,
    limit: u64,
) -> Result<Vec<ApiKey>, DbErr> {
    let mut query = row::Entity::find()
        .filter(row::Column::Workspace.eq(owner.uuid()))
        .filter(row::Column::Session.eq(false));
    if let Some(member) = member {
        query = query.filter(row::Column::UserId.eq(member.uuid()));
    }
    let rows = query.order_by_desc(row::Column::Id).limit(limit).all(db).await?;
    rows.into_iter().map(read).collect()
}

pub(in crate::store) fn read(row: row::Model) -> Result<ApiKey, DbErr> {
    Ok(ApiKey {
        id: ApiKeyId::new(row.id),
        user: UserId::new(row.user_id),
        scopes: read_scopes(&row)?,
        name: row.name,
        issued_at: time(row.issued_us),
        expires_at: row.expires_us.map(time),
        revoked: row.revoked,
        last_used_at: row.last_used_us.map(time),
        fingerprint: row.hash.chars().take(FINGERPRINT_CHARS).collect(),
    })
}

fn read_scopes(row: &row::Model) -> Result<Scopes, DbErr> {
    match &row.scopes {
        None => Ok(Scopes::ALL),
        Some(scopes) => scopes.parse().map_err(|_| corrupt("scope")),
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
    in_force(row, clock::now())
}

/// The same, with what the holder is in the key's workspace, where they still belong to it. Each
/// request asks this, so it is used again (`store::known`).
pub async fn find_member(db: &Db, text: &str) -> Result<Option<(KeyHolder, Option<Role>)>, DbErr> {
    let hash = Digest::of(text.as_bytes());
    let read = async {
        let found = read_member(db, hash).await?;
        Ok(found.map(|value| Read { value, bytes: 0 }))
    };
    let found = db.known.keys.find(&db.epoch, hash, read).await?;
    Ok(found.filter(|(holder, _)| holder.expires_at.is_none_or(|end| end > clock::now())))
}

async fn read_member(db: &Db, hash: Digest) -> Result<Option<(KeyHolder, Option<Role>)>, DbErr> {
    use members::row::{Column as M, Entity as Members};
    let hash = hash.to_string();
    let own = |key| Expr::col((row::Entity, key));
    let role = Members::find()
        .select_only()
        .column(M::Role)
        .filter(Expr::col((Members, M::Workspace)).eq(own(row::Column::Workspace)))
        .filter(Expr::col((Members, M::UserId)).eq(own(row::Column::UserId)));
    let role = SimpleExpr::SubQuery(None, Box::new(role.into_query().into()));
    let found = row::Entity::find().filter(row::Column::Hash.eq(hash)).expr_as(role, "role");
    let Some(found) = db.query_one(found.as_query()).await? else { return Ok(None) };
    let key = row::Model::from_query_result(&found, "")?;
    let Some(holder) = in_force(Some(key), clock::now())? else { return Ok(None) };
    let role: Option<String> = found.try_get("", "role")?;
    let role = role.map(|name| members::role_named(&name)).transpose()?;
    Ok(Some((holder, role)))
}

/// Who holds the key with this id, if it is in force.
pub async fn find(db: &impl ConnectionTrait, id: ApiKeyId) -> Result<Option<KeyHolder>, DbErr> {
    let row = row::Entity::find_by_id(id.uuid()).one(db).await?;
    in_force(row, clock::now())
}

/// Notes that a key was used, if that was not noted a moment ago.
pub async fn used(db: &impl ConnectionTrait, key: &KeyHolder) -> Result<(), DbErr> {
    let now = clock::now();
    if key.last_used_at.is_some_and(|last| now - last < USE_NOTED) {
        return Ok(());
    }
    row::Entity::update_many()
        .col_expr(row::Column::LastUsedUs, micros(now).into())
        .filter(row::Column::Id.eq(key.key.uuid()))
        .exec(db)
        .await?;
    Ok(())
}

/// Ends a key for good; false where the workspace, or this member of it, has no such key.
pub async fn revoke(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    member: Option<UserId>,
    id: ApiKeyId,
) -> Result<bool, DbErr> {
    let mut query = row::Entity::update_many()
        .col_expr(row::Column::Revoked, true.into())
        .filter(row::Column::Id.eq(id.uuid()))
        .filter(row::Column::Workspace.eq(owner.uuid()))
        .filter(row::Column::Session.eq(false));
    if let Some(member) = member {
        query = query.filter(row::Column::UserId.eq(member.uuid()));
    }
    Ok(query.exec(db).await?.rows_affected == 1)
}

/// Whether a key was revoked. One that has ended by itself, as a sign-in does, was not.
pub async fn is_revoked(db: &impl ConnectionTrait, id: ApiKeyId) -> Result<bool, DbErr> {
    let row = row::Entity::find_by_id(id.uuid()).one(db).await?;
    Ok(row.is_some_and(|row| row.revoked))
}

/// Ends all keys that a member has in the workspace.
pub(in crate::store) async fn revoke_all(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    member: UserId,
) -> Result<(), DbErr> {
    row::Entity::update_many()
        .col_expr(row::Column::Revoked, true.into())
        .filter(row::Column::Workspace.eq(owner.uuid()))
        .filter(row::Column::UserId.eq(member.uuid()))
        // A sign-in is the user's own, and may go on elsewhere.
        .filter(row::Column::Session.eq(false))
        .exec(db)
        .await?;
    Ok(())
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

fn in_force(row: Option<row::Model>, now: DateTime<Utc>) -> Result<Option<KeyHolder>, DbErr> {
    let still = |row: &row::Model| !row.revoked && row.expires_us.is_none_or(|end| time(end) > now);
    row.filter(still).as_ref().map(holder).transpose()
}

fn holder(row: &row::Model) -> Result<KeyHolder, DbErr> {
    Ok(KeyHolder {
        key: ApiKeyId::new(row.id),
        workspace: WorkspaceId::new(row.workspace),
        user: UserId::new(row.user_id),
        scopes: read_scopes(row)?,
        session: row.session,
        expires_at: row.expires_us.map(time),
        last_used_at: row.last_used_us.map(time),
    })
}
