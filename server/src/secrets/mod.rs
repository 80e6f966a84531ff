//! Secrets of workspaces, encrypted at rest.
//!
//! Everything that is sealed lies in the one table of secrets, so that changing the master key
//! changes it everywhere: what else must be kept sealed is kept as a hidden secret.

pub(super) mod key_check;
pub(super) mod master_keys;
pub mod seal;

use std::collections::HashMap;
use std::sync::Arc;

use common::ids::{JobId, WorkspaceId};
use common::secret::{Hidden, Misuse, SecretId, Target};

use crate::secrets::seal::{Broken, Sealer};
use crate::store::secrets::{self, Secret};
use crate::store::{self, Db};

/// Secrets that are sealed again in one transaction.
const RESEALED_AT_ONCE: u64 = 100;
/// Secrets that are tried at a start: one of them may be damaged by itself.
const TRIED: u64 = 16;

/// Reads and writes secrets; clones share the master keys.
#[derive(Clone)]
pub struct Secrets {
    db: Db,
    sealer: Arc<Sealer>,
}

/// A secret's two halves. It has no `Debug`, so that no log can show it.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPair {
    pub access_key: String,
    pub secret_key: String,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no secret {:?} in this workspace, or it has expired", .0.as_str())]
    NotFound(SecretId),
    #[error("the secret {:?} {why}", .id.as_str())]
    Misuse { id: SecretId, why: Misuse },
    #[error("a secret was sealed under another master key, or was tampered with")]
    Key,
    #[error("database")]
    Db(#[from] store::Error),
}

/// What became of all secrets when they were sealed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resealed {
    pub done: u64,
    /// Left as they are, since they do not open under any key.
    pub broken: u64,
}

impl Secrets {
    pub fn new(db: Db, sealer: impl Into<Sealer>) -> Self {
        Self { db, sealer: Arc::new(sealer.into()) }
    }

    /// The secret with this id in the workspace, to be sent to this place.
    ///
    /// Nothing else gives a secret's value, so that no caller can forget to say where it goes.
    ///
    /// # Errors
    /// `NotFound` also where it has expired; `Misuse` where it is not for this place.
    pub async fn open(
        &self,
        owner: WorkspaceId,
        id: &SecretId,
        target: &Target<'_>,
    ) -> Result<KeyPair, Error> {
        let Some((secret, sealed)) = secrets::find(&self.db, owner, id).await? else {
            return Err(Error::NotFound(id.clone()));
        };
        check(&secret, target)?;
        let secret_key = self.unseal(owner, &secret, sealed)?;
        Ok(KeyPair { access_key: secret.access_key, secret_key })
    }

    /// The secrets with these ids, in this order, as a container gets them.
    ///
    /// # Errors
    /// The first that is missing, has expired or is not for containers.
    pub async fn for_container(
        &self,
        owner: WorkspaceId,
        ids: &[String],
    ) -> Result<Vec<common::secret::Secret>, Error> {
        // No other can be the id of a secret that a package or a job lists.
        let listed = |id: &String| {
            let id = SecretId::stored(id.clone());
            if id.variable().is_some() { Ok(id) } else { Err(Error::NotFound(id)) }
        };
        let ids = ids.iter().map(listed).collect::<Result<Vec<_>, _>>()?;
        let mut found: HashMap<SecretId, _> = match ids.as_slice() {
            [] => HashMap::new(),
            ids => {
                let found = secrets::find_all(&self.db, owner, ids).await?;
                found.into_iter().map(|found| (found.0.id.clone(), found)).collect()
            }
        };
        let reveal = |id: &SecretId| {
            let (secret, sealed) = found.remove(id).ok_or_else(|| Error::NotFound(id.clone()))?;
            check(&secret, &Target::Container)?;
            let secret_key = self.unseal(owner, &secret, sealed)?;
            Ok(common::secret::Secret {
                id: secret.id.variable().unwrap_or_default().to_owned(),
                secret_type: secret.purpose.kind(),
                expires_at: secret.expires_at,
                access_key: Hidden(secret.access_key),
                params: secret.params,
                name: secret.name,
                secret_key: Hidden(secret_key),
            })
        };
        ids.iter().map(reveal).collect()
    }

    fn unseal(
        &self,
        owner: WorkspaceId,
        secret: &Secret,
        sealed: Vec<u8>,
    ) -> Result<String, Error> {
        let plain = self.sealer.open(&bound_to(owner, secret), sealed)?;
        String::from_utf8(plain).map_err(|_| Error::Key)
    }

