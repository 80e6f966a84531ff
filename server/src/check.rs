//! Reads everything that a server keeps and says what is damaged. The server must not be running.

use std::error::Error as _;

use common::digest::Digest;

use crate::config::Config;
use crate::data;
use crate::data::bucket::blob_key::BlobKey;
use crate::data::bucket::verify::Verifier;
use crate::secrets::key_check;
use crate::server;
use crate::startup::database;
use crate::store;
use crate::store::database::integrity;
use crate::store::market::tasks::small_results;
use crate::store::money::reconciliation::reconcile;
use crate::store::storage::named_objects;
use crate::store::storage::named_objects::Named;
use crate::store::{Db, UnreadableRow};

/// One damaged thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is a part of: a table, `bucket`, `keys`, `database` or `books`.
    pub part: String,
    /// Which one: a row's key, an object's path, a folder, a claim.
    pub which: String,
    pub problem: String,
    pub advice: &'static str,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Database(#[from] database::Error),
    #[error("the database cannot be read")]
    Db(#[from] store::Error),
    #[error("the bucket cannot be read")]
    Data(#[from] data::Error),
}

const BACKUP: &str = "docs/operations/backup.md says what to do";
const ROW: &str = "restore a backup or delete the row";
const RUN: &str = "the next start ends the run, if it has not ended";
const SECRET: &str = "store it again";
const UPLOAD: &str = "its customer must upload it again";
const RESULT: &str = "its customer must run the job again";
const PACKAGE: &str = "push it again";
const LOG: &str = "restore it from a backup; without it, these lines of the run's log are lost";
const CACHED: &str = "upload it again";
const IMAGE: &str = "push it again (`fanfold image push`)";

/// What is damaged. Changes nothing but the schema, which it brings up to date.
///
/// # Errors
/// Where the database is so damaged that nothing can be read from it, or a part is away.
pub async fn check(config: &Config) -> Result<Vec<Finding>, Error> {
    let db = database::open(config).await?;
    let mut found = Vec::new();
    check_keys(config, &db, &mut found).await?;
    for problem in integrity::all_problems(&db).await? {
        found.push(finding("database", "pages".to_owned(), problem, BACKUP));
    }
    for UnreadableRow { table, id, why } in store::check(&db).await? {
        let advice = match table.as_str() {
            "runs" => RUN,
            "small_results" => RESULT,
            _ => ROW,
        };
        found.push(Finding { part: table, which: id, problem: why, advice });
    }
    for (claim, rows) in reconcile(&db).await?.checks {
        if rows > 0 {
            let problem = format!("{rows} rows contradict it");
            found.push(finding("books", claim.to_owned(), problem, BACKUP));
        }
    }
    check_bucket(config, &db, &mut found).await?;
    db.close().await?;
    Ok(found)
}

fn finding(part: &str, which: String, problem: String, advice: &'static str) -> Finding {
    Finding { part: part.to_owned(), which, problem, advice }
}

async fn check_keys(config: &Config, db: &Db, found: &mut Vec<Finding>) -> Result<(), Error> {
    let folder = config.data_dir.join("keys");
    match key_check::load(&config.data_dir, db).await {
        Ok((_, secrets)) => {
            for (owner, secret) in secrets.broken().await? {
                let which = format!("{owner}/{secret}");
                let problem = "it does not open under the master keys".to_owned();
                found.push(finding("secrets", which, problem, SECRET));
            }
            Ok(())
        }
        Err(key_check::Error::Db(error)) => Err(error.into()),
        Err(error) => {
            let why = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            found.push(finding("keys", folder.display().to_string(), why, BACKUP));
            Ok(())
        }
    }
}

async fn check_bucket(config: &Config, db: &Db, found: &mut Vec<Finding>) -> Result<(), Error> {
    let bucket = server::bucket(&config.data_dir, config.data.s3.clone());
    let bucket = Verifier::open(&bucket).await?;
    for key in bucket.misnamed().await? {
        found.push(damaged(&key));
    }
    named_objects::each(db, async |named| {
        let (key, size, digest) = match named {
            Named::Package(digest, size) => (BlobKey::Package(digest), size, None),
            Named::Image(digest, size) => (BlobKey::Image(digest), size, None),
            Named::Log { run, seq, digest, size } => {
                (BlobKey::Log { run, seq, digest }, size, None)
            }
            Named::Upload(job, size, digest) => (BlobKey::Upload(job), size, digest),
            Named::Result(path, size, digest) => match BlobKey::from_path(&path) {
                Some(key) if is_small(db, &key, size).await => return Ok(()),
                Some(key) => (key, size, digest),
                None => {
                    let problem = "its row names no object".to_owned();
                    found.push(finding("bucket", path, problem, RESULT));
                    return Ok(());
                }
            },
        };
        found.extend(compare(&bucket, key, size, digest).await?);
        Ok::<_, Error>(())
    })
    .await
}

/// Whether a result of this size is kept in the database, whose rows are read through by themselves.
async fn is_small(db: &Db, key: &BlobKey, size: u64) -> bool {
    let BlobKey::Result { lease, digest } = key else { return false };
    match small_results::find(db, lease.task).await {
        Ok(contents) => contents.find(*digest).is_some_and(|bytes| bytes.len() as u64 == size),
        // A row that cannot be read is found where all rows are read.
        Err(_) => true,
    }
}

/// Compares an object with its row. One with its digest in its name has been read already.
async fn compare(
    bucket: &Verifier,
    key: BlobKey,
    size: u64,
    digest: Option<Digest>,
) -> Result<Option<Finding>, Error> {
    let there = bucket.size(&key).await?;
    Ok(match (there, digest) {
        (None, _) => {
            let problem = "it is missing".to_owned();
            Some(finding("bucket", key.path(), problem, advice(&key)))
        }
        (Some(there), _) if there != size => {
            let problem = format!("it has {there} bytes and must have {size}");
            Some(finding("bucket", key.path(), problem, advice(&key)))
        }
        (Some(_), Some(digest)) if key.digest().is_none() => {
            let read = bucket.read(&key).await?;
            read.is_some_and(|read| read.digest != digest).then(|| damaged(&key))
        }
        (Some(_), _) => None,
    })
}

fn damaged(key: &BlobKey) -> Finding {
    let problem = "its bytes are not those that were stored".to_owned();
    finding("bucket", key.path(), problem, advice(key))
}

const fn advice(key: &BlobKey) -> &'static str {
    match key {
        BlobKey::Package(_) => PACKAGE,
        BlobKey::Image(_) => IMAGE,
        BlobKey::Upload(_) => UPLOAD,
        BlobKey::Sums { .. }
        | BlobKey::Staged { .. }
        | BlobKey::Result { .. }
        | BlobKey::Final { .. } => RESULT,
        BlobKey::Log { .. } => LOG,
        BlobKey::Cached { .. } => CACHED,
    }
}
