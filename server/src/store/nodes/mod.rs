//! Nodes: which libp2p key belongs to which operator.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use common::digest::Digest;
use common::ids::{NodeId, WorkspaceId};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder as _, QuerySelect as _};

use super::{Db, begin, micros, time};
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
    /// From then on its key is refused, so that a lost machine is out for good.
    pub removed_us: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

pub mod devices;
pub mod tallies;
pub(super) mod trust;
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

/// A node of an operator's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joined {
    pub id: NodeId,
    pub joined_at: DateTime<Utc>,
}

impl From<Model> for Joined {
    fn from(row: Model) -> Self {
        Self { id: NodeId::new(row.id), joined_at: time(row.joined_us) }
    }
}

/// The node with this libp2p peer id, if it has joined and was not removed.
pub async fn find_by_peer(db: &impl ConnectionTrait, peer: &str) -> Result<Option<NodeId>, DbErr> {
    let found = Entity::find().filter(Column::Peer.eq(peer)).filter(Column::RemovedUs.is_null());
    Ok(found.one(db).await?.map(|row| NodeId::new(row.id)))
}

/// An operator's nodes, the newest first.
pub async fn of_operator(
    db: &impl ConnectionTrait,
    operator: WorkspaceId,
) -> Result<Vec<Joined>, DbErr> {
    let rows = present(operator)
        .order_by_desc(Column::JoinedUs)
        .order_by_desc(Column::Id)
        .limit(NODES_MAX)
        .all(db)
        .await?;
    Ok(rows.into_iter().map(Joined::from).collect())
}

/// An operator's node.
pub async fn find(
    db: &impl ConnectionTrait,
    operator: WorkspaceId,
    id: NodeId,
) -> Result<Option<Joined>, DbErr> {
    let row = present(operator).filter(Column::Id.eq(id.uuid())).one(db).await?;
    Ok(row.map(Joined::from))
}

fn present(operator: WorkspaceId) -> Select<Entity> {
    Entity::find().filter(Column::Operator.eq(operator.uuid())).filter(Column::RemovedUs.is_null())
}

/// Refuses an operator's node from now on; gives whether it was there. What it did stays its own.
pub async fn remove(
    db: &impl ConnectionTrait,
    operator: WorkspaceId,
    id: NodeId,
) -> Result<bool, DbErr> {
    let removed = Entity::update_many()
        .col_expr(Column::RemovedUs, Expr::value(micros(clock::now())))
        .filter(Column::Id.eq(id.uuid()))
        .filter(Column::Operator.eq(operator.uuid()))
        .filter(Column::RemovedUs.is_null())
        .exec(db)
        .await?;
    Ok(removed.rows_affected == 1)
}

/// The operator of a node that was not removed.
pub async fn operator(db: &impl ConnectionTrait, id: NodeId) -> Result<Option<WorkspaceId>, DbErr> {
    let found = Entity::find_by_id(id.uuid()).filter(Column::RemovedUs.is_null());
    Ok(found.one(db).await?.map(|row| WorkspaceId::new(row.operator)))
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
    let joined = present(operator).count(db).await?;
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
/// the token is unknown, spent or too old, and for a peer that was removed. A peer that has joined
/// already keeps its id.
pub async fn join(db: &Db, peer: &str, token: &str) -> Result<Option<NodeId>, DbErr> {
    let tx = begin(db).await?;
    if let Some(known) = find_by_peer(&tx, peer).await? {
        return Ok(Some(known));
    }
    let id = NodeId::of_peer(peer);
    if Entity::find_by_id(id.uuid()).one(&tx).await?.is_some() {
        return Ok(None);
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
    let row = ActiveModel {
        id: Set(id.uuid()),
        peer: Set(peer.to_owned()),
        operator: Set(token.operator),
        joined_us: Set(now),
        removed_us: Set(None),
    };
    Entity::insert(row).exec_without_returning(&tx).await?;
    tx.commit().await?;
    Ok(Some(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::people::workspaces;
    use crate::store::testing::databases;

    #[tokio::test]
    async fn removed_node_is_refused_permanently() {
        for fresh in databases().await {
            let db = &fresh.db;
            let operator = workspaces::owner(db).await.unwrap().workspace;
            let token = issue_token(db, operator).await.unwrap();
            let node = join(db, "peer", &token).await.unwrap().unwrap();
            assert_eq!(node, NodeId::of_peer("peer"));
            let stranger = WorkspaceId::new(Uuid::now_v7());
            assert!(!remove(db, stranger, node).await.unwrap());

            assert!(remove(db, operator, node).await.unwrap());

            let token = issue_token(db, operator).await.unwrap();
            assert_eq!(join(db, "peer", &token).await.unwrap(), None);
            assert_eq!(find_by_peer(db, "peer").await.unwrap(), None);
            assert!(of_operator(db, operator).await.unwrap().is_empty());
            assert!(!remove(db, operator, node).await.unwrap());
            // The token is left for another.
            assert!(join(db, "other", &token).await.unwrap().is_some());
            // What it did stays known to be the operator's.
            let known = operators(db, &BTreeSet::from([node])).await.unwrap();
            assert_eq!(known.get(&node), Some(&operator));
        }
    }
}
