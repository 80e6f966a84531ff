//! Bytes between nodes and the hub: real swarms over loopback.

use std::path::Path;

use anyhow::{Result, ensure};
use bytes::Bytes;
use common::digest::Digest;
use common::protocol::{BlobReply, BlobRequest, FRAME_BYTES_MAX, frame};
use common::run::spec::result_name;
use common::testing::PROCESS;
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use node::link::Link;
use server::coordinator::leases::LiveInputs;
use server::data::bucket::blob_key::BlobKey;
use server::store::market::tasks::{OutputView, TaskOutputs};
use tokio::io::AsyncReadExt as _;

use harness::peer::Peer;
use harness::set::{Set, chunk, refusal};
use harness::world::{lease, table};

#[tokio::test]
async fn chunk_is_read_from_any_offset() -> Result<()> {
    let set = Set::new().await?;
    let lease = lease(1);
    let link = set.holder(lease, chunk())?;
    set.world.state().source = Bytes::from_static(b"0123456789");

    for (from, bytes) in [(0, "4567"), (3, "7"), (4, "")] {
        let got = read(&link, BlobRequest::Input { lease, n: 0, from }).await?;
        assert_eq!(got, bytes.as_bytes());
    }
    for (n, from) in [(0, 5), (0, u64::MAX), (1, 0)] {
        let answer = link.fetch(BlobRequest::Input { lease, n, from }).await;
        assert!(!refusal(answer)?.1, "no use to ask again");
    }
    assert_eq!(link.inputs(lease).await?[0].size, 4);
    Ok(())
}

#[tokio::test]
async fn package_has_its_digest() -> Result<()> {
    let set = Set::new().await?;
    let lease = lease(1);
    let link = set.holder(lease, chunk())?;
    let digest = Digest::of(b"package");
    set.world.state().objects.insert(BlobKey::Package(digest), Bytes::from_static(b"package"));

    let fetched = link.fetch(BlobRequest::Package { lease, from: 3 }).await?;
    let image = link.fetch(BlobRequest::Image { lease, n: 0, from: 0 }).await;

    assert_eq!((fetched.bytes, fetched.digest), (4, Some(digest)));
    assert_eq!(read(&link, BlobRequest::Package { lease, from: 3 }).await?, b"kage");
    assert!(!refusal(image)?.1);
    Ok(())
}

#[tokio::test]
async fn lease_of_another_node_opens_nothing() -> Result<()> {
    let set = Set::new().await?;
    let held = lease(1);
    let _holder = set.holder(held, chunk())?;
    let thief = set.link("thief.key")?;
    set.world.join_now(&thief.peer_id());
    let file = set.file(b"forged")?;

    let list = thief.inputs(held).await;
    let bytes = thief.fetch(BlobRequest::Input { lease: held, n: 0, from: 0 }).await;
    let package = thief.fetch(BlobRequest::Package { lease: held, from: 0 }).await;
    let put = thief.put(held, 6, Digest::of(b"forged"), file.path()).await;

    let told = [list.err(), bytes.err(), package.err(), put.err()];
    assert!(told.iter().all(|told| matches!(told, Some(node::link::Error::Outdated))), "{told:?}");
    assert!(set.world.state().objects.is_empty());
    Ok(())
}

#[tokio::test]
async fn result_is_stored_once_and_only_with_its_digest() -> Result<()> {
    let set = Set::new().await?;
    let lease = lease(1);
    let link = set.holder(lease, chunk())?;
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| i.to_le_bytes()[i as usize % 3]).collect();
    let (size, digest) = (bytes.len() as u64, Digest::of(&bytes));
    let (file, forged) = (set.file(&bytes)?, set.file(&vec![0; bytes.len()])?);

    let wrong = link.put(lease, size, digest, forged.path()).await;
    let short = link.put(lease, size + 1, digest, file.path()).await;
    assert!(set.world.state().objects.is_empty());
    link.put(lease, size, digest, file.path()).await?;
    link.put(lease, size, digest, Path::new("/nowhere")).await?;
    let huge = link.put(lease, u64::MAX, digest, file.path()).await;

    assert!(refusal(wrong)?.0.contains("digest"));
    assert!(short.is_err());
    assert!(!refusal(huge)?.1);
    let state = set.world.state();
    assert_eq!(state.objects[&BlobKey::Result { lease, digest }], bytes);
    Ok(())
}

