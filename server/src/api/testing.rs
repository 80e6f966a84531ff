//! A whole app on a temporary folder, for the tests of the doors.

use crate::store::{self, Db};

/// A fresh database. Its folder is gone when the process ends.
pub async fn db() -> Db {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/test.db", folder.path().display());
    let db = store::open(&url).await.unwrap();
    // SQLite keeps the open file.
    drop(folder);
    db
}