    /// Writes a secret, in place of one with the same id.
    pub async fn keep(
        &self,
        owner: WorkspaceId,
        secret: &Secret,
        secret_key: &str,
    ) -> Result<(), Error> {
        let sealed = self.sealer.seal(&bound_to(owner, secret), secret_key.as_bytes())?;
        secrets::put(&self.db, owner, secret, sealed).await?;
        Ok(())
    }

    /// The values of those of these secrets that are there, for texts that must not show them.
    pub async fn to_hide(
        &self,
        owner: WorkspaceId,
        ids: &[SecretId],
    ) -> Result<Vec<String>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let found = secrets::find_all(&self.db, owner, ids).await?;
        found.into_iter().map(|(secret, sealed)| self.unseal(owner, &secret, sealed)).collect()
    }

    /// Removes what came with a job, and is of no other.
    pub async fn forget_job(&self, owner: WorkspaceId, job: JobId) -> Result<(), Error> {
        Ok(secrets::delete_of_job(&self.db, owner, job).await?)
    }

    /// Keeps a secret under another id too; false where there is none.
    pub async fn copy(
        &self,
        owner: WorkspaceId,
        from: &SecretId,
        to: SecretId,
    ) -> Result<bool, Error> {
        let Some((secret, sealed)) = secrets::find(&self.db, owner, from).await? else {
            return Ok(false);
        };
        let secret_key = self.unseal(owner, &secret, sealed)?;
        self.keep(owner, &Secret { id: to, ..secret }, &secret_key).await?;
        Ok(true)
    }

    /// Whether the master keys open what is stored: some secret opens, or there are none.
    pub async fn some_open(&self) -> Result<bool, store::Error> {
        let some = secrets::sample(&self.db, TRIED).await?;
        let opens = |(owner, secret, sealed): &(WorkspaceId, Secret, Vec<u8>)| {
            self.sealer.open(&bound_to(*owner, secret), sealed.clone()).is_ok()
        };
        Ok(some.is_empty() || some.iter().any(opens))
    }

    /// The secrets that do not open under any of the master keys.
    pub async fn broken(&self) -> Result<Vec<(WorkspaceId, SecretId)>, store::Error> {
        let (mut broken, mut after) = (Vec::new(), None);
        loop {
            let page = secrets::page(&self.db, after.as_ref(), RESEALED_AT_ONCE).await?;
            let Some((owner, last, _)) = page.last() else { return Ok(broken) };
            after = Some((*owner, last.id.clone()));
            for (owner, secret, sealed) in page {
                if self.sealer.open(&bound_to(owner, &secret), sealed).is_err() {
                    broken.push((owner, secret.id));
                }
            }
        }
    }

    /// Seals everything under the newest key that is not yet. Asking again goes on where an
    /// earlier call was broken off.
    pub async fn reseal(&self) -> Result<Resealed, Error> {
        let mut all = Resealed::default();
        let mut after = None;
        while let Some(last) = self.reseal_some(after.as_ref(), &mut all).await? {
            after = Some(last);
        }
        Ok(all)
    }

    /// Seals the next few secrets again; gives the last it looked at, and `None` at the end.
    async fn reseal_some(
        &self,
        after: Option<&(WorkspaceId, SecretId)>,
        all: &mut Resealed,
    ) -> Result<Option<(WorkspaceId, SecretId)>, Error> {
        let transaction = store::begin(&self.db).await?;
        let page = secrets::page(&transaction, after, RESEALED_AT_ONCE).await?;
        let last = page.last().map(|(owner, secret, _)| (*owner, secret.id.clone()));
        for (owner, secret, sealed) in page {
            if self.sealer.is_current(&sealed) {
                continue;
            }
            let bound_to = bound_to(owner, &secret);
            let Ok(plain) = self.sealer.open(&bound_to, sealed) else {
                tracing::warn!(workspace = %owner, secret = %secret.id, "a secret does not open");
                all.broken += 1;
                continue;
            };
            let sealed = self.sealer.seal(&bound_to, &plain)?;
            secrets::reseal(&transaction, owner, &secret.id, sealed).await?;
            all.done += 1;
        }
        transaction.commit().await?;
        Ok(last)
    }
}

impl From<Broken> for Error {
    fn from(_: Broken) -> Self {
        Self::Key
    }
}