#[tokio::test]
async fn lease_stores_no_more_than_an_attempt_may() -> Result<()> {
    const HALF: u64 = 8 << 30;

    let set = Set::new().await?;
    let lease = lease(1);
    let link = set.holder(lease, chunk())?;
    let file = set.file(b"small")?;
    let live = set.world.state().leases.values().next().cloned().unwrap();
    // As if another file were on its way.
    assert!(live.stored.reserve(HALF + 1, 10, u64::MAX));

    let second = link.put(lease, HALF, Digest::of(b"huge"), file.path()).await;
    link.put(lease, 5, Digest::of(b"small"), file.path()).await?;

    assert!(!refusal(second)?.1);
    // What broke off takes no room.
    let broken = link.put(lease, HALF - 6, Digest::of(b"x"), file.path()).await;
    assert!(broken.is_err());
    live.stored.give_back(HALF + 1);
    assert!(live.stored.reserve(2 * HALF - 5, 3, 2 * HALF));
    Ok(())
}

#[tokio::test]
async fn simultaneous_streams_all_succeed() -> Result<()> {
    let set = Set::new().await?;
    let lease = lease(0);
    let inputs = LiveInputs::Chunk { table: table(1_000_000, 1_000_000), index: 0 };
    let link = set.holder(lease, inputs)?;
    set.world.state().source = vec![7; 1_000_000].into();

    let reads = (0..50).map(|_| read(&link, BlobRequest::Input { lease, n: 0, from: 0 }));
    for bytes in futures::future::join_all(reads).await {
        assert_eq!(bytes?.len(), 1_000_000);
    }
    Ok(())
}

#[tokio::test]
async fn assembler_sees_all_results_in_order() -> Result<()> {
    const TASKS: u32 = 3000;
    const FILES: u32 = (TASKS - 199) * 3;

    let set = Set::new().await?;
    let held = lease(0);
    let link = set.holder(held, LiveInputs::Results { stage: PROCESS, tasks: TASKS })?;
    let output = |index, name: &str| OutputView {
        lease: lease(index),
        name: name.to_owned(),
        size: 1,
        digest: Digest::of(b"x"),
    };
    let long = "x".repeat(255);
    // The first tasks wrote nothing: a page of such tasks is not the end.
    let results = (0..TASKS).map(|i| TaskOutputs {
        index: i,
        files: match i {
            1..200 => vec![],
            _ => vec![output(i, "b"), output(i, "a"), output(i, &long)],
        },
    });
    set.world.state().results = results.collect();
    let last = lease(TASKS - 1);
    let key = BlobKey::Result { lease: last, digest: Digest::of(b"x") };
    set.world.state().objects.insert(key, Bytes::from_static(b"x"));

    let list = link.inputs(held).await?;
    let bytes = read(&link, BlobRequest::Input { lease: held, n: FILES - 2, from: 0 }).await?;
    let beyond = link.fetch(BlobRequest::Input { lease: held, n: FILES, from: 0 }).await;

    let names: Vec<_> = list.iter().map(|file| &*file.name).collect();
    assert_eq!(names.len(), FILES as usize);
    assert_eq!(names[0], result_name(0, TASKS, "a"));
    assert_eq!(names[names.len() - 2], result_name(TASKS - 1, TASKS, "b"));
    assert!(names.iter().all(|name| name.len() <= 255));
    assert!(names.iter().step_by(3).is_sorted());
    assert_eq!(bytes, b"x");
    assert!(!refusal(beyond)?.1);
    Ok(())
}

#[tokio::test]
async fn redirect_is_followed_by_range() -> Result<()> {
    let set = Set::new().await?;
    let lease = lease(1);
    let link = set.holder(lease, chunk())?;
    let (url, asked) = serve_once("206 Partial Content", b"567").await?;
    set.world.state().url = Some(url);

    let bytes = read(&link, BlobRequest::Input { lease, n: 0, from: 1 }).await?;

    assert_eq!(bytes, b"567");
    let asked = asked.await?.to_ascii_lowercase();
    assert!(asked.contains("range: bytes=5-7") && asked.contains("if-match: \"1\""), "{asked}");
    Ok(())
}

