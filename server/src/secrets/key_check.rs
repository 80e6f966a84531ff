//! Loads the server's keys and proves that they open the secrets that are stored.

use std::io;
use std::path::{Path, PathBuf};

use crate::secrets::Secrets;
use crate::secrets::master_keys::{Keys, MASTER_KEYS, MasterKeys};
use crate::store::{self, Db};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the keys cannot be used")]
    Io(#[from] io::Error),
    #[error("database")]
    Db(#[from] store::Error),
    #[error(
        "{} is missing, and secrets are stored that are sealed under its keys: put it back from a \
         backup, or delete the rows of the table secrets", .0.display()
    )]
    Missing(PathBuf),
    #[error(
        "no stored secret opens under the keys in {}: the file is damaged or of another server. \
         Put the right one back from a backup, or delete the rows of the table secrets",
        .0.display()
    )]
    Wrong(PathBuf),
}

/// The keys of a data folder, and the secrets that they open.
pub async fn load(data_dir: &Path, db: &Db) -> Result<(Keys, Secrets), Error> {
    let folder = folder(data_dir, db).await?;
    let keys = Keys::load_or_make(&folder)?;
    let secrets = Secrets::new(db.clone(), keys.master.sealer());
    if secrets.some_open().await? {
        Ok((keys, secrets))
    } else {
        Err(Error::Wrong(folder.join(MASTER_KEYS)))
    }
}

/// The master keys alone.
pub async fn load_master(data_dir: &Path, db: &Db) -> Result<MasterKeys, Error> {
    Ok(MasterKeys::load_or_make(&folder(data_dir, db).await?)?)
}

/// The folder of the keys. New master keys are made only where nothing is sealed under old ones.
async fn folder(data_dir: &Path, db: &Db) -> Result<PathBuf, Error> {
    let folder = data_dir.join("keys");
    let file = folder.join(MASTER_KEYS);
    if !file.try_exists()? && store::secrets::any(db).await? {
        return Err(Error::Missing(file));
    }
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use common::ids::WorkspaceId;
    use common::secret::{Purpose, SecretId};
    use store::secrets::Secret;

    use super::*;

    #[tokio::test]
    async fn master_key_that_is_missing_or_wrong_is_refused_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("db.sqlite").display());
        let db = store::open(&url).await.unwrap();
        let file = folder.path().join("keys").join(MASTER_KEYS);
        let (_, secrets) = load(folder.path(), &db).await.unwrap();
        let secret = Secret {
            id: SecretId::named("s").unwrap(),
            purpose: Purpose::Other,
            name: String::new(),
            access_key: String::new(),
            params: BTreeMap::new(),
            expires_at: None,
        };
        secrets.keep(WorkspaceId::new(uuid::Uuid::now_v7()), &secret, "hush").await.unwrap();
        assert!(load(folder.path(), &db).await.is_ok());
        let right = fs::read_to_string(&file).unwrap();

        fs::write(&file, format!("1 {}\n", "ab".repeat(32))).unwrap();
        let wrong = load(folder.path(), &db).await.err().unwrap();
        fs::remove_file(&file).unwrap();
        let missing = load(folder.path(), &db).await.err().unwrap();

        for (error, kind) in [(wrong, "no stored secret opens"), (missing, "is missing")] {
            let text = error.to_string();
            assert!(text.contains(kind) && text.contains(&file.display().to_string()), "{text}");
        }
        assert!(!file.exists(), "no new key was made");
        fs::write(&file, right).unwrap();
        assert!(load(folder.path(), &db).await.is_ok());
    }
}
