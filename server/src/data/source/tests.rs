use common::data::location::{Cloud, Provider, UploadedFile};

use super::*;
use crate::data::bucket::upload::Expected;
use crate::data::testing::{
    S3Server, WebServer, answer, customer, folder, noise, range, reader, resolve, stream, text,
    upload, url_source,
};
use crate::secrets::KeyPair;

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn s3_object_is_probed_read_and_linked() {
    let server = S3Server::start().await;
    let bytes = noise(300_000);
    server.write("in/a b+é.bin", &bytes);
    let (_folder, ours) = folder().await;
    let source = server.source(&["/in/a b+é.bin"]);
    let reader = reader(&ours, &source, Some(&S3Server::keys())).await;

    let object = resolve(&reader, &source).await.unwrap().get(0).unwrap();

    assert_eq!((object.name.as_str(), object.size), ("a b+é.bin", 300_000));
    for (from, to) in [(0, 300_000), (0, 1), (299_999, 300_000), (7, 7)] {
        let read = reader.read(&object, from as u64..to as u64).await.unwrap();
        assert!(text(read).await.unwrap() == bytes[from..to]);
    }
    assert!(reader.read(&object, 0..300_001).await.is_err());
    let direct = reader.direct(&object, HOUR).await.unwrap().unwrap();
    let (link, version) = (direct.url, direct.version.unwrap());
    assert_eq!((version.path.as_str(), Some(version.etag)), ("in/a b+é.bin", object.version));
    let client = crate::data::ssrf_guard::own_client().unwrap();
    let answer = client.get(&link).header("range", "bytes=5-9").send().await.unwrap();
    assert_eq!(answer.status(), 206);
    assert_eq!(answer.bytes().await.unwrap()[..], bytes[5..10]);
    let answer = client.get(link.replace("X-Amz-Expires=3600", "X-Amz-Expires=9999"));
    assert_eq!(answer.send().await.unwrap().status(), 403);
}

#[tokio::test]
async fn s3_object_that_changes_is_detected() {
    for changed in [&b"hello, world"[..], b"world"] {
        let server = S3Server::start().await;
        server.write("a", b"hello");
        let (_folder, ours) = folder().await;
        let source = server.source(&["a"]);
        let reader = reader(&ours, &source, Some(&S3Server::keys())).await;
        let object = resolve(&reader, &source).await.unwrap().get(0).unwrap();
        assert!(reader.read(&object, 0..5).await.is_ok());

        server.write("a", changed);

        assert!(customer(reader.read(&object, 0..5).await).contains("\"a\""));
        assert!(customer(reader.read(&object, 0..5).await).contains("has changed"));
    }
}

#[tokio::test]
async fn s3_source_that_cannot_be_read_names_the_field() {
    let server = S3Server::start().await;
    server.write("a", b"hello");
    let (_folder, ours) = folder().await;
    let wrong = KeyPair { secret_key: "hidden".into(), ..S3Server::keys() };
    for (path, keys, field) in [
        ("b", Some(S3Server::keys()), "path: there is no object \"b\""),
        ("a//b", Some(S3Server::keys()), "path: "),
        ("../x", Some(S3Server::keys()), "path: "),
        ("", Some(S3Server::keys()), "path: "),
        ("in/", Some(S3Server::keys()), "path: there is no object in the bucket \"main\""),
        ("in/*.csv", Some(S3Server::keys()), "path: there is no object in the bucket \"main\""),
        ("in/[", Some(S3Server::keys()), "path: \"in/[\" is not a pattern"),
        ("a", Some(wrong.clone()), "secret: the bucket \"main\""),
        ("*", Some(wrong.clone()), "secret: the bucket \"main\""),
        ("in/", Some(wrong), "secret: the bucket \"main\""),
        ("a", None, "secret: the bucket \"main\""),
        ("/", None, "path: "),
    ] {
        let source = server.source(&[path]);
        let reader = reader(&ours, &source, keys.as_ref()).await;

        let text = customer(resolve(&reader, &source).await);

        assert!(text.starts_with(field), "{text}");
        assert!(!text.contains("hidden"), "{text}");
    }
}

#[tokio::test]
async fn url_with_ranges_is_not_copied() {
    let server = WebServer::with_ranges(b"hello".to_vec()).await;
    let (_folder, ours) = folder().await;
    let source = url_source(format!("{}/dir/my%20file.txt?x=1", server.url));
    let reader = reader(&ours, &source, None).await;

    let object = resolve(&reader, &source).await.unwrap().get(0).unwrap();

    assert_eq!((object.name.as_str(), object.size), ("my file.txt", 5));
    assert!(matches!(object.place, Place::Source { .. }));
    assert_eq!(text(reader.read(&object, 1..3).await.unwrap()).await.unwrap(), b"el");
    assert_eq!(reader.direct(&object, HOUR).await.unwrap(), None);
}

