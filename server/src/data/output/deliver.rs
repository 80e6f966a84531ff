//! Copying final files to the customer's bucket.

use futures::{StreamExt as _, TryStreamExt as _};

use super::assemble;
use crate::data::bucket::Bucket;
use crate::data::bucket::upload;
use crate::data::bucket::upload::{Expected, Target};
use crate::data::cloud::{At, CloudBucket};
use crate::data::pace::Pace;
use crate::data::{Error, ResultFile, Stored};

/// Writes a file under the destination's folder. An object of the same name is replaced, so doing
/// it twice gives the same.
pub async fn deliver(
    ours: &Bucket,
    destination: &CloudBucket,
    folder: &str,
    file: &ResultFile,
    pace: &Pace,
) -> Result<(), Error> {
    let key = [folder.trim_matches('/'), &file.name].join("/");
    let key = key.trim_start_matches('/');
    let At { store, path } = destination.at(key)?;
    let expected = match file.digest {
        Some(digest) => Expected::Stored(Stored { size: file.size, digest }),
        None => Expected::Size(file.size),
    };
    // A failure of our own bucket must not be taken for one of the customer's.
    let bytes = assemble::open_unchecked(ours, file)
        .await?
        .map_err(|error| error.map_store(|error| Error::Io(std::io::Error::other(error))));
    let counted = pace.clone();
    let bytes = bytes.inspect_ok(move |piece| counted.passed(piece.len() as u64)).boxed();
    pace.name(&destination.server);
    let put = upload::put(store.as_ref(), Target::Cloud, &path, expected, bytes);
    match pace.answer(put).await? {
        Ok(_) => Ok(()),
        Err(Error::Store(error)) => Err(destination.explain_write(&error, key)),
        // Only what was read of our own bucket can be wrong: a destination fails as a store.
        Err(Error::Mismatch) => Err(Error::Damaged(file.name.clone())),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use common::data::location::Cloud;
    use common::digest::Digest;

    use super::*;
    use crate::data::bucket::blob_key::BlobKey;
    use crate::data::file_name;
    use crate::data::ssrf_guard::Guard;
    use crate::data::store_pool::Customers;
    use crate::data::testing::{
        RUN, S3Server, WebServer, answer, customer, folder, noise, pace, result,
    };
    use crate::secrets::KeyPair;

    #[tokio::test]
    async fn file_is_delivered_below_the_folder_and_again_unchanged() {
        let server = S3Server::start().await;
        let (_folder, ours) = folder().await;
        let customers = Customers::new(Guard::new(true));
        for (folder, len) in [("out/2026/", 10), ("/out/2026", (8 << 20) + 3), ("", 7)] {
            let keys = S3Server::keys();
            let bucket = customers.bucket(&server.cloud(), Some(&keys)).await.unwrap();
            let bytes = noise(len);
            let file = result(&ours, 0, "a.bin", &bytes).await;

            for _ in 0..2 {
                deliver(&ours, &bucket, folder, &file, &pace()).await.unwrap();

                let path = [folder.trim_matches('/'), "a.bin"].join("/");
                let arrived = server.read(path.trim_start_matches('/'));
                assert!(arrived.unwrap() == bytes);
            }
        }
    }

    #[tokio::test]
    async fn file_is_delivered_under_the_name_of_the_results() {
        let server = S3Server::start().await;
        let (_folder, ours) = folder().await;
        let bucket = Customers::new(Guard::new(true))
            .bucket(&server.cloud(), Some(&S3Server::keys()))
            .await
            .unwrap();
        for name in ["2026-11-28T08:15:00.json", "100% #1 *?.txt", "é~[1]{2}|<>.x"] {
            let file = result(&ours, 0, name, b"x").await;
            assert_eq!(file.name, name);

            deliver(&ours, &bucket, "out", &file, &pace()).await.unwrap();

            assert_eq!(server.read(&format!("out/{name}")).unwrap(), b"x");
        }
    }

    #[tokio::test]
    async fn damaged_file_is_not_delivered() {
        let server = S3Server::start().await;
        let (_folder, ours) = folder().await;
        let customers = Customers::new(Guard::new(true));
        let bucket = customers.bucket(&server.cloud(), Some(&S3Server::keys())).await.unwrap();
        for len in [10, (8 << 20) + 3] {
            let file = result(&ours, 0, "a.bin", &noise(len)).await;
            let file = ResultFile { digest: Some(Digest::of(b"other")), ..file };

            let delivered = deliver(&ours, &bucket, "out", &file, &pace()).await;

            assert!(matches!(delivered, Err(Error::Damaged(_))), "{len}: {delivered:?}");
            assert!(server.read("out/a.bin").is_none(), "{len}");
        }
    }

    #[tokio::test]
    async fn destination_failure_is_named_with_its_answer() {
        let busy = WebServer::start(|_| {
            answer("501 Not Implemented", &[], b"<Error><Code>SlowDown</Code></Error>")
        })
        .await;
        let cloud = Cloud { endpoint: Some(busy.url.clone()), ..S3Server::start().await.cloud() };
        let (_folder, ours) = folder().await;
        let customers = Customers::new(Guard::new(true));
        let bucket = customers.bucket(&cloud, Some(&S3Server::keys())).await.unwrap();
        let file = result(&ours, 0, "a", b"x").await;

        let delivered = deliver(&ours, &bucket, "out", &file, &pace()).await;

        let Err(Error::Elsewhere(text)) = delivered else { panic!("{delivered:?}") };
        assert!(text.contains("\"main\" at 127.0.0.1"), "{text}");
        assert!(text.contains("501 Not Implemented (SlowDown)"), "{text}");
    }

    #[tokio::test]
    async fn result_name_cannot_leave_the_folder() {
        let server = S3Server::start().await;
        let (_folder, ours) = folder().await;
        let bucket = Customers::new(Guard::new(true))
            .bucket(&server.cloud(), Some(&S3Server::keys()))
            .await
            .unwrap();
        let file = result(&ours, 0, "../../evil", b"x").await;

        deliver(&ours, &bucket, "out", &file, &pace()).await.unwrap();

        let name = file_name::of_result("../../evil");
        assert!(name.starts_with(".._.") && name.ends_with("_evil"));
        assert_eq!(server.read(&format!("out/{name}")).unwrap(), b"x");
        assert!(
            customer(deliver(&ours, &bucket, "../out", &file, &pace()).await).starts_with("path:")
        );
    }

    #[tokio::test]
    async fn bucket_refusal_is_the_customers_error() {
        let server = S3Server::start().await;
        let (_folder, ours) = folder().await;
        let customers = Customers::new(Guard::new(true));
        let file = result(&ours, 0, "a", b"x").await;
        let large = result(&ours, 1, "b", &noise(9 << 20)).await;
        let wrong = KeyPair { secret_key: "wrong".into(), ..S3Server::keys() };
        for (keys, field) in
            [(Some(wrong), "secret: the bucket \"main\""), (None, "secret: the bucket \"main\"")]
        {
            for file in [&file, &large] {
                let bucket = customers.bucket(&server.cloud(), keys.as_ref()).await.unwrap();

                let text = customer(deliver(&ours, &bucket, "out", file, &pace()).await);

                assert!(text.starts_with(field), "{text}");
                assert!(!text.contains("wrong") && !text.contains("very/secret"), "{text}");
            }
        }
    }

    #[tokio::test]
    async fn missing_bucket_is_the_customers_error() {
        let server = WebServer::start(|_| {
            answer("404 Not Found", &[], b"<Error><Code>NoSuchBucket</Code></Error>")
        })
        .await;
        let cloud = Cloud { endpoint: Some(server.url.clone()), ..S3Server::start().await.cloud() };
        let (_folder, ours) = folder().await;
        let customers = Customers::new(Guard::new(true));
        let bucket = customers.bucket(&cloud, Some(&S3Server::keys())).await.unwrap();
        let file = result(&ours, 0, "a", b"x").await;

        let text = customer(deliver(&ours, &bucket, "", &file, &pace()).await);

        assert!(text.starts_with("bucket: there is no bucket \"main\""), "{text}");
    }

    #[tokio::test]
    async fn missing_file_of_the_server_is_not_the_customers_error() {
        let server = S3Server::start().await;
        let (_folder, ours) = folder().await;
        let customers = Customers::new(Guard::new(true));
        let bucket = customers.bucket(&server.cloud(), Some(&S3Server::keys())).await.unwrap();
        let mut file = result(&ours, 0, "a", b"x").await;
        file.key = BlobKey::Final { run: RUN, name: "gone".into() };

        let delivered = deliver(&ours, &bucket, "", &file, &pace()).await;

        assert!(matches!(delivered, Err(Error::Damaged(_))), "{delivered:?}");
    }
}
