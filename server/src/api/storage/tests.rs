use bytes::Bytes;
use common::access::Role;
use common::digest::Digest;
use common::money::credits::Credits;
use reqwest::Method;
use serde_json::json;

use crate::api::testing::{QUOTA_BYTES, TestServer};
use crate::data::bucket::blob_key::BlobKey;
use crate::data::bucket::links::Linked;
use crate::files::holder;
use crate::people::caller;
use crate::store::people::api_keys;

fn name(name: &str) -> Linked<'_> {
    Linked { name, digest: None }
}

async fn upload(server: &TestServer) -> (String, String) {
    server.template("lines", "concat").await;
    let source = json!({"dataSourceDescriptor": "file"});
    let id = server.job(json!({"templateId": "t", "dataSource": source})).await;
    let (_, body) = server.get(&format!("/v1/customer/jobs/{id}")).await;
    (id, body["job"]["dataSource"]["params"]["tempUrl"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn files_are_served_whole_in_parts_and_by_their_head() {
    let server = TestServer::open().await;
    let (id, link) = upload(&server).await;
    assert_eq!(server.client.put(link).body("0123456789").send().await.unwrap().status(), 200);
    let key = BlobKey::Upload(id.parse().unwrap());
    let hour = std::time::Duration::from_secs(3600);
    let holder = holder(&caller::caller(&server.app, Some(&server.key)).await.unwrap());
    let link = server.app.data.download_link(&key, name("ä.txt"), holder, hour);

    let whole = server.client.get(&link).send().await.unwrap();
    let part = server.client.get(&link).header("range", "bytes=2-4").send().await.unwrap();
    let head = server.client.head(&link).send().await.unwrap();
    let beyond = server.client.get(&link).header("range", "bytes=10-").send().await.unwrap();

    assert_eq!(whole.headers()["x-content-type-options"], "nosniff");
    assert_eq!(whole.headers()["content-length"], "10");
    assert_eq!(whole.text().await.unwrap(), "0123456789");
    assert_eq!(part.status(), 206);
    assert_eq!(part.headers()["content-range"], "bytes 2-4/10");
    assert_eq!(part.text().await.unwrap(), "234");
    assert_eq!((head.status().as_u16(), &head.headers()["content-length"]), (200, &10.into()));
    assert_eq!(beyond.status(), 416);
}

/// A link that was made for the holder of this key.
async fn link_of(server: &TestServer, key: &str, file: &BlobKey) -> String {
    let holder = holder(&caller::caller(&server.app, Some(key)).await.unwrap());
    let hours = std::time::Duration::from_secs(48 * 3600);
    server.app.data.download_link(file, name("x"), holder, hours)
}

#[tokio::test]
async fn link_ends_with_the_membership_or_the_key_of_its_owner() {
    let server = TestServer::open().await;
    let (id, link) = upload(&server).await;
    assert_eq!(server.client.put(link).body("0123456789").send().await.unwrap().status(), 200);
    let file = BlobKey::Upload(id.parse().unwrap());
    let (member, first) = server.member(Role::User).await;
    let second = {
        let user = common::ids::UserId::new(member.parse().unwrap());
        api_keys::issue(&server.app.db, server.workspace, user, "second").await.unwrap()
    };
    let links = [
        link_of(&server, &first, &file).await,
        link_of(&server, &second, &file).await,
        link_of(&server, &server.key, &file).await,
    ];
    let served = async || {
        let mut statuses = Vec::new();
        for link in &links {
            statuses.push(server.client.get(link).send().await.unwrap().status().as_u16());
        }
        statuses
    };
    assert_eq!(served().await, [200, 200, 200]);

    let (_, keys) = server.call_as(&first, Method::GET, "/v1/auth/api_keys", None).await;
    let oldest = keys["apiKeys"].as_array().unwrap().last().unwrap()["id"].clone();
    let revoke = format!("/v1/auth/api_keys/{}/revoke", oldest.as_str().unwrap());
    assert_eq!(server.post(&revoke, json!({})).await.0, 200);
    assert_eq!(served().await, [403, 200, 200]);
    let remove = format!("/v1/auth/members/{member}");
    assert_eq!(server.call(Method::DELETE, &remove, None).await.0, 200);

    assert_eq!(served().await, [403, 403, 200]);
}

#[tokio::test]
async fn link_is_valid_for_its_method_and_object_only() {
    let server = TestServer::open().await;
    let (_, link) = upload(&server).await;
    let forged = link.replace("expires=1", "expires=2");

    assert_eq!(server.client.get(&link).send().await.unwrap().status(), 403);
    assert_eq!(server.client.put(&forged).body("x").send().await.unwrap().status(), 403);
    let bare = format!("{}/v1/storage/cGFja2FnZXM", server.url);
    assert_eq!(server.client.get(&bare).send().await.unwrap().status(), 403);
    assert_eq!(server.client.put(&bare).body("x").send().await.unwrap().status(), 403);
}

#[tokio::test]
async fn upload_overtaken_by_the_start_changes_nothing() {
    let server = TestServer::open().await;
    let (id, link) = upload(&server).await;
    let put = |body: reqwest::Body| server.client.put(&link).body(body).send();
    assert_eq!(put("first".into()).await.unwrap().status(), 200);
    let (pieces, body) = tokio::sync::mpsc::channel::<std::io::Result<&'static str>>(1);
    let body = reqwest::Body::wrap_stream(tokio_stream::wrappers::ReceiverStream::new(body));
    let meanwhile = async {
        pieces.send(Ok("sec")).await.unwrap();
        pieces.send(Ok("o")).await.unwrap();
        // The server has taken the first piece, so the upload has begun.
        pieces.send(Ok("nd")).await.unwrap();
        let job = format!("/v1/customer/jobs/{id}");
        assert_eq!(server.call(Method::DELETE, &job, None).await.0, 200);
        drop(pieces);
    };

    let (answer, ()) = tokio::join!(put(body), meanwhile);

    assert!(!answer.unwrap().status().is_success());
    let key = BlobKey::Upload(id.parse().unwrap());
    // The first file went with its draft.
    assert_eq!(server.app.data.size(&key).await.unwrap(), None);
}

#[tokio::test]
async fn upload_for_a_deleted_job_is_refused() {
    let server = TestServer::open().await;
    let (id, link) = upload(&server).await;
    let job = format!("/v1/customer/jobs/{id}");
    assert_eq!(server.call(Method::DELETE, &job, None).await.0, 200);

    assert_eq!(server.client.put(link).body("x").send().await.unwrap().status(), 403);
}

/// Without the packages that tests push.
async fn stored(server: &TestServer) -> u64 {
    let kinds =
        crate::store::storage::holdings::by_kind(&server.app.db, server.workspace).await.unwrap();
    kinds["uploads"]
}

#[tokio::test]
async fn upload_beyond_the_quota_is_refused_before_its_body_is_read() {
    let server = TestServer::open().await;
    let (id, link) = upload(&server).await;
    let put = server.client.put(&link).header("content-length", QUOTA_BYTES + 1);
    let never = futures::stream::pending::<std::io::Result<Bytes>>();

    let answer = put.body(reqwest::Body::wrap_stream(never)).send().await.unwrap();

    assert_eq!(answer.status(), 413);
    let body: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(body["code"], "STORAGE_FULL", "{body}");
    assert!(body["detail"].as_str().unwrap().contains("delete drafts"), "{body}");
    assert_eq!(stored(&server).await, 0);
    assert_eq!(server.client.put(&link).body("0123456789").send().await.unwrap().status(), 200);
    assert_eq!(stored(&server).await, 10);
    let (_, usage) = server.get("/v1/wallet/usage").await;
    assert_eq!(usage["storage"]["byKind"]["uploads"], 10);
    let job = format!("/v1/customer/jobs/{id}");
    assert_eq!(server.call(Method::DELETE, &job, None).await.0, 200);
    let key = BlobKey::Upload(id.parse().unwrap());
    assert_eq!((stored(&server).await, server.app.data.size(&key).await.unwrap()), (0, None));
}

#[tokio::test]
async fn upload_without_a_length_breaks_off_at_the_quota() {
    let server = TestServer::open().await;
    let (id, link) = upload(&server).await;
    let piece = Bytes::from(vec![7; 1 << 20]);
    let pieces = std::iter::repeat_n(piece, 65).map(Ok::<_, std::io::Error>);
    let body = reqwest::Body::wrap_stream(futures::stream::iter(pieces));

    // The server may close before the last piece is sent.
    if let Ok(answer) = server.client.put(&link).body(body).send().await {
        assert_eq!(answer.status(), 413);
    }

    let key = BlobKey::Upload(id.parse().unwrap());
    let settled = async || {
        while stored(&server).await > 0 {
            tokio::task::yield_now().await;
        }
    };
    settled().await;
    assert_eq!(server.app.data.size(&key).await.unwrap(), None);
}

/// Uploads a file and gives a link to it that knows its digest.
async fn known(server: &TestServer, bytes: &str) -> (std::path::PathBuf, String) {
    let (id, link) = upload(server).await;
    let put = server.client.put(link).body(bytes.to_owned()).send().await.unwrap();
    assert_eq!(put.status(), 200);
    let key = BlobKey::Upload(id.parse().unwrap());
    let holder = holder(&caller::caller(&server.app, Some(&server.key)).await.unwrap());
    let hour = std::time::Duration::from_secs(3600);
    let digest = Some(Digest::of(bytes.as_bytes()));
    let linked = Linked { name: "out:1.csv", digest };
    let link = server.app.data.download_link(&key, linked, holder, hour);
    (server.bucket().join(key.path()), link)
}

#[tokio::test]
async fn downloads_carry_their_digest_and_can_be_resumed() {
    let server = TestServer::open().await;
    let (_, link) = known(&server, "0123456789").await;

    let whole = server.client.get(&link).send().await.unwrap();

    let header = |name: &str| whole.headers()[name].to_str().unwrap().to_owned();
    let digest = Digest::of(b"0123456789");
    assert_eq!(header("etag"), format!("\"{digest}\""));
    assert_eq!(
        header("repr-digest"),
        // printf 0123456789 | openssl dgst -sha256 -binary | base64
        "sha-256=:hNiYd/DUBB77a/kaFvAkjy/Vc+avBcGflr7bn4gveII=:"
    );
    assert!(header("content-disposition").contains("out%3A1%2Ecsv"));
    let (etag, modified) = (header("etag"), header("last-modified"));
    let resume = async |validator: &str| {
        let request = server.client.get(&link).header("range", "bytes=4-");
        let answer = request.header("if-range", validator).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(resume(&etag).await, (206, "456789".to_owned()));
    assert_eq!(resume(&modified).await, (206, "456789".to_owned()));
    assert_eq!(resume("\"other\"").await, (200, "0123456789".to_owned()));
    let again = server.client.get(&link).header("if-none-match", &etag).send().await.unwrap();
    assert_eq!(again.status(), 304);
    assert_eq!(again.headers()["etag"], etag);
}

#[tokio::test]
async fn download_of_a_damaged_file_is_an_error_that_names_it() {
    let server = TestServer::open().await;
    let (file, link) = known(&server, "0123456789").await;
    assert_eq!(server.client.get(&link).send().await.unwrap().status(), 200);
    for rotten in ["0123456780", "012345678"] {
        std::fs::write(&file, rotten).unwrap();
        for range in [None, Some("bytes=0-1")] {
            let request = server.client.get(&link);
            let request = match range {
                Some(range) => request.header("range", range),
                None => request,
            };

            let answer = request.send().await.unwrap();

            assert_eq!(answer.status(), 500);
            let body: serde_json::Value = answer.json().await.unwrap();
            assert_eq!(body["code"], "DATA_LOSS", "{body}");
            assert!(body["detail"].as_str().unwrap().contains("out:1.csv"), "{body}");
        }
    }
}

#[tokio::test]
async fn upload_whose_body_is_not_the_plain_file_is_refused_by_its_header() {
    let server = TestServer::open().await;
    let (id, link) = upload(&server).await;
    let other = "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:";
    for (header, value, says) in [
        ("content-encoding", "gzip", "packed with \"gzip\""),
        ("content-encoding", "identity, aws-chunked", "packed with \"aws-chunked\""),
        ("content-range", "bytes 0-4/10", "as a whole"),
        ("content-type", "multipart/form-data; boundary=x", "curl -T"),
        ("content-digest", "sha-256=x", "BASE64"),
        ("content-digest", other, "digest that was announced"),
        ("repr-digest", other, "digest that was announced"),
    ] {
        let put =
            server.client.put(&link).header(header, value).body("hello").send().await.unwrap();

        assert_eq!(put.status(), 400, "{header}");
        let answer: serde_json::Value = put.json().await.unwrap();
        assert!(answer["detail"].as_str().unwrap().contains(says), "{answer}");
        assert!(!server.bucket().join(BlobKey::Upload(id.parse().unwrap()).path()).exists());
    }
    let right = "sha-512=:AAAA:, sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:";
    for (header, value) in [
        ("content-encoding", "identity"),
        ("content-type", "application/x-www-form-urlencoded"),
        ("content-digest", right),
        ("repr-digest", "sha-512=:AAAA:"),
    ] {
        let put =
            server.client.put(&link).header(header, value).body("hello").send().await.unwrap();

        assert_eq!(put.status(), 200, "{header}");
    }
}

#[tokio::test]
async fn upload_that_is_cut_off_is_the_clients_error() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let server = TestServer::open().await;
    let (id, link) = upload(&server).await;
    let url: url::Url = link.parse().unwrap();
    let address = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let head = format!("PUT {target} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n0123");

    socket.write_all(head.as_bytes()).await.unwrap();
    socket.shutdown().await.unwrap();

    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let key = BlobKey::Upload(id.parse().unwrap());
    while stored(&server).await > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.app.data.size(&key).await.unwrap(), None);
}

#[tokio::test]
async fn upload_that_is_too_large_gets_its_answer_before_the_connection_ends() {
    let server = TestServer::open().await;
    let (_, link) = upload(&server).await;
    // A client that reads nothing before it has sent everything.
    let url: url::Url = link.parse().unwrap();
    let address = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    let target = url[url::Position::BeforePath..url::Position::AfterQuery].to_owned();
    let answer = tokio::task::spawn_blocking(move || {
        use std::io::{Read as _, Write as _};

        let mut socket = std::net::TcpStream::connect(address).unwrap();
        let length = QUOTA_BYTES + (1 << 20);
        let head = format!("PUT {target} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
        socket.write_all(head.as_bytes()).unwrap();
        let piece = vec![7; 1 << 20];
        for _ in 0..length >> 20 {
            socket.write_all(&piece).unwrap();
        }
        let mut answer = vec![0; 4096];
        let n = socket.read(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[..n]).into_owned()
    });

    let answer = answer.await.unwrap();

    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

/// A draft whose uploaded file is called complete, and the file in the bucket.
async fn complete(server: &TestServer, bytes: &str) -> (String, std::path::PathBuf) {
    let amount = Credits::from_units(100_000_000_000).unwrap();
    server.app.coordinator.grant(server.workspace, amount, "first").await.unwrap();
    server.template("lines", "concat").await;
    let source = json!({"dataSourceDescriptor": "file", "params": {"name": "sales.csv"}});
    let draft = json!({"templateId": "t", "dataSource": source,
                       "dataDestination": {"dataSourceDescriptor": "bucket"}});
    let id = server.job(draft).await;
    let job = format!("/v1/customer/jobs/{id}");
    let (_, body) = server.get(&job).await;
    let link = body["job"]["dataSource"]["params"]["tempUrl"].as_str().unwrap().to_owned();
    let put = server.client.put(link).body(bytes.to_owned()).send().await.unwrap();
    assert_eq!(put.status(), 200);
    assert_eq!(server.call(Method::PATCH, &format!("{job}/uploadcompleted"), None).await.0, 200);
    let file = server.bucket().join(BlobKey::Upload(id.parse().unwrap()).path());
    (job, file)
}

#[tokio::test]
async fn upload_with_a_wrong_byte_ends_its_run_with_its_name() {
    let server = TestServer::open().await;
    let (job, file) = complete(&server, "a\nb\nc\n").await;
    std::fs::write(&file, "a\nB\nc\n").unwrap();

    let (status, body) = server.post(&format!("{job}/run"), json!({})).await;

    assert_eq!(status, 200, "{body}");
    let (_, body) = server.get(&format!("{job}?wait=60")).await;
    assert_eq!(body["job"]["state"], "JOB_STATE_FAILED");
    let message = body["job"]["errorMessage"].as_str().unwrap();
    assert!(message.contains("sales.csv") && message.contains("is damaged"), "{message}");
    let (_, balance) = server.get("/v1/wallet/balance").await;
    assert_eq!(balance["totalBalance"], balance["availableBalance"]);
}

#[tokio::test]
async fn upload_in_a_copied_bucket_is_still_accepted() {
    let server = TestServer::open().await;
    let (job, file) = complete(&server, "a\nb\nc\n").await;
    // Another inode, and another time.
    let copy = file.with_extension("copy");
    std::fs::copy(&file, &copy).unwrap();
    std::fs::rename(&copy, &file).unwrap();

    let (status, body) = server.post(&format!("{job}/run"), json!({})).await;

    assert_eq!(status, 200, "{body}");
    // There is no node: it gets as far as its chunks.
    loop {
        let (_, body) = server.get(&job).await;
        let state = body["job"]["state"].as_str().unwrap();
        assert_ne!(state, "JOB_STATE_FAILED", "{body}");
        if state == "JOB_STATE_PARTITIONED" {
            break;
        }
        tokio::task::yield_now().await;
    }
}
