//! Container images that travel with their apps: stored by digest, found by reference.

use std::collections::BTreeMap;

use common::access::Scope;
use common::digest::{Digest, NotADigest};
use common::package::loose::check_line;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::http::call::{Call, Segment};
use crate::api::http::route::{Body, Route, delete, get, post};
use crate::api::http::shape::{Field, integer, text};
use crate::api::native::page::{self, PAGE};
use crate::definitions::images::{self, StoredImage};
use crate::error::{Error, Result};

const REFERENCE_CHARS_MAX: usize = 512;

pub fn routes() -> Vec<Route> {
    vec![
        get("Fanfold_ListImages", "/images", list)
            .summary("Lists uploaded images by their references")
            .query(&PAGE[..])
            .needs(Scope::PackagesRead),
        post("Fanfold_PushImage", "/images", push)
            .summary("Uploads a container image, in place of the one with its reference")
            .query(PUSHED)
            .takes(Body::Bytes("An archive of `docker save`, podman or skopeo, compressed or not"))
            .needs(Scope::PackagesWrite),
        get("Fanfold_GetImage", "/images/{reference}", read)
            .summary("Gets an uploaded image; slashes in its reference are written %2F")
            .needs(Scope::PackagesRead),
        delete("Fanfold_DeleteImage", "/images/{reference}", remove)
            .summary("Deletes an uploaded image; slashes in its reference are written %2F")
            .needs(Scope::PackagesWrite),
    ]
}

const PUSHED: &[Field] = &[
    text("reference", "As name:tag").required(),
    text("digest", "SHA-256 of the archive, in hex").required(),
    integer("size", "Bytes of the archive, where the body comes in pieces"),
];

/// An uploaded container image.
#[derive(Serialize, ToSchema)]
#[schema(as = Image)]
struct ImageOut {
    /// As name:tag.
    reference: String,
    /// SHA-256 of the archive.
    #[schema(value_type = String)]
    digest: Digest,
    /// Bytes of the archive.
    size: u64,
}

#[derive(Serialize, ToSchema)]
struct ImageList {
    /// By their references.
    images: Vec<ImageOut>,
    next_cursor: Option<String>,
}

/// What was deleted.
#[derive(Serialize, ToSchema)]
struct DeletedImage {
    /// As name:tag.
    reference: String,
}

async fn list(call: Call) -> Result<ImageList> {
    let caller = call.caller().await?;
    let page = page::numbered(&call.query()?)?;
    let (found, total) = images::list(call.app(), &caller, page.offset, page.limit).await?;
    let next_cursor = page::after(page, found.len(), total);
    Ok(ImageList { images: found.into_iter().map(ImageOut::from).collect(), next_cursor })
}

async fn push(call: Call) -> Result<ImageOut> {
    let caller = call.caller().await?;
    let query = call.query()?;
    let reference = required(&query, "reference")?;
    check_line("reference", &reference, REFERENCE_CHARS_MAX)?;
    let digest = required(&query, "digest")?;
    let digest: Digest =
        digest.parse().map_err(|bad: NotADigest| Error::field("digest", bad.to_string()))?;
    let size = match query.get("size") {
        Some(size) => size.parse().ok(),
        None => call.content_length(),
    };
    let problem = "must be the number of bytes, where there is no Content-Length";
    let size = size.ok_or_else(|| Error::field("size", problem))?;
    let state = call.state().clone();
    let _permit = state.permits.uploads.take(caller.workspace).await?;
    let app = call.app().clone();
    let image = StoredImage { reference, digest, size };
    Ok(images::push(&app, &caller, image, call.into_stream()).await?.into())
}

async fn read(reference: Segment, call: Call) -> Result<ImageOut> {
    let caller = call.caller().await?;
    Ok(images::find(call.app(), &caller, &reference.0).await?.into())
}

async fn remove(reference: Segment, call: Call) -> Result<DeletedImage> {
    let caller = call.caller().await?;
    images::delete(call.app(), &caller, &reference.0).await?;
    Ok(DeletedImage { reference: reference.0 })
}

fn required(query: &BTreeMap<String, String>, name: &str) -> Result<String> {
    let found = query.get(name).filter(|text| !text.is_empty()).cloned();
    found.ok_or_else(|| Error::field(name, "is missing"))
}

impl From<StoredImage> for ImageOut {
    fn from(StoredImage { reference, digest, size }: StoredImage) -> Self {
        Self { reference, digest, size }
    }
}
