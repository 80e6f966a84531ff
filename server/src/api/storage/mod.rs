//! Signed links over HTTP: GET with ranges, HEAD, and PUT.

mod announced;
mod download;
mod range;

use warp::Reply as _;
use warp::http::{Method, StatusCode};

use crate::api::Answer;
use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Body, Route, raw};
use crate::api::http::shape::{Field, text};
use crate::error::{Error, Result};
use crate::files::{Expected, Upload};

pub fn routes() -> Vec<Route> {
    let get = |segment, call| download::serve(Method::GET, segment, call);
    let head = |segment, call| download::serve(Method::HEAD, segment, call);
    let media = "application/octet-stream";
    let link = "/v1/storage/{file}";
    vec![
        raw(Method::GET, "Storage_Get", link, media, get)
            .summary("Downloads the file behind a signed link")
            .query(SIGNATURE)
            .any_query()
            .fails(LINK_FAILURES)
            .open(),
        raw(Method::HEAD, "Storage_Head", link, media, head)
            .summary("Gets the headers of the file behind a signed link")
            .query(SIGNATURE)
            .any_query()
            .fails(LINK_FAILURES)
            .open(),
        raw(Method::PUT, "Storage_Put", link, media, put)
            .summary("Uploads a file to a signed link")
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

/// Stores an uploaded file.
async fn put(segment: Segment, call: Call) -> Result<Answer> {
    let upload = Upload::open(call.app(), &segment.0, &call.raw_query).await?;
    call.authenticated();
    let size = call.content_length();
    let expected = Expected { size, digest: announced::read(&call.headers)? };
    let _permit = match upload.owner() {
        Some(owner) => Some(call.state().permits.uploads.take(owner).await?),
        None => None,
    };
    let stored = upload.store(expected, call.into_stream()).await?;
    if size.is_some_and(|size| size != stored) {
        return Err(Error::field("body", "was cut off before its end"));
    }
    Ok(StatusCode::OK.into_response())
}

#[cfg(test)]
mod tests;
