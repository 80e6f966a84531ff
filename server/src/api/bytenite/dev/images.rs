//! Container images that travel with their apps: stored by digest, found by reference.

use common::digest::{Digest, NotADigest};
use common::package::loose::check_line;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::bytenite::lists::page::{PAGE, Page, Pagination};
use crate::api::bytenite::wire::{Done, done};
use crate::api::http::call::Call;
use crate::api::http::route::{Body, Route, delete, get, post};
use crate::api::http::shape::{Field, integer, text};
use crate::definitions::images::{self, StoredImage};
use crate::error::{Error, Result};

const REFERENCE_CHARS_MAX: usize = 512;

#[derive(Serialize, ToSchema)]
struct ImageOut {
    reference: String,
    #[schema(value_type = String)]
    digest: Digest,
    size: u64,
}

pub fn routes() -> Vec<Route> {
    vec![
        post("Developer_PushImage", "/images", push)
            .summary("Uploads a container image: an archive of `docker save`, podman or skopeo, compressed or not")
            .query(PUSHED)
            .takes(Body::Bytes("The image archive")),
        get("Developer_GetImage", "/images", read).summary("Gets an uploaded image").query(REFERENCE),
        get("Developer_ListImages", "/images/list", list)
            .summary("Lists uploaded images by their references")
            .query(PAGE),
        delete("Developer_DeleteImage", "/images", remove)
            .summary("Deletes an uploaded image")
            .query(REFERENCE),
    ]
}

const NAME: Field = text("reference", "As name:tag").required();
const REFERENCE: &[Field] = &[NAME];
const PUSHED: &[Field] = &[
    NAME,
    text("digest", "SHA-256 of the archive, in hex").required(),
    integer("size", "Bytes of the archive, where the body comes in pieces"),
];

/// Stores an image whose digest (and size, where the body comes in pieces) the query announces.
async fn push(call: Call) -> Result<ImageOut> {
    let caller = call.caller().await?;
    let query = call.query()?;
    let reference = reference(&query)?;
    let digest = query.get("digest").ok_or_else(|| Error::field("digest", "is missing"))?;
    let digest: Digest =
        digest.parse().map_err(|e: NotADigest| Error::field("digest", e.to_string()))?;
    let size = match query.get("size") {
        Some(size) => {
            let number = size.parse().ok();
            number.ok_or_else(|| Error::field("size", "must be a whole number of bytes"))?
        }
        None => call
            .content_length()
            .ok_or_else(|| Error::field("size", "is missing, and there is no Content-Length"))?,
    };
    let state = call.state().clone();
    let _permit = state.permits.uploads.take(caller.workspace).await?;
    let app = call.app().clone();
    let image = StoredImage { reference, digest, size };
    Ok(images::push(&app, &caller, image, call.into_stream()).await?.into())
}

async fn remove(call: Call) -> Result<Done> {
    let caller = call.caller().await?;
    images::delete(call.app(), &caller, &reference(&call.query()?)?).await?;
    Ok(done())
}

#[derive(Serialize, ToSchema)]
struct ImagesOut {
    images: Vec<ImageOut>,
    pagination: Pagination,
}

async fn list(call: Call) -> Result<ImagesOut> {
    let caller = call.caller().await?;
    let page = Page::read(&call.query()?)?;
    let (found, total) = images::list(call.app(), &caller, page.offset, page.limit).await?;
    let pagination = page.of(total, found.len() as u64);
    Ok(ImagesOut { images: found.into_iter().map(ImageOut::from).collect(), pagination })
}

async fn read(call: Call) -> Result<ImageOut> {
    let caller = call.caller().await?;
    Ok(images::find(call.app(), &caller, &reference(&call.query()?)?).await?.into())
}

fn reference(query: &std::collections::BTreeMap<String, String>) -> Result<String> {
    let reference = query
        .get("reference")
        .filter(|reference| !reference.is_empty())
        .ok_or_else(|| Error::field("reference", "is missing: the image's name"))?;
    check_line("reference", reference, REFERENCE_CHARS_MAX)?;
    Ok(reference.clone())
}

impl From<StoredImage> for ImageOut {
    fn from(image: StoredImage) -> Self {
        Self { reference: image.reference, digest: image.digest, size: image.size }
    }
}

#[cfg(test)]
mod tests {
    use reqwest::Method;

    use super::*;
    use crate::api::testing::TestServer;

    fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, name, *bytes).unwrap();
        }
        tar.into_inner().unwrap()
    }

    /// An image of one layer.
    fn archive(layer: &[u8]) -> Vec<u8> {
        tar(&[
            ("layer.tar", layer),
            ("c.json", br#"{"rootfs": {"diff_ids": ["sha256:1"]}}"#),
            ("manifest.json", br#"[{"Config": "c.json", "Layers": ["layer.tar"]}]"#),
        ])
    }

    fn layer(bytes: &[u8]) -> Vec<u8> {
        tar(&[("file", bytes)])
    }

    async fn push(server: &TestServer, archive: Vec<u8>, digest: Digest) -> (u16, String) {
        let url = format!("{}/v1/dev/images?reference=a%2Fb:1&digest={digest}", server.url);
        let sent =
            server.client.post(url).header("authorization", &server.key).body(archive).send();
        let answer = sent.await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    #[tokio::test]
    async fn image_that_no_node_may_unpack_is_refused() {
        let server = TestServer::open().await;
        let whole = archive(&layer(&[7; 3 << 20]));
        let (cut, pieces) = (whole[..2 << 20].to_vec(), [whole, vec![0; 4 << 20]].concat());
        let empty = tar(&[("manifest.json", b"[]")]);
        for (archive, why) in [
            (archive(b"BZh9"), "bzip2"),
            (archive(b"a text"), "no tar archive"),
            (b"image".to_vec(), "not a tar archive"),
            (b"PK\x03\x04 zip".to_vec(), "zip"),
            (cut, "cut off"),
            (empty, "holds no image"),
        ] {
            let digest = Digest::of(&archive);

            let (status, body) = push(&server, archive, digest).await;

            assert_eq!(status, 400, "{body}");
            assert!(body.contains(why), "{body}");
            assert_eq!(server.get("/v1/dev/images?reference=a/b:1").await.0, 404);
        }
        // What comes after the archive's end is nobody's business.
        let digest = Digest::of(&pieces);
        assert_eq!(push(&server, pieces, digest).await.0, 200);
    }

    #[tokio::test]
    async fn image_is_kept_only_if_its_digest_is_right() {
        let server = TestServer::open().await;
        let image = archive(&layer(b"layer"));
        let digest = Digest::of(&image);

        let (wrong, _) = push(&server, image.clone(), Digest::of(b"other")).await;
        let before = server.get("/v1/dev/images?reference=a/b:1").await.0;
        let (right, _) = push(&server, image.clone(), digest).await;
        let (after, body) = server.get("/v1/dev/images?reference=a/b:1").await;

        assert_eq!((wrong, before, right, after), (400, 404, 200, 200));
        assert_eq!(
            (&body["digest"], &body["size"]),
            (&digest.to_string().into(), &image.len().into())
        );
        let (_, list) = server.get("/v1/dev/images/list?limit=1").await;
        assert_eq!((&list["images"][0], &list["pagination"]["total"]), (&body, &1.into()));
        let stranger = server.stranger().await;
        let (_, others) = server.call_as(&stranger, Method::GET, "/v1/dev/images/list", None).await;
        assert_eq!(others["images"], serde_json::json!([]));
        let path = "/v1/dev/images?reference=a/b:1";
        assert_eq!(server.call_as(&stranger, Method::HEAD, path, None).await.0, 404);
    }

    #[tokio::test]
    async fn image_is_counted_until_its_last_reference_is_removed() {
        let server = TestServer::open().await;
        let (small, large) = (archive(&layer(b"small")), archive(&layer(&[7; 4_000])));
        let push = async |reference: &str, image: &Vec<u8>| {
            let digest = Digest::of(image);
            let url = format!("{}/v1/dev/images?reference={reference}&digest={digest}", server.url);
            let post =
                server.client.post(url).header("authorization", &server.key).body(image.clone());
            post.send().await.unwrap().status().as_u16()
        };
        let remove = async |reference: &str| {
            let path = format!("/v1/dev/images?reference={reference}");
            server.call(Method::DELETE, &path, None).await.0
        };
        let stored = async || {
            crate::store::storage::holdings::total(&server.app.db, server.workspace).await.unwrap()
        };

        assert_eq!((push("a:1", &small).await, push("b:1", &small).await), (200, 200));
        assert_eq!(stored().await, small.len() as u64);
        assert_eq!(push("b:1", &large).await, 200);
        assert_eq!(stored().await, (small.len() + large.len()) as u64);
        let stranger = server.stranger().await;
        let path = "/v1/dev/images?reference=a:1";
        assert_eq!(server.call_as(&stranger, Method::DELETE, path, None).await.0, 404);
        assert_eq!((remove("a:1").await, remove("a:1").await), (200, 404));
        assert_eq!(stored().await, large.len() as u64);
        assert_eq!(server.get("/v1/dev/images?reference=b:1").await.0, 200);
    }
}
