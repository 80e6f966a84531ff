//! Azure's own language, against a store that checks signatures.

use std::time::Duration;

use common::data::location::Source;
use common::data::object_list::Object;

use crate::data::output::deliver::deliver;
use crate::data::ssrf_guard;
use crate::data::ssrf_guard::Guard;
use crate::data::store_pool::Customers;
use crate::data::testing::azure::AzureServer;
use crate::data::testing::{customer, folder, noise, pace, reader, resolve, result, text};
use crate::secrets::KeyPair;

fn source(server: &AzureServer, path: &str) -> Source {
    Source::Cloud { bucket: server.cloud(), paths: vec![path.to_owned()] }
}

#[tokio::test]
async fn azure_container_is_listed_read_and_linked() {
    let server = AzureServer::start().await;
    server.write("in/a.csv", b"hello");
    server.write("in/b c.csv", b"world");
    server.write("other.csv", b"x");
    let (_folder, ours) = folder().await;
    let source = source(&server, "in/*.csv");
    let reader = reader(&ours, &source, Some(&AzureServer::keys())).await;

    let objects: Vec<Object> = resolve(&reader, &source).await.unwrap().iter().collect();

    let names: Vec<_> = objects.iter().map(|object| object.name.as_str()).collect();
    assert_eq!(names, ["a.csv", "b c.csv"]);
    assert_eq!(text(reader.read(&objects[1], 1..4).await.unwrap()).await.unwrap(), b"orl");
    let direct = reader.direct(&objects[0], Duration::from_secs(60)).await.unwrap().unwrap();
    let client = ssrf_guard::own_client().unwrap();
    let got = client.get(&direct.url).header("range", "bytes=1-2").send().await.unwrap();
    assert_eq!(got.headers()["etag"], direct.version.unwrap().etag.as_str());
    assert_eq!(got.bytes().await.unwrap(), "el");
    let other = direct.url.replace("in/a.csv", "other.csv");
    assert_eq!(client.get(other).send().await.unwrap().status(), 403);
    assert_eq!(client.put(&direct.url).body("x").send().await.unwrap().status(), 403);
    assert_eq!(reader.direct(&objects[1], Duration::from_secs(60)).await.unwrap(), None);
}

#[tokio::test]
async fn azure_errors_for_a_changed_blob_and_wrong_keys_are_reported() {
    let server = AzureServer::start().await;
    server.write("a", b"hello");
    let (_folder, ours) = folder().await;
    let source = source(&server, "a");
    let opened = reader(&ours, &source, Some(&AzureServer::keys())).await;
    let object = resolve(&opened, &source).await.unwrap().get(0).unwrap();

    server.write("a", b"world");

    assert!(
        customer(opened.read(&object, 0..5).await)
            .contains("\"a\" in the bucket \"data\" has changed")
    );
    let wrong = KeyPair { secret_key: "d3Jvbmc=".into(), ..AzureServer::keys() };
    let closed = reader(&ours, &source, Some(&wrong)).await;
    let text = customer(resolve(&closed, &source).await);
    assert!(text.starts_with("secret: ") && !text.contains("d3Jvbmc"), "{text}");
}

#[tokio::test]
async fn results_arrive_complete_in_an_azure_container() {
    let server = AzureServer::start().await;
    let (_folder, ours) = folder().await;
    let customers = Customers::new(Guard::new(true));
    let bucket = customers.bucket(&server.cloud(), Some(&AzureServer::keys())).await.unwrap();
    for len in [0, 10, (9 << 20) + 3] {
        let bytes = noise(len);
        let file = result(&ours, 0, "a.bin", &bytes).await;

        for _ in 0..2 {
            deliver(&ours, &bucket, "/out/", &file, &pace()).await.unwrap();

            assert!(server.read("out/a.bin").unwrap() == bytes, "{len}");
        }
    }
}
