//! The uploaded file of a draft.

use common::data::location::{Identity, Source};
use common::ids::JobId;
use common::secret::DataEnd;

use super::save;
use crate::app::App;
use crate::data::bucket::blob_key::BlobKey;
use crate::error::{Error, Result};
use crate::field::Field;
use crate::jobs::monitoring::status::{JobStatus, find_job};
use crate::people::caller::Caller;
use crate::store::jobs::{Change, TemplateWork, Upload};

/// Notes that the file of the caller's draft has been uploaded, once it is really there.
pub async fn complete_upload(app: &App, caller: &Caller, id: JobId) -> Result<JobStatus> {
    let job = find_job(app, caller, id).await?;
    let work = job.work.template();
    if !matches!(work.and_then(TemplateWork::source), Some(Source::File(_))) {
        let what = "this job's source is not a file".to_owned();
        return Err(Error::NotNow(what).at(Field::Location(DataEnd::Source)));
    }
    let key = BlobKey::Upload(job.id);
    let Some(stat) = app.data.stat(&key).await? else {
        return Err(Error::NotNow(
            "nothing has been uploaded yet: PUT the file to its upload link first".to_owned(),
        ));
    };
    // Where the bucket took it directly, it is counted only now.
    if let Err(full) = app.data.quotas().reserve(caller.workspace, &key, stat.size).await {
        app.data.purge_upload(job.id).await?;
        return Err(full.into());
    }
    // The bytes' own name outlives a move of the bucket; a bucket's names do not.
    let received = work.and_then(|work| work.received);
    let identity = received.map(Identity::Digest).or(stat.version.map(Identity::Etag));
    let upload = Upload { size: stat.size, identity };
    save(app, caller, &job, vec![Change::Uploaded(upload)]).await
}
