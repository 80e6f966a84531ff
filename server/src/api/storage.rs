//! Signed links into a bucket that cannot serve its own: GET with ranges, HEAD, and PUT.

use std::ops::Range;

use bytes::Bytes;
use common::ids::{JobId, WorkspaceId};
use common::rights::Role;
use futures::StreamExt as _;
use sync_wrapper::SyncStream;
use warp::Reply as _;
use warp::http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName,
    HeaderValue, LOCATION, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use warp::http::{Method, StatusCode};

use crate::api::http::call::{Call, Segment};
use crate::api::http::error::{Error, Result};
use crate::api::http::route::{Body, Route, raw};
use crate::api::http::shape::{Field, text};
use crate::api::http::token::Caller;
use crate::api::{Answer, App};
use crate::data::key::{BlobKey, Whose};
use crate::data::links::{self, Holder, LinkError};
use crate::data::{self, ByteStream, Data, Stored};
use crate::store::{Db, api_keys, jobs, members};

pub fn routes() -> Vec<Route> {
    let get = |segment, call| serve(Method::GET, segment, call);
    let head = |segment, call| serve(Method::HEAD, segment, call);
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

async fn serve(method: Method, segment: Segment, call: Call) -> Result<Answer> {
    let data = &call.app().data;
    let link = data.open_link(&method, &segment.0, &call.raw_query).map_err(refused)?;
    check_holder(call.app(), link.holder).await?;
    call.authenticated();
    let size = data.size(&link.key).await?.ok_or_else(|| Error::NotFound("file".to_owned()))?;
    if method == Method::GET
        && let Some(direct) = data.direct_link(&link.key, &link.file_name).await?
    {
        let mut answer = StatusCode::TEMPORARY_REDIRECT.into_response();
        set(answer.headers_mut(), LOCATION, &direct);
        return Ok(answer);
    }
    let asked = call.headers.get(RANGE).and_then(|value| value.to_str().ok());
    let (status, range) = match asked.map_or(Asked::Whole, |header| parse_range(header, size)) {
        Asked::Whole => (StatusCode::OK, 0..size),
        Asked::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Asked::Beyond => return Ok(beyond(size)),
    };
    let length = range.end - range.start;
    let mut answer = if method == Method::HEAD || length == 0 {
        StatusCode::OK.into_response()
    } else {
        let bytes = data.get(&link.key, range.clone()).await?;
        warp::reply::stream(SyncStream::new(bytes)).into_response()
    };
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_LENGTH, length.into());
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    // A customer's file must never run as a page of this server.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    set(headers, CONTENT_DISPOSITION, &links::disposition(&link.file_name));
    if status == StatusCode::PARTIAL_CONTENT {
        let part = format!("bytes {}-{}/{size}", range.start, range.end - 1);
        set(headers, CONTENT_RANGE, &part);
    }
    Ok(answer)
}

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
    // On its own, so that what was counted is settled after a caller who has gone, too.
    let put = tokio::spawn(async move {
        match owner {
            Some(owner) => put_counted(&app.data, owner, &link.key, announced, bytes).await,
            None => Ok(app.data.put(&link.key, bytes).await?),
        }
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

fn set(headers: &mut warp::http::HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn beyond(size: u64) -> Answer {
    let mut answer = StatusCode::RANGE_NOT_SATISFIABLE.into_response();
    set(answer.headers_mut(), CONTENT_RANGE, &format!("bytes */{size}"));
    answer
}

/// What a Range header asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Whole,
    Part(Range<u64>),
    Beyond,
}

/// Reads a Range header. Several ranges, and what cannot be read, get the whole file, as the
/// standard allows.
fn parse_range(header: &str, size: u64) -> Asked {
    let Some((first, last)) = header.strip_prefix("bytes=").and_then(|range| range.split_once('-'))
    else {
        return Asked::Whole;
    };
    let number = |text: &str| text.trim().parse::<u64>();
    match (number(first), number(last), first.trim(), last.trim()) {
        (Ok(from), Ok(to), _, _) if from <= to => {
            if from >= size {
                return Asked::Beyond;
            }
            Asked::Part(from..to.saturating_add(1).min(size))
        }
        (Ok(from), _, _, "") => {
            if from >= size {
                return Asked::Beyond;
            }
            Asked::Part(from..size)
        }
        (_, Ok(tail), "", _) => {
            if tail == 0 || size == 0 {
                return Asked::Beyond;
            }
            Asked::Part(size.saturating_sub(tail)..size)
        }
        _ => Asked::Whole,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::http::token;
    use crate::api::testing::{Door, QUOTA_BYTES};

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        for (header, asked) in [
            ("bytes=0-4", Asked::Part(0..5)),
            ("bytes=5-", Asked::Part(5..10)),
            ("bytes=-3", Asked::Part(7..10)),
            ("bytes=-30", Asked::Part(0..10)),
            ("bytes=8-30", Asked::Part(8..10)),
            ("bytes=0-18446744073709551615", Asked::Part(0..10)),
            ("bytes=10-", Asked::Beyond),
            ("bytes=10-12", Asked::Beyond),
            ("bytes=-0", Asked::Beyond),
            ("bytes=5-4", Asked::Whole),
            ("bytes=0-1,3-4", Asked::Whole),
            ("bytes=99999999999999999999999-", Asked::Whole),
            ("lines=0-1", Asked::Whole),
            ("bytes=-", Asked::Whole),
        ] {
            assert_eq!(parse_range(header, 10), asked, "{header}");
        }
        assert_eq!(parse_range("bytes=0-", 0), Asked::Beyond);
    }

    async fn upload(door: &Door) -> (String, String) {
        door.template("lines", "concat").await;
        let source = json!({"dataSourceDescriptor": "file"});
        let id = door.job(json!({"templateId": "t", "dataSource": source})).await;
        let (_, body) = door.get(&format!("/v1/customer/jobs/{id}")).await;
        (id, body["job"]["dataSource"]["params"]["tempUrl"].as_str().unwrap().to_owned())
    }

    #[tokio::test]
    async fn files_are_served_whole_in_parts_and_by_their_head() {
        let door = Door::open().await;
        let (id, link) = upload(&door).await;
        assert_eq!(door.client.put(link).body("0123456789").send().await.unwrap().status(), 200);
        let key = BlobKey::Upload(id.parse().unwrap());
        let hour = std::time::Duration::from_secs(3600);
        let holder = holder(&token::caller(&door.app, Some(&door.key)).await.unwrap());
        let link = door.app.data.download_link(&key, "ä.txt", holder, hour);

        let whole = door.client.get(&link).send().await.unwrap();
        let part = door.client.get(&link).header("range", "bytes=2-4").send().await.unwrap();
        let head = door.client.head(&link).send().await.unwrap();
        let beyond = door.client.get(&link).header("range", "bytes=10-").send().await.unwrap();

        assert_eq!(whole.headers()["x-content-type-options"], "nosniff");
        assert_eq!(whole.headers()["content-length"], "10");
        assert_eq!(whole.text().await.unwrap(), "0123456789");
        assert_eq!(part.status(), 206);
        assert_eq!(part.headers()["content-range"], "bytes 2-4/10");
        assert_eq!(part.text().await.unwrap(), "234");
        assert_eq!((head.status().as_u16(), &head.headers()["content-length"]), (200, &10.into()));
        assert_eq!(beyond.status(), 416);
    }

    /// A link that was made for whoever has this key.
    async fn link_of(door: &Door, key: &str, file: &BlobKey) -> String {
        let holder = holder(&token::caller(&door.app, Some(key)).await.unwrap());
        let hours = std::time::Duration::from_secs(48 * 3600);
        door.app.data.download_link(file, "x", holder, hours)
    }

    #[tokio::test]
    async fn a_link_ends_with_the_membership_or_the_key_of_whom_it_was_made_for() {
        let door = Door::open().await;
        let (id, link) = upload(&door).await;
        assert_eq!(door.client.put(link).body("0123456789").send().await.unwrap().status(), 200);
        let file = BlobKey::Upload(id.parse().unwrap());
        let (member, first) = door.member(Role::User).await;
        let second = {
            let user = common::ids::UserId::new(member.parse().unwrap());
            api_keys::issue(&door.app.db, door.workspace, user, "second").await.unwrap()
        };
        let links = [
            link_of(&door, &first, &file).await,
            link_of(&door, &second, &file).await,
            link_of(&door, &door.key, &file).await,
        ];
        let served = async || {
            let mut statuses = Vec::new();
            for link in &links {
                statuses.push(door.client.get(link).send().await.unwrap().status().as_u16());
            }
            statuses
        };
        assert_eq!(served().await, [200, 200, 200]);

        let (_, keys) = door.call_as(&first, Method::GET, "/v1/auth/api_keys", None).await;
        let oldest = keys["apiKeys"].as_array().unwrap().last().unwrap()["id"].clone();
        let revoke = format!("/v1/auth/api_keys/{}/revoke", oldest.as_str().unwrap());
        assert_eq!(door.post(&revoke, json!({})).await.0, 200);
        assert_eq!(served().await, [403, 200, 200]);
        let remove = format!("/v1/auth/members/{member}");
        assert_eq!(door.call(Method::DELETE, &remove, None).await.0, 200);

        assert_eq!(served().await, [403, 403, 200]);
    }

    #[tokio::test]
    async fn a_link_is_good_for_its_method_and_object_only() {
        let door = Door::open().await;
        let (_, link) = upload(&door).await;
        let forged = link.replace("expires=1", "expires=2");

        assert_eq!(door.client.get(&link).send().await.unwrap().status(), 403);
        assert_eq!(door.client.put(&forged).body("x").send().await.unwrap().status(), 403);
        let bare = format!("{}/v1/storage/cGFja2FnZXM", door.url);
        assert_eq!(door.client.get(&bare).send().await.unwrap().status(), 403);
        assert_eq!(door.client.put(&bare).body("x").send().await.unwrap().status(), 403);
    }

    #[tokio::test]
    async fn an_upload_that_was_overtaken_by_the_start_changes_nothing() {
        let door = Door::open().await;
        let (id, link) = upload(&door).await;
        let put = |body: reqwest::Body| door.client.put(&link).body(body).send();
        assert_eq!(put("first".into()).await.unwrap().status(), 200);
        let (pieces, body) = tokio::sync::mpsc::channel::<std::io::Result<&'static str>>(1);
        let body = reqwest::Body::wrap_stream(tokio_stream::wrappers::ReceiverStream::new(body));
        let meanwhile = async {
            pieces.send(Ok("sec")).await.unwrap();
            pieces.send(Ok("o")).await.unwrap();
            // The server has taken the first piece, so the upload has begun.
            pieces.send(Ok("nd")).await.unwrap();
            let job = format!("/v1/customer/jobs/{id}");
            assert_eq!(door.call(Method::DELETE, &job, None).await.0, 200);
            drop(pieces);
        };

        let (answer, ()) = tokio::join!(put(body), meanwhile);

        assert!(!answer.unwrap().status().is_success());
        let key = BlobKey::Upload(id.parse().unwrap());
        // The first file went with its draft.
        assert_eq!(door.app.data.size(&key).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_deleted_jobs_file_cannot_be_uploaded() {
        let door = Door::open().await;
        let (id, link) = upload(&door).await;
        let job = format!("/v1/customer/jobs/{id}");
        assert_eq!(door.call(Method::DELETE, &job, None).await.0, 200);

        assert_eq!(door.client.put(link).body("x").send().await.unwrap().status(), 403);
    }

    /// Without the packages that tests push.
    async fn stored(door: &Door) -> u64 {
        let kinds = crate::store::holdings::by_kind(&door.app.db, door.workspace).await.unwrap();
        kinds["uploads"]
    }

    #[tokio::test]
    async fn an_upload_beyond_the_quota_is_refused_before_it_is_taken() {
        let door = Door::open().await;
        let (id, link) = upload(&door).await;
        let put = door.client.put(&link).header("content-length", QUOTA_BYTES + 1);
        let never = futures::stream::pending::<std::io::Result<Bytes>>();

        let answer = put.body(reqwest::Body::wrap_stream(never)).send().await.unwrap();

        assert_eq!(answer.status(), 413);
        let body: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(body["details"][0]["reason"], "STORAGE_FULL", "{body}");
        assert!(body["message"].as_str().unwrap().contains("delete drafts"), "{body}");
        assert_eq!(stored(&door).await, 0);
        assert_eq!(door.client.put(&link).body("0123456789").send().await.unwrap().status(), 200);
        assert_eq!(stored(&door).await, 10);
        let (_, usage) = door.get("/v1/wallet/usage").await;
        assert_eq!(usage["storage"]["byKind"]["uploads"], 10);
        let job = format!("/v1/customer/jobs/{id}");
        assert_eq!(door.call(Method::DELETE, &job, None).await.0, 200);
        let key = BlobKey::Upload(id.parse().unwrap());
        assert_eq!((stored(&door).await, door.app.data.size(&key).await.unwrap()), (0, None));
    }

    #[tokio::test]
    async fn an_upload_without_a_length_breaks_off_at_the_quota() {
        let door = Door::open().await;
        let (id, link) = upload(&door).await;
        let piece = Bytes::from(vec![7; 1 << 20]);
        let pieces = std::iter::repeat_n(piece, 65).map(Ok::<_, std::io::Error>);
        let body = reqwest::Body::wrap_stream(futures::stream::iter(pieces));

        // The server may close before the last piece is sent.
        if let Ok(answer) = door.client.put(&link).body(body).send().await {
            assert_eq!(answer.status(), 413);
        }

        let key = BlobKey::Upload(id.parse().unwrap());
        let settled = async || {
            while stored(&door).await > 0 {
                tokio::task::yield_now().await;
            }
        };
        settled().await;
        assert_eq!(door.app.data.size(&key).await.unwrap(), None);
    }
}
