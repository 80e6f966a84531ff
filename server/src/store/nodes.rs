//! Nodes: which libp2p key belongs to which operator.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use common::digest::Digest;
use common::ids::{NodeId, WorkspaceId};
use sea_orm::ActiveValue::Set;
use sea_orm::QuerySelect as _;
use sea_orm::entity::prelude::*;

use super::{Db, begin, micros};
use crate::clock;

/// How long a token can be used.
const TOKEN_LIVES: TimeDelta = TimeDelta::hours(1);

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "nodes")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub peer: String,
    pub operator: Uuid,
    pub joined_us: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

mod tokens {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "node_tokens")]
    pub struct Model {
        /// The token's SHA-256: the token itself is kept nowhere.
        #[sea_orm(primary_key, auto_increment = false)]
        pub hash: String,
        pub operator: Uuid,
        pub expires_us: i64,
        /// Who spent it.
        pub peer: Option<String>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The node with this libp2p peer id, if it has joined.
pub async fn find_by_peer(db: &impl ConnectionTrait, peer: &str) -> Result<Option<NodeId>, DbErr> {
    let row = Entity::find().filter(Column::Peer.eq(peer)).one(db).await?;
    Ok(row.map(|row| NodeId::new(row.id)))
}

/// The operators of these nodes.
pub async fn operators(
    db: &impl ConnectionTrait,
    nodes: &BTreeSet<NodeId>,
) -> Result<BTreeMap<NodeId, WorkspaceId>, DbErr> {
    let mut found = BTreeMap::new();
    let nodes: Vec<_> = nodes.iter().map(|node| node.uuid()).collect();
    // A statement takes some ten thousand values.
    for some in nodes.chunks(1_000) {
        let rows: Vec<(Uuid, Uuid)> = Entity::find()
            .select_only()
            .columns([Column::Id, Column::Operator])
            .filter(Column::Id.is_in(some.iter().copied()))
            .into_tuple()
            .all(db)
            .await?;
        found.extend(rows.into_iter().map(|(id, of)| (NodeId::new(id), WorkspaceId::new(of))));
    }
    Ok(found)
}

/// The most nodes of one workspace, tokens that may still join one included: each may hold
/// connections and streams.
pub const NODES_MAX: u64 = 1_000;

/// Whether the workspace may have one more node.
pub async fn has_room(db: &impl ConnectionTrait, operator: WorkspaceId) -> Result<bool, DbErr> {
    let joined = Entity::find().filter(Column::Operator.eq(operator.uuid())).count(db).await?;
    let invited = tokens::Entity::find()
        .filter(tokens::Column::Operator.eq(operator.uuid()))
        .filter(tokens::Column::Peer.is_null())
        .filter(tokens::Column::ExpiresUs.gt(micros(clock::now())))
        .count(db)
        .await?;
    Ok(joined + invited < NODES_MAX)
}

/// Makes a one-time token, good for an hour, with which a node joins this workspace.
pub async fn issue_token(db: &Db, operator: WorkspaceId) -> Result<String, DbErr> {
    let token = format!("fn_{}", hex::encode(rand::random::<[u8; 32]>()));
    // What was never used goes when the next is made, so that no workspace fills the table.
    tokens::Entity::delete_many()
        .filter(tokens::Column::Operator.eq(operator.uuid()))
        .filter(tokens::Column::Peer.is_null())
        .filter(tokens::Column::ExpiresUs.lte(micros(clock::now())))
        .exec(db)
        .await?;
    let row = tokens::ActiveModel {
        hash: Set(Digest::of(token.as_bytes()).to_string()),
        operator: Set(operator.uuid()),
        expires_us: Set(micros(clock::now() + TOKEN_LIVES)),
        peer: Set(None),
    };
    tokens::Entity::insert(row).exec_without_returning(db).await?;
    Ok(token)
}

/// Joins a node: spends the token and binds the peer id to the token's workspace. `None` where
/// the token is unknown, spent or too old. A peer that has joined already keeps its id.
pub async fn join(db: &Db, peer: &str, token: &str) -> Result<Option<NodeId>, DbErr> {
    let tx = begin(db).await?;
    if let Some(known) = find_by_peer(&tx, peer).await? {
        return Ok(Some(known));
    }
    let hash = Digest::of(token.as_bytes()).to_string();
    let now = micros(clock::now());
    let spent = tokens::Entity::update_many()
        .col_expr(tokens::Column::Peer, Expr::value(peer))
        .filter(tokens::Column::Hash.eq(&hash))
        .filter(tokens::Column::Peer.is_null())
        .filter(tokens::Column::ExpiresUs.gt(now))
        .exec(&tx)
        .await?;
    if spent.rows_affected != 1 {
        return Ok(None);
    }
    let Some(token) = tokens::Entity::find_by_id(hash).one(&tx).await? else { return Ok(None) };
    let id = Uuid::now_v7();
    let row = ActiveModel {
        id: Set(id),
        peer: Set(peer.to_owned()),
        operator: Set(token.operator),
        joined_us: Set(now),
    };
    Entity::insert(row).exec_without_returning(&tx).await?;
    tx.commit().await?;
    Ok(Some(NodeId::new(id)))
}
