//! Results that a node puts into the server's bucket itself: real swarms over loopback, and a bucket
//! made by hand.

use anyhow::{Context as _, Result, ensure};
use common::digest::Digest;
use common::protocol::{BlobReply, BlobRequest, frame};
use common::run::task::Lease;
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use server::data::bucket::blob_key::BlobKey;
use server::data::bucket::upload_links::UploadLink;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use harness::peer::Peer;
use harness::set::{Set, chunk};
use harness::world::{World, lease};

/// A bucket that answers one upload with this status, and then has the object where it took it.
/// Gives where to put it; the task gives the request's head.
async fn bucket(world: &World, key: BlobKey, status: u16) -> Result<JoinHandle<Result<String>>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/object?signature=x", listener.local_addr()?);
    world.state().upload_link = Some(UploadLink { url, checksum: "c3Vt".to_owned() });
    let world = world.clone();
    Ok(tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8(head)?.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.context("a length")?.parse()?];
        stream.read_exact(&mut body).await?;
        if status == 200 {
            world.state().objects.insert(key, body.into());
        }
        let answer =
            format!("HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await?;
        Ok(head)
    }))
}

fn key(lease: Lease, bytes: &[u8]) -> BlobKey {
    BlobKey::Result { lease, digest: Digest::of(bytes) }
}

#[tokio::test]
async fn result_is_put_into_the_bucket_with_its_checksum() -> Result<()> {
    let set = Set::new().await?;
    let lease = lease(1);
    let link = set.holder(lease, chunk())?;
    let bytes = vec![7; 1_000_000];
    let asked = bucket(&set.world, key(lease, &bytes), 200).await?;
    let file = set.file(&bytes)?;

    link.put(lease, 1_000_000, Digest::of(&bytes), file.path()).await?;

    let head = asked.await??;
    ensure!(head.starts_with("put /object?signature=x "), "{head}");
    ensure!(head.contains("\r\nx-amz-checksum-sha256: c3vt\r\n"), "{head}");
    let state = set.world.state();
    assert_eq!(state.objects[&key(lease, &bytes)], bytes);
    assert_eq!(state.counted_bytes, 1_000_000);
    Ok(())
}

#[tokio::test]
async fn result_that_the_bucket_does_not_take_is_sent_to_the_server() -> Result<()> {
    for status in [413, 503] {
        let set = Set::new().await?;
        let lease = lease(1);
        let link = set.holder(lease, chunk())?;
        let asked = bucket(&set.world, key(lease, b"bytes"), status).await?;
        let file = set.file(b"bytes")?;

        link.put(lease, 5, Digest::of(b"bytes"), file.path()).await?;
        // For a while nothing more is tried.
        asked.await??;
        let other = set.file(b"other")?;
        link.put(lease, 5, Digest::of(b"other"), other.path()).await?;

        let state = set.world.state();
        assert_eq!(state.objects.len(), 2, "{status}");
        assert_eq!(state.counted_bytes, 0, "what is sent is counted as it is stored");
    }
    Ok(())
}

/// Asks for a place for a file, and reads the reply.
async fn ask(peer: &mut Peer, lease: Lease, size: u64, bytes: &[u8]) -> Result<BlobReply> {
    let put = BlobRequest::Put { lease, size, digest: Digest::of(bytes), direct: true };
    let mut stream = peer.stream().await?;
    stream.write_all(&frame::encode(&put)?).await?;
    stream.flush().await?;
    let mut head = [0; frame::HEAD_BYTES];
    stream.read_exact(&mut head).await?;
    let mut bytes = vec![0; frame::length(head)?];
    stream.read_exact(&mut bytes).await?;
    Ok(frame::decode(&bytes)?)
}

#[tokio::test]
async fn file_that_was_linked_is_counted_once_when_it_is_there() -> Result<()> {
    let set = Set::new().await?;
    let lease = lease(1);
    let mut peer = Peer::call(&set.hub).await?;
    let node = set.world.join_now(&peer.id.to_string());
    set.world.grant(node, lease, chunk());
    let told = UploadLink { url: "http://nowhere/".to_owned(), checksum: String::new() };
    set.world.state().upload_link = Some(told);

    // Neither nothing nor something of another size is taken for the file.
    for there in [None, Some(b"byte")] {
        if let Some(bytes) = there {
            set.world.state().objects.insert(key(lease, b"bytes"), bytes.to_vec().into());
        }
        let reply = ask(&mut peer, lease, 5, b"bytes").await?;
        ensure!(matches!(reply, BlobReply::Upload { .. }), "{reply:?}");
    }
    assert_eq!(set.world.state().counted_bytes, 0, "nothing has come");
    set.world.state().objects.insert(key(lease, b"bytes"), b"bytes".to_vec().into());
    for _ in 0..2 {
        assert_eq!(ask(&mut peer, lease, 5, b"bytes").await?, BlobReply::Stored);
    }

    assert_eq!(set.world.state().counted_bytes, 5);
    // A link is given for no more than an attempt may store.
    let huge = ask(&mut peer, lease, u64::MAX, b"huge").await?;
    ensure!(matches!(huge, BlobReply::Refused { again: false, .. }), "{huge:?}");
    Ok(())
}