#[tokio::test]
async fn uploaded_file_is_read_from_the_servers_bucket() {
    let (_folder, ours) = folder().await;
    let key = BlobKey::Upload(common::ids::JobId::new(uuid::Uuid::from_u128(1)));
    ours.put(&key, Expected::Nothing, stream(b"hello", 2)).await.unwrap();
    let source = upload(&ours, &key, "../in.txt").await;
    let reader = reader(&ours, &source, None).await;

    let object = resolve(&reader, &source).await.unwrap().get(0).unwrap();

    assert_eq!((object.name.as_str(), object.size), (".._in.txt", 5));
    assert_eq!(text(reader.read(&object, 0..5).await.unwrap()).await.unwrap(), b"hello");
    assert_eq!(reader.direct(&object, HOUR).await.unwrap(), None);
    let path = "../../etc/passwd".to_owned();
    let forged =
        Source::File(UploadedFile { key: path, name: "x".into(), size: 1, identity: None });
    assert!(customer(resolve(&reader, &forged).await).contains("upload it again"));
}

#[tokio::test]
async fn uploaded_file_stays_the_completed_one() {
    let (_folder, folder) = folder().await;
    let server = S3Server::start().await;
    for ours in [folder, server.bucket().await] {
        let key = BlobKey::Upload(common::ids::JobId::new(uuid::Uuid::from_u128(1)));
        ours.put(&key, Expected::Nothing, stream(b"hello", 2)).await.unwrap();
        let source = upload(&ours, &key, "in.txt").await;
        let reader = reader(&ours, &source, None).await;
        let object = resolve(&reader, &source).await.unwrap().get(0).unwrap();

        ours.put(&key, Expected::Nothing, stream(b"other", 2)).await.unwrap();

        let read = customer(reader.read(&object, 0..5).await);
        assert!(read.contains("\"in.txt\"") && read.contains("another one"), "{read}");
        assert!(customer(resolve(&reader, &source).await).contains("another one"));
        ours.purge_upload(common::ids::JobId::new(uuid::Uuid::from_u128(1))).await.unwrap();
        assert!(customer(reader.read(&object, 0..5).await).contains("no longer there"));
    }
}

#[tokio::test]
async fn source_of_a_job_without_data_is_one_empty_object() {
    let (_folder, ours) = folder().await;
    let reader = reader(&ours, &Source::Bypass, None).await;

    let object = resolve(&reader, &Source::Bypass).await.unwrap().get(0).unwrap();

    let expected = Object { name: "bypass".into(), size: 0, place: Place::Empty, version: None };
    assert_eq!(object, expected);
    assert!(text(reader.read(&object, 0..0).await.unwrap()).await.unwrap().is_empty());
    assert_eq!(reader.direct(&object, HOUR).await.unwrap(), None);
}

#[tokio::test]
async fn store_that_labels_parts_as_the_whole_is_read() {
    let server = WebServer::start(|head| {
        let etag = ("etag", "\"v\"".to_owned());
        let dated = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT".to_owned());
        match range(head) {
            Some((from, to)) => {
                let part = ("content-range", format!("bytes {from}-{to}/10"));
                answer("200 OK", &[etag, dated, part], &b"0123456789"[from..=to])
            }
            None => answer("200 OK", &[etag, dated], b"0123456789"),
        }
    })
    .await;
    let (_folder, ours) = folder().await;
    let cloud = Cloud {
        provider: Provider::Aws { region: "us-east-1".into() },
        name: "main".into(),
        endpoint: Some(server.url.clone()),
        secret: None,
    };
    let source = Source::Cloud { bucket: cloud, paths: vec!["a".into()] };
    let reader = reader(&ours, &source, None).await;
    let object = resolve(&reader, &source).await.unwrap().get(0).unwrap();

    let read = reader.read(&object, 3..6).await.unwrap();

    assert_eq!(text(read).await.unwrap(), b"345");
}

#[tokio::test]
async fn store_without_ranges_is_distinguished_from_an_unreachable_one() {
    let headers = || {
        let dated = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT".to_owned());
        [("etag", "\"v\"".to_owned()), dated]
    };
    let whole = WebServer::start(move |_| answer("200 OK", &headers(), b"0123456789")).await;
    let short = WebServer::start(move |head| match range(head) {
        Some((from, to)) => {
            let part = ("content-range", format!("bytes {from}-{to}/10"));
            let headers: Vec<_> = headers().into_iter().chain([part]).collect();
            let mut bytes = answer("206 Partial Content", &headers, &b"0123456789"[from..=to]);
            bytes.pop();
            bytes
        }
        None => answer("200 OK", &headers(), b"0123456789"),
    })
    .await;
    for (server, is_customers, words) in [(whole, true, "no parts"), (short, false, "breaks off")] {
        let (_folder, ours) = folder().await;
        let cloud = Cloud {
            provider: Provider::Aws { region: "us-east-1".into() },
            name: "main".into(),
            endpoint: Some(server.url.clone()),
            secret: None,
        };
        let source = Source::Cloud { bucket: cloud, paths: vec!["a".into()] };
        let reader = reader(&ours, &source, None).await;
        let object = resolve(&reader, &source).await.unwrap().get(0).unwrap();

        let read = match reader.read(&object, 3..6).await {
            Ok(bytes) => text(bytes).await,
            Err(error) => Err(error),
        };

        let Err(error) = read else { panic!("{words}") };
        assert_eq!(matches!(error, Error::Customer(_)), is_customers, "{error:?}");
        assert_eq!(matches!(error, Error::Elsewhere(_)), !is_customers, "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
    }
}
