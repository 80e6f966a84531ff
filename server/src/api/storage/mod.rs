//! Signed links into a bucket that cannot serve its own: GET with ranges, HEAD, and PUT.

mod announced;
mod download;
mod range;

use bytes::Bytes;
use common::access::Role;
use common::ids::{JobId, WorkspaceId};
use futures::StreamExt as _;
use warp::Reply as _;
use warp::http::{Method, StatusCode};

use crate::api::Answer;
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Body, Route, raw};
use crate::api::http::shape::{Field, text};
use crate::app::App;
use crate::data::bucket::blob_key::{BlobKey, Whose};
use crate::data::bucket::links::{Holder, LinkError};
use crate::data::{self, ByteStream, Data, Stored};
use crate::error::{Error, Result};
use crate::people::caller::Caller;
use crate::store::people::{api_keys, members};
use crate::store::{Db, jobs};

pub fn routes() -> Vec<Route> {
    let get = |segment, call| download::serve(Method::GET, segment, call);
    let head = |segment, call| download::serve(Method::HEAD, segment, call);
    let media = "application/octet-stream";
    let link = "/v1/storage/{file}";
    vec![
        raw(Method::GET, "Storage_Get", link, media, get)
            .summary("Follows a signed link")
            .query(SIGNATURE)
            .any_query()
            .fails(LINK_FAILURES)
            .open(),
        raw(Method::HEAD, "Storage_Head", link, media, head)
            .summary("Looks where a signed link leads")
            .query(SIGNATURE)
            .any_query()
            .fails(LINK_FAILURES)
            .open(),
        raw(Method::PUT, "Storage_Put", link, media, put)
            .summary("Uploads to a signed link")
            .query(SIGNATURE)
            .any_query()
            .takes(Body::Bytes("The file"))
            .fails(LINK_FAILURES)
            .open(),
    ]
}

const LINK_FAILURES: &[(u16, &str)] =
    &[(403, "The link is not valid, or not any more"), (416, "The range is beyond the file")];

const SIGNATURE: &[Field] =
    &[text("expires", ""), text("holder", ""), text("name", ""), text("signature", "")];

/// Who the links in an answer to this caller are made for.
pub fn holder(caller: &Caller) -> Holder {
    Holder { workspace: caller.workspace, user: caller.user, key: caller.key }
}

/// Refuses a link whose holder is no longer a member, or whose key has been revoked. A sign-in
/// that has ended is no reason: its user may still come in.
async fn check_holder(app: &App, holder: Option<Holder>) -> Result<()> {
    let Some(Holder { workspace, user, key }) = holder else { return Ok(()) };
    let role = members::role(&app.db, workspace, user).await?;
    if role.is_none_or(|role| role == Role::None) || api_keys::is_revoked(&app.db, key).await? {
        return Err(Error::Forbidden(
            "this link has ended with the access of whom it was made for: ask for a new one"
                .to_owned(),
        ));
    }
    Ok(())
}

/// Takes in an uploaded file. Once the job has started its source stays as it is.
async fn put(segment: Segment, call: Call) -> Result<Answer> {
    let app = call.app().clone();
    let link = app.data.open_link(&Method::PUT, &segment.0, &call.raw_query).map_err(refused)?;
    call.authenticated();
    let announced = call.content_length();
    let digest = announced::read(&call.headers)?;
    let owner = match &link.key {
        BlobKey::Upload(job) => {
            Some(jobs::takes_upload(&app.db, *job).await?.ok_or_else(too_late)?)
        }
        BlobKey::Cached { whose: Whose::User(owner), .. } => Some(*owner),
        // The shared cache is the server's owner's; the others have no upload link.
        BlobKey::Cached { whose: Whose::Everybody, .. }
        | BlobKey::Package(_)
        | BlobKey::Image(_)
        | BlobKey::Staged { .. }
        | BlobKey::Sums { .. }
        | BlobKey::Result { .. }
        | BlobKey::Final { .. } => None,
    };
    let _place = match owner {
        Some(owner) => Some(call.doors().places.uploads.take(owner).await?),
        None => None,
    };
    let bytes = if let BlobKey::Upload(job) = link.key {
        still_open(app.db.clone(), job, call.into_stream())
    } else {
        call.into_stream()
    };
    let bytes = announced::with(digest, bytes);
    // On its own, so that what was counted is settled after a caller who has gone, too.
    let put = tokio::spawn(async move {
        let stored = match owner {
            Some(owner) => put_counted(&app.data, owner, &link.key, announced, bytes).await?,
            None => app.data.put(&link.key, bytes).await?,
        };
        if let BlobKey::Upload(job) = link.key {
            jobs::note_received(&app.db, job, stored.digest).await?;
        }
        Ok::<_, Error>(stored)
    });
    let stored = put.await.map_err(|error| Error::Internal(Box::new(error)))??;
    if announced.is_some_and(|length| length != stored.size) {
        return Err(Error::field("body", "was cut off before its end"));
    }
    Ok(StatusCode::OK.into_response())
}

/// Stores an object that counts against its workspace's quota: before the first byte where its
/// size is announced, else while it comes.
async fn put_counted(
    data: &Data,
    owner: WorkspaceId,
    key: &BlobKey,
    announced: Option<u64>,
    bytes: ByteStream,
) -> Result<Stored> {
    let quotas = data.quotas();
    let _alone = quotas.alone(owner, key).ok_or_else(already_coming)?;
    let bytes = match announced {
        Some(length) => {
            quotas.reserve(owner, key, length).await?;
            bytes
        }
        None => quotas.counted(owner, key, bytes),
    };
    let put = data.put(key, bytes).await;
    let there = match &put {
        Ok(stored) => Some(stored.size),
        // An older file may have stayed.
        Err(_) => data.size(key).await?,
    };
    quotas.settle(owner, key, there).await?;
    Ok(put?)
}

pub fn already_coming() -> Error {
    Error::NotNow("this file is being uploaded already: wait until that has ended".to_owned())
}

fn too_late() -> Error {
    Error::Forbidden(
        "this job has been started or deleted: its file cannot change any more".to_owned(),
    )
}

/// Passes an upload on, and asks again at its end: the file must not be replaced under a run that
/// was started meanwhile.
fn still_open(db: Db, job: JobId, bytes: ByteStream) -> ByteStream {
    let end = futures::stream::once(async move {
        match jobs::takes_upload(&db, job).await {
            Ok(Some(_)) => Ok(Bytes::new()),
            Ok(None) => Err(data::Error::Customer(
                "this job has been started or deleted while its file was uploaded".to_owned(),
            )),
            Err(error) => Err(std::io::Error::other(error).into()),
        }
    });
    Box::pin(bytes.chain(end))
}

fn refused(error: LinkError) -> Error {
    Error::Forbidden(error.to_string())
}

#[cfg(test)]
mod tests;