/// What a seal belongs to: the row with all that decides on its use. None of the texts has a NUL.
fn bound_to(owner: WorkspaceId, secret: &Secret) -> String {
    let Secret { id, purpose, access_key, .. } = secret;
    let (kind, bound) = (purpose.kind(), purpose.bound_to().unwrap_or_default());
    let ends = secret.expires_at.map_or(0, |end| end.timestamp_micros());
    format!("{owner}\0{id}\0{kind}\0{bound}\0{access_key}\0{ends}")
}

fn check(secret: &Secret, target: &Target<'_>) -> Result<(), Error> {
    let checked = secret.purpose.check(&secret.access_key, target);
    checked.map_err(|why| Error::Misuse { id: secret.id.clone(), why })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use common::data::location::{Cloud, Provider};
    use common::net::origin::Origin;
    use common::secret::Purpose;
    use uuid::Uuid;

    use super::*;
    use crate::api::testing;
    use crate::secrets::seal::MasterKey;

    fn named(id: &str) -> SecretId {
        SecretId::named(id).unwrap()
    }

    async fn open(secrets: &Secrets, owner: WorkspaceId, id: &str) -> Result<KeyPair, Error> {
        let provider = Provider::Aws { region: "r".to_owned() };
        let bucket = Cloud { provider, name: "b".to_owned(), endpoint: None, secret: None };
        secrets.open(owner, &named(id), &Target::Bucket(&bucket)).await
    }

    fn secret(id: &str) -> Secret {
        Secret {
            id: named(id),
            purpose: Purpose::Aws,
            name: String::new(),
            access_key: "AK".to_owned(),
            params: BTreeMap::new(),
            expires_at: None,
        }
    }

    #[tokio::test]
    async fn secret_opens_for_its_workspace_and_master_key_only() {
        let (db, _folder) = testing::database().await;
        let (owner, other) = (WorkspaceId::new(Uuid::now_v7()), WorkspaceId::new(Uuid::now_v7()));
        let secrets = Secrets::new(db.clone(), [7; 32]);

        secrets.keep(owner, &secret("s"), "TOPSECRET").await.unwrap();

        let pair = open(&secrets, owner, "s").await.ok().unwrap();
        assert_eq!((pair.access_key.as_str(), pair.secret_key.as_str()), ("AK", "TOPSECRET"));
        assert!(matches!(open(&secrets, other, "s").await, Err(Error::NotFound(_))));
        let stranger = Secrets::new(db.clone(), [8; 32]);
        assert!(matches!(open(&stranger, owner, "s").await, Err(Error::Key)));
    }

    #[tokio::test]
    async fn secret_row_that_was_moved_or_relabelled_does_not_open() {
        let (db, _folder) = testing::database().await;
        let owner = WorkspaceId::new(Uuid::now_v7());
        let thief = WorkspaceId::new(Uuid::now_v7());
        let keeper = Secrets::new(db.clone(), [7; 32]);
        keeper.keep(owner, &secret("s"), "TOPSECRET").await.unwrap();
        let (_, sealed) = secrets::find(&db, owner, &named("s")).await.unwrap().unwrap();
        assert!(!sealed.windows(9).any(|bytes| bytes == b"TOPSECRET"));

        let elsewhere = Purpose::Azure { endpoint: Some(Origin::parse("https://e").unwrap()) };
        let later = Some(crate::clock::now() + chrono::TimeDelta::days(9));
        for (whose, row) in [
            (owner, secret("t")),
            (thief, secret("s")),
            (owner, Secret { purpose: Purpose::Other, ..secret("s") }),
            (owner, Secret { purpose: elsewhere, ..secret("s") }),
            (owner, Secret { access_key: "AK2".to_owned(), ..secret("s") }),
            (owner, Secret { expires_at: later, ..secret("s") }),
        ] {
            secrets::put(&db, whose, &row, sealed.clone()).await.unwrap();

            let copied = keeper.copy(whose, &row.id, named("copy")).await;
            assert!(matches!(copied, Err(Error::Key)), "{row:?}");
        }
        secrets::put(&db, owner, &secret("s"), sealed).await.unwrap();
        assert!(open(&keeper, owner, "s").await.is_ok());
    }

    #[tokio::test]
    async fn secret_opens_for_its_purpose_only() {
        let (db, _folder) = testing::database().await;
        let owner = WorkspaceId::new(Uuid::now_v7());
        let secrets = Secrets::new(db, [7; 32]);
        let purpose = Purpose::Url { origin: Origin::parse("https://host.example").unwrap() };
        let password = Secret { purpose, ..secret("password") };
        secrets.keep(owner, &password, "TOPSECRET").await.unwrap();
        secrets.keep(owner, &secret("keys"), "TOPSECRET").await.unwrap();
        let to_url =
            async |id: &str, url: &str| secrets.open(owner, &named(id), &Target::Url(url)).await;

        assert!(to_url("password", "https://host.example/a").await.is_ok());
        for (id, url) in [("password", "https://evil.example/a"), ("keys", "https://host.example/")]
        {
            assert!(matches!(to_url(id, url).await, Err(Error::Misuse { .. })), "{id} to {url}");
        }
        assert!(matches!(open(&secrets, owner, "password").await, Err(Error::Misuse { .. })));
        let listed = |id: &str| vec![id.to_owned()];
        let in_container = secrets.for_container(owner, &listed("password")).await;
        assert!(matches!(in_container, Err(Error::Misuse { .. })));
        assert!(secrets.for_container(owner, &listed("keys")).await.is_ok());
        let derived = SecretId::of_image("app", "a", "1.0");
        let login = Secret { id: derived.clone(), purpose: Purpose::Other, ..secret("x") };
        secrets.keep(owner, &login, "TOPSECRET").await.unwrap();
        let in_container = secrets.for_container(owner, &listed(derived.as_str())).await;
        assert!(matches!(in_container, Err(Error::NotFound(_))));
    }

    #[tokio::test]
    async fn rotation_that_is_killed_is_resumed() {
        let (db, _folder) = testing::database().await;
        let owner = WorkspaceId::new(Uuid::now_v7());
        let (old, new) = (MasterKey { id: 1, bytes: [1; 32] }, MasterKey { id: 2, bytes: [2; 32] });
        let before = Secrets::new(db.clone(), Sealer::new(&old, &[]));
        let n = RESEALED_AT_ONCE + 20;
        for i in 0..n {
            before.keep(owner, &secret(&format!("s{i:03}")), &format!("key {i}")).await.unwrap();
        }
        let all_open = async |with: &Secrets| {
            for i in 0..n {
                let pair = open(with, owner, &format!("s{i:03}")).await.ok().unwrap();
                assert_eq!(pair.secret_key, format!("key {i}"));
            }
        };

        // The first batch is committed, and then the process dies.
        let both = Secrets::new(db.clone(), Sealer::new(&new, std::slice::from_ref(&old)));
        let mut some = Resealed::default();
        both.reseal_some(None, &mut some).await.unwrap();

        let again = Secrets::new(db.clone(), Sealer::new(&new, &[old]));
        all_open(&again).await;
        let rest = again.reseal().await.unwrap();
        assert_eq!((some.done, rest.done, rest.broken), (RESEALED_AT_ONCE, 20, 0));
        all_open(&Secrets::new(db.clone(), Sealer::new(&new, &[]))).await;
        assert!(matches!(open(&before, owner, "s000").await, Err(Error::Key)));
    }

    #[tokio::test]
    async fn broken_secret_does_not_block_others() {
        let (db, _folder) = testing::database().await;
        let owner = WorkspaceId::new(Uuid::now_v7());
        let (old, new) = (MasterKey { id: 1, bytes: [1; 32] }, MasterKey { id: 2, bytes: [2; 32] });
        let keeper = Secrets::new(db.clone(), Sealer::new(&old, &[]));
        keeper.keep(owner, &secret("good"), "x").await.unwrap();
        secrets::put(&db, owner, &secret("bad"), vec![0; 40]).await.unwrap();

        let resealed = Secrets::new(db, Sealer::new(&new, &[old])).reseal().await.unwrap();

        assert_eq!(resealed, Resealed { done: 1, broken: 1 });
    }

    #[tokio::test]
    async fn expired_secret_is_not_found() {
        let (db, _folder) = testing::database().await;
        let owner = WorkspaceId::new(Uuid::now_v7());
        let secrets = Secrets::new(db, [7; 32]);
        let expired = Secret { expires_at: Some(crate::clock::now()), ..secret("s") };

        secrets.keep(owner, &expired, "x").await.unwrap();

        assert!(matches!(open(&secrets, owner, "s").await, Err(Error::NotFound(_))));
    }
}
