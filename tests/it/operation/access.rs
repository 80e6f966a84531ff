//! What a lease opens beside its data, over real swarms on loopback.

use anyhow::{Result, bail};
use bytes::Bytes;
use common::ids::WorkspaceId;
use common::protocol::{BlobReply, BlobRequest, Cache};
use common::testing::secret;
use server::data::bucket::blob_key::{BlobKey, Whose};
use tokio::io::AsyncReadExt as _;
use uuid::Uuid;

use harness::set::{Set, chunk, refusal};
use harness::world::{WORKSPACE, container, lease, spec_of};

#[tokio::test]
async fn lease_opens_the_secrets_of_its_package_only() -> Result<()> {
    let set = Set::new().await?;
    let (held, link) = (lease(1), set.link("holder.key")?);
    let node = set.world.join_now(&link.peer_id());
    let mut container = container();
    container.secrets = vec!["LISTED".to_owned()];
    set.world.grant_with(node, held, chunk(), spec_of(container));
    let other = WorkspaceId::new(Uuid::from_u128(99));
    for (owner, id) in [(WORKSPACE, "LISTED"), (WORKSPACE, "OTHER"), (other, "LISTED")] {
        let value = secret(id, &format!("{owner} {id}"));
        set.world.state().secrets.insert((owner, id.to_owned()), value);
    }

    let BlobReply::Secrets(got) = link.reply(BlobRequest::Secrets { lease: held }).await? else {
        bail!("no secrets")
    };
    assert_eq!(got, [secret("LISTED", &format!("{WORKSPACE} LISTED"))]);

    let thief = set.link("thief.key")?;
    set.world.join_now(&thief.peer_id());
    for request in
        [BlobRequest::Secrets { lease: held }, BlobRequest::PullToken { lease: held, n: 0 }]
    {
        let refused = thief.reply(request).await;
        assert!(matches!(refused, Err(node::link::Error::Outdated)), "{refused:?}");
    }
    set.world.state().secrets.clear();
    let (message, again) = refusal(link.reply(BlobRequest::Secrets { lease: held }).await)?;
    assert!(message.contains("LISTED") && !again, "{message}");
    Ok(())
}

#[tokio::test]
async fn secrets_that_fit_no_frame_are_refused() -> Result<()> {
    let set = Set::new().await?;
    let (held, link) = (lease(1), set.link("holder.key")?);
    let node = set.world.join_now(&link.peer_id());
    let mut container = container();
    container.secrets = vec!["A".to_owned(), "B".to_owned()];
    set.world.grant_with(node, held, chunk(), spec_of(container));
    for id in ["A", "B"] {
        let large = secret(id, &"x".repeat(30 * 1024));
        set.world.state().secrets.insert((WORKSPACE, id.to_owned()), large);
    }

    let refused = refusal(link.reply(BlobRequest::Secrets { lease: held }).await)?;

    assert!(refused.0.contains("bytes together") && !refused.1, "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn lease_opens_its_workspaces_cache_and_the_shared_one() -> Result<()> {
    let set = Set::new().await?;
    let held = lease(1);
    let link = set.holder(held, chunk())?;
    let other = WorkspaceId::new(Uuid::from_u128(99));
    for (whose, bytes) in [
        (Whose::User(WORKSPACE), "mine"),
        (Whose::User(other), "theirs"),
        (Whose::Everybody, "shared"),
    ] {
        let key = BlobKey::Cached { whose, name: "a/b".to_owned() };
        set.world.state().objects.insert(key, Bytes::from(bytes));
    }
    for (cache, expected) in [(Cache::User, "mine"), (Cache::Shared, "shared")] {
        let files = link.cached(held, cache).await?;
        assert_eq!(files.len(), 1);
        let file = |name: &str, version: &str| BlobRequest::CacheFile {
            lease: held,
            cache,
            name: name.to_owned(),
            version: version.to_owned(),
            from: 1,
        };
        let mut got = String::new();
        let mut fetched = link.fetch(file("a/b", &files[0].version)).await?;
        fetched.reader.read_to_string(&mut got).await?;
        assert_eq!(got, expected[1..]);

        for (name, version) in [
            ("a/b", "other"),
            ("a", &*files[0].version),
            ("../shared/a/b", &*files[0].version),
            (&*format!("../{other}/a/b"), &*files[0].version),
        ] {
            let refused = refusal(link.fetch(file(name, version)).await)?;
            assert!(!refused.1, "{name}: {refused:?}");
        }
    }
    Ok(())
}
