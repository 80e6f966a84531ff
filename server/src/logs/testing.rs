//! A data plane over a folder, for the tests of logs.

use std::path::Path;

use crate::data::ssrf_guard::Guard;
use crate::data::{Bucket, Data, Options};
use crate::limits::quotas::Quotas;
use crate::secrets::Secrets;
use crate::store::Db;

pub async fn open_data(db: &Db, folder: &Path) -> Data {
    let options = Options {
        bucket: Bucket::Folder(folder.join("bucket")),
        guard: Guard::new(false),
        public_url: "http://localhost".to_owned(),
        link_key: [8; 32],
    };
    let quotas = Quotas::new(db.clone(), 1 << 30);
    Data::open(options, db.clone(), Secrets::new(db.clone(), [7; 32]), quotas).await.unwrap()
}
