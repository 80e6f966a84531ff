//! Nodes: which libp2p key belongs to which operator.

use common::ids::{NodeId, WorkspaceId};
use sea_orm::{ConnectionTrait, DbErr};

use super::Db;

/// The node with this libp2p peer id, if it has joined.
pub async fn find_by_peer(db: &impl ConnectionTrait, peer: &str) -> Result<Option<NodeId>, DbErr> {
    todo!()
}

/// Makes a one-time token, good for an hour, with which a node joins this workspace.
pub async fn issue_token(db: &Db, operator: WorkspaceId) -> Result<String, DbErr> {
    todo!()
}

/// Joins a node: spends the token and binds the peer id to the token's workspace. `None` where
/// the token is unknown, spent or too old. A peer that has joined already keeps its id.
pub async fn join(db: &Db, peer: &str, token: &str) -> Result<Option<NodeId>, DbErr> {
    todo!()
}
