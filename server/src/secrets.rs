//! Secrets of workspaces, encrypted at rest.

use common::ids::WorkspaceId;

use crate::store::Db;

/// Reads and writes secrets; clones share the master key.
#[derive(Clone)]
pub struct Secrets {}

/// A secret's two halves. It has no `Debug`, so that no log can show it.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPair {
    pub access_key: String,
    pub secret_key: String,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no secret {0:?} in this workspace, or it has expired")]
    NotFound(String),
    #[error("the secret was written under another master key")]
    Key,
    #[error("database")]
    Db(#[from] sea_orm::DbErr),
}

impl Secrets {
    /// `master` is 32 random bytes that the server keeps on its disk.
    pub fn new(db: Db, master: [u8; 32]) -> Self {
        todo!()
    }

    /// The secret with this id in the workspace, unless it has expired.
    pub async fn reveal(&self, owner: WorkspaceId, id: &str) -> Result<KeyPair, Error> {
        todo!()
    }
}
