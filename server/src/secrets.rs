//! Secrets of workspaces, encrypted at rest.
//!
//! The secret half is sealed with ChaCha20-Poly1305 under the master key; the workspace and the
//! id are bound into the seal, so that a row moved to another workspace does not open.

use common::ids::WorkspaceId;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::store::Db;
use crate::store::secrets::{self, Secret};

/// Reads and writes secrets; clones share the master key.
#[derive(Clone)]
pub struct Secrets {
    db: Db,
    key: std::sync::Arc<LessSafeKey>,
}

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
    Db(#[from] crate::store::Error),
}

impl Secrets {
    /// `master` is 32 random bytes that the server keeps on its disk.
    pub fn new(db: Db, master: [u8; 32]) -> Self {
        let key =
            UnboundKey::new(&CHACHA20_POLY1305, &master).expect("the cipher's keys have 32 bytes");
        Self { db, key: std::sync::Arc::new(LessSafeKey::new(key)) }
    }

    /// The secret with this id in the workspace, unless it has expired.
    pub async fn reveal(&self, owner: WorkspaceId, id: &str) -> Result<KeyPair, Error> {
        let Some((secret, mut sealed)) = secrets::find(&self.db, owner, id).await? else {
            return Err(Error::NotFound(id.to_owned()));
        };
        let (nonce, ciphertext) = sealed.split_at_mut_checked(NONCE_LEN).ok_or(Error::Key)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Error::Key)?;
        let plain = self
            .key
            .open_in_place(nonce, Aad::from(bound_to(owner, id)), ciphertext)
            .map_err(|_| Error::Key)?;
        let secret_key = str::from_utf8(plain).map_err(|_| Error::Key)?.to_owned();
        Ok(KeyPair { access_key: secret.access_key, secret_key })
    }

    /// Writes a secret, in place of one with the same id.
    pub async fn keep(
        &self,
        owner: WorkspaceId,
        secret: &Secret,
        secret_key: &str,
    ) -> Result<(), Error> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| Error::Key)?;
        let mut sealed = secret_key.as_bytes().to_vec();
        self.key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(bound_to(owner, &secret.id)),
                &mut sealed,
            )
            .map_err(|_| Error::Key)?;
        sealed.splice(..0, nonce);
        secrets::put(&self.db, owner, secret, sealed).await?;
        Ok(())
    }
}

fn bound_to(owner: WorkspaceId, id: &str) -> String {
    format!("{owner}/{id}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use uuid::Uuid;

    use super::*;
    use crate::api::testing;

    fn secret(id: &str) -> Secret {
        Secret {
            id: id.to_owned(),
            kind: "aws".to_owned(),
            name: String::new(),
            access_key: "AK".to_owned(),
            params: BTreeMap::new(),
            hidden: false,
            expires_at: None,
        }
    }

    #[tokio::test]
    async fn a_secret_opens_for_its_workspace_and_master_key_only() {
        let (db, _folder) = testing::database().await;
        let (owner, other) = (WorkspaceId::new(Uuid::now_v7()), WorkspaceId::new(Uuid::now_v7()));
        let secrets = Secrets::new(db.clone(), [7; 32]);

        secrets.keep(owner, &secret("s"), "TOPSECRET").await.unwrap();

        let pair = secrets.reveal(owner, "s").await.ok().unwrap();
        assert_eq!((pair.access_key.as_str(), pair.secret_key.as_str()), ("AK", "TOPSECRET"));
        assert!(matches!(secrets.reveal(other, "s").await, Err(Error::NotFound(_))));
        let stranger = Secrets::new(db.clone(), [8; 32]);
        assert!(matches!(stranger.reveal(owner, "s").await, Err(Error::Key)));
    }

    #[tokio::test]
    async fn a_seal_moved_to_another_id_does_not_open() {
        let (db, _folder) = testing::database().await;
        let owner = WorkspaceId::new(Uuid::now_v7());
        let keeper = Secrets::new(db.clone(), [7; 32]);
        keeper.keep(owner, &secret("s"), "TOPSECRET").await.unwrap();

        let (_, sealed) = secrets::find(&db, owner, "s").await.unwrap().unwrap();
        assert!(!sealed.windows(9).any(|bytes| bytes == b"TOPSECRET"));
        secrets::put(&db, owner, &secret("t"), sealed).await.unwrap();

        assert!(matches!(keeper.reveal(owner, "t").await, Err(Error::Key)));
    }

    #[tokio::test]
    async fn an_expired_secret_is_gone() {
        let (db, _folder) = testing::database().await;
        let owner = WorkspaceId::new(Uuid::now_v7());
        let secrets = Secrets::new(db, [7; 32]);
        let expired = Secret { expires_at: Some(crate::clock::now()), ..secret("s") };

        secrets.keep(owner, &expired, "x").await.unwrap();

        assert!(matches!(secrets.reveal(owner, "s").await, Err(Error::NotFound(_))));
    }
}