#[tokio::test]
async fn bucket_with_a_changed_file_is_not_read() -> Result<()> {
    let set = Set::new().await?;
    let lease = lease(1);
    let link = set.holder(lease, chunk())?;
    let input = BlobRequest::Input { lease, n: 0, from: 1 };
    for status in ["412 Precondition Failed", "206 Partial Content\r\netag: \"2\""] {
        set.world.state().url = Some(serve_once(status, b"567").await?.0);

        let (message, again) = refusal(link.fetch(input.clone()).await)?;

        assert!(message.contains("the file \"data.csv\" has changed"), "{message}");
        assert!(!again);
    }
    Ok(())
}

#[tokio::test]
async fn bucket_with_a_wrong_answer_is_an_error() -> Result<()> {
    let set = Set::new().await?;
    let lease = lease(1);
    let link = set.holder(lease, chunk())?;
    let input = BlobRequest::Input { lease, n: 0, from: 1 };
    let statuses = [("200 OK", false), ("403 Forbidden", false), ("503 Service Unavailable", true)];
    for (status, good_to_ask_again) in statuses {
        set.world.state().url = Some(serve_once(status, b"0123456789").await?.0);

        let (message, again) = refusal(link.fetch(input.clone()).await)?;

        assert_eq!(again, good_to_ask_again, "{message}");
    }
    set.world.state().url = Some(serve_once("206 Partial Content", b"5").await?.0);
    assert!(read(&link, input).await.is_err(), "fewer bytes than announced");
    Ok(())
}

#[tokio::test]
async fn invalid_frames_end_their_stream_only() -> Result<()> {
    let set = Set::new().await?;
    let lease = lease(1);
    let link = set.holder(lease, chunk())?;
    let mut peer = Peer::call(&set.hub).await?;
    set.world.join_now(&peer.id.to_string());
    let too_long = u32::try_from(FRAME_BYTES_MAX)? + 1;
    let mut trailing = frame::encode(&BlobRequest::Inputs { lease })?;
    trailing.push(0);
    trailing[3] += 1;

    for sent in [&too_long.to_be_bytes()[..], &[0, 0, 0, 2, 0xff, 0xff], &trailing] {
        let mut stream = peer.stream().await?;
        stream.write_all(sent).await?;
        stream.flush().await?;
        let mut answer = Vec::new();
        // However the stream ends, it gave nothing.
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.is_empty(), "{sent:?}");
    }
    assert_eq!(link.inputs(lease).await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn flood_of_streams_is_refused_and_others_are_served() -> Result<()> {
    let set = Set::new().await?;
    let lease = lease(1);
    let link = set.holder(lease, chunk())?;
    let mut peer = Peer::call(&set.hub).await?;
    set.world.join_now(&peer.id.to_string());
    // Eight silent streams take all places of their peer.
    let mut silent = Vec::new();
    let mut answer = None;
    while answer.is_none() && silent.len() < 40 {
        let mut stream = peer.stream().await?;
        if silent.len() >= 8 {
            stream.write_all(&frame::encode(&BlobRequest::Inputs { lease })?).await?;
            stream.flush().await?;
            let mut bytes = Vec::new();
            if stream.read_to_end(&mut bytes).await.is_ok() && bytes.len() > frame::HEAD_BYTES {
                answer = Some(frame::decode::<BlobReply>(&bytes[frame::HEAD_BYTES..])?);
            }
        }
        silent.push(stream);
    }

    let inputs = link.inputs(lease).await;

    assert!(matches!(answer, Some(BlobReply::Refused { again: true, .. })), "{answer:?}");
    assert_eq!(inputs?.len(), 1);
    Ok(())
}

async fn read(link: &Link, request: BlobRequest) -> Result<Vec<u8>> {
    let mut fetched = link.fetch(request).await?;
    let mut bytes = Vec::new();
    fetched.reader.read_to_end(&mut bytes).await?;
    ensure!(bytes.len() as u64 == fetched.bytes, "as many bytes as announced");
    Ok(bytes)
}

/// An http server for one request: its URL, and what it was asked.
async fn serve_once(
    status: &'static str,
    body: &'static [u8],
) -> Result<(String, tokio::task::JoinHandle<String>)> {
    use tokio::io::AsyncWriteExt as _;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/object?signature=x", listener.local_addr()?);
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client connects");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a client sends its head"));
        }
        let answer = format!(
            "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let answer = [answer.as_bytes(), body].concat();
        stream.write_all(&answer).await.expect("a client takes the answer");
        String::from_utf8(head).expect("a head is text")
    });
    Ok((url, asked))
}
