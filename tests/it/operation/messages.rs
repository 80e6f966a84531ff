//! Messages between nodes and the hub: real swarms over loopback.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use common::compute::resources::Usage;
use common::digest::Digest;
use common::protocol::{
    Contents, Level, LogBatch, LogLine, Orders, Outcome, Output, Receipt, SYNC_BYTES_MAX,
    SignedReceipt, Stream, UnsignedReceipt, sign_together,
};
use common::run::task::Lease;
use libp2p::PeerId;
use node::link::Link;
use tokio_util::sync::CancellationToken;

use harness::services::proxy::Proxy;
use harness::set::{Set, chunk, hub, refusal};
use harness::wait::until;
use harness::world::{World, lease, message};

#[tokio::test]
async fn node_joins_by_its_token_and_its_valid_receipts_arrive() -> Result<()> {
    let set = Set::new().await?;
    set.world.state().token = Some("secret".to_owned());
    let link = set.link("node.key")?;
    let (good, bad) = (lease(1), lease(2));
    let mut sync = message();
    sync.token = Some("secret".to_owned());
    sync.receipts = vec![signed(&link, good, fault())?, signed(&link, bad, fault())?];
    // Its first byte is a length.
    sync.receipts[1].signature[1] ^= 1;

    let orders = link.sync(sync).await?;

    let Orders::Work { settled, .. } = orders else { bail!("refused") };
    assert_eq!(settled, [good]);
    let state = set.world.state();
    assert!(state.nodes.contains_key(&link.peer_id()));
    assert_eq!(state.syncs[0].receipts[0].0.outcome, fault());
    assert_eq!(state.syncs[0].sync.token, None, "the token goes no further than the hub");
    Ok(())
}

#[tokio::test]
async fn unknown_node_gets_a_remedy_and_no_bytes() -> Result<()> {
    let set = Set::new().await?;
    let link = set.link("node.key")?;
    let lease = lease(0);
    let mut sync = message();
    sync.token = Some("guess".to_owned());

    let orders = link.sync(sync).await?;
    let inputs = link.inputs(lease).await;

    let Orders::Refused(text) = orders else { bail!("not refused") };
    assert!(text.contains("--token"), "{text}");
    assert!(refusal(inputs)?.0.contains("not joined"));
    assert!(set.world.state().syncs.is_empty());
    Ok(())
}

#[tokio::test]
async fn success_without_its_results_becomes_the_nodes_fault() -> Result<()> {
    let set = Set::new().await?;
    let held = lease(1);
    let link = set.holder(held, chunk())?;
    let file = set.file(b"result")?;
    link.put(held, 6, Digest::of(b"result"), file.path()).await?;
    let mut sync = message();
    sync.receipts = vec![
        signed(&link, held, success(b"result"))?,
        signed(&link, held, success(b"never stored"))?,
        signed(&link, lease(2), success(b"result"))?,
    ];

    link.sync(sync).await?;

    let state = set.world.state();
    let outcomes: Vec<_> = state.syncs[0].receipts.iter().map(|(r, _)| &r.outcome).collect();
    assert_eq!(*outcomes[0], success(b"result"));
    assert!(matches!(outcomes[1], Outcome::NodeFault { message } if message.contains("out.txt")));
    assert!(matches!(outcomes[2], Outcome::NodeFault { message } if message.contains("lease")));
    Ok(())
}

#[tokio::test]
async fn result_that_travels_with_its_receipt_is_counted_once_and_needs_no_object() -> Result<()> {
    let set = Set::new().await?;
    let (first, second, third) = (lease(1), lease(2), lease(3));
    let link = set.holder(first, chunk())?;
    let node = set.world.join_now(&link.peer_id());
    for held in [second, third] {
        set.world.grant(node, held, chunk());
    }
    let carry = |lease, listed: &[u8], bytes: &[u8]| {
        let mut signed = signed(&link, lease, success(listed))?;
        signed.contents.add(bytes.to_vec())?;
        Ok::<_, anyhow::Error>(signed)
    };
    let good = carry(first, b"small", b"small")?;
    let mut sync = message();
    sync.receipts = vec![good.clone(), good, carry(second, b"small", b"other")?];
    sync.receipts.push(signed(&link, third, success(b"small"))?);

    link.sync(sync).await?;

    let state = set.world.state();
    let receipts = &state.syncs[0].receipts;
    let kept: Vec<_> = receipts.iter().map(|(_, signed)| signed.contents.bytes()).collect();
    assert_eq!(kept, [5, 5, 0, 0]);
    assert_eq!(receipts[0].0.outcome, success(b"small"));
    let fault = |n: usize| match &receipts[n].0.outcome {
        Outcome::NodeFault { message } => message.as_str(),
        other @ (Outcome::Succeeded { .. } | Outcome::Failed { .. }) => panic!("{other:?}"),
    };
    assert!(fault(2).contains("none of its results"), "{}", fault(2));
    // That one of another lease came along does not help.
    assert!(fault(3).contains("is not stored"), "{}", fault(3));
    assert_eq!(state.counted_bytes, 5);
    assert!(state.objects.is_empty());
    Ok(())
}

#[tokio::test]
async fn newer_message_overtakes_one_that_is_held() -> Result<()> {
    let set = Set::new().await?;
    let link = set.link("node.key")?;
    set.world.join_now(&link.peer_id());
    let mut held = message();
    held.wait_ms = 30_000;
    let waiting = tokio::spawn({
        let link = link.clone();
        async move { link.sync(held).await }
    });
    while set.world.state().syncs.is_empty() {
        tokio::task::yield_now().await;
    }

    let newer = link.sync(message()).await;

    assert!(newer.is_ok());
    assert!(waiting.await?.is_ok());
    Ok(())
}

#[tokio::test]
async fn node_reconnects_when_its_server_is_back() -> Result<()> {
    let set = Set::new().await?;
    let first = CancellationToken::new();
    let old = World::default();
    let hub_before = hub(set.folder.path(), "/ip4/127.0.0.1/tcp/0", &old, &first).await?;
    let addresses = hub_before.addresses();
    let link = set.link_to("node.key", addresses.clone())?;
    old.join_now(&link.peer_id());
    link.sync(message()).await?;
    let mut held = message();
    held.wait_ms = 30_000;
    let waiting = tokio::spawn({
        let link = link.clone();
        async move { link.sync(held).await }
    });
    while old.state().syncs.len() < 2 {
        tokio::task::yield_now().await;
    }

    first.cancel();
    hub_before.stopped().await;
    let lost = waiting.await?;
    let (listen, _) = addresses[0].split_once("/p2p/").context("a peer id")?;
    set.world.join_now(&link.peer_id());
    let _hub_after = hub(set.folder.path(), listen, &set.world, &set.stop).await?;
    let found = link.sync(message()).await;

    assert!(lost.is_err_and(|error| error.again()));
    assert!(found.is_ok(), "{found:?}");
    assert_eq!(set.world.state().syncs.len(), 1);
    Ok(())
}

#[tokio::test]
async fn server_with_another_key_is_refused_by_the_node() -> Result<()> {
    let (set, right) = (Set::new().await?, Set::new().await?);
    let address = set.hub.addresses()[0].clone();
    let (listen, _) = address.split_once("/p2p/").context("a peer id")?;
    let wrong = format!("{listen}/p2p/{}", PeerId::random());
    let link = set.link_to("node.key", vec![wrong, right.hub.addresses()[0].clone()])?;
    set.world.join_now(&link.peer_id());
    right.world.join_now(&link.peer_id());

    link.sync(message()).await?;

    assert!(set.world.state().syncs.is_empty());
    assert_eq!(right.world.state().syncs.len(), 1);
    Ok(())
}

#[tokio::test]
async fn message_that_is_too_large_fails_alone() -> Result<()> {
    let set = Set::new().await?;
    let link = set.link("node.key")?;
    set.world.join_now(&link.peer_id());
    let mut huge = message();
    let text = "x".repeat(usize::try_from(SYNC_BYTES_MAX)? + 1);
    let line = LogLine { at_us: 0, level: Level::Unknown, stream: Stream::Out, text };
    let lease = lease(0);
    huge.logs = vec![LogBatch { lease, first: 0, lines: vec![line] }];

    let refused = link.sync(huge).await;
    let next = link.sync(message()).await;

    assert!(refused.is_err());
    assert!(next.is_ok(), "{next:?}");
    assert_eq!(set.world.state().syncs.len(), 1);
    Ok(())
}

fn signed(link: &Link, lease: Lease, outcome: Outcome) -> Result<SignedReceipt> {
    let receipt = Receipt { lease, usage: Usage::default(), outcome };
    let unsigned = vec![UnsignedReceipt::new(&receipt, Contents::default())];
    sign_together(unsigned, |bytes| link.sign(bytes)).pop().context("one receipt was signed")
}

fn success(bytes: &[u8]) -> Outcome {
    let (name, size) = ("out.txt".to_owned(), bytes.len() as u64);
    Outcome::Succeeded {
        outputs: vec![Output { name, size, digest: Digest::of(bytes) }],
        value: None,
    }
}

fn fault() -> Outcome {
    Outcome::NodeFault { message: "no engine".to_owned() }
}

/// Times that the way to the hub is cut while the node asks for something.
const CUTS: usize = 20;
/// A dial on loopback takes much less.
const CUT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn node_dials_no_address_that_its_server_claims() -> Result<()> {
    let set = Set::new().await?;
    let direct = set.hub.addresses().into_iter().next().context("an address")?;
    let port = direct.split('/').nth(4).context("a port")?;
    let proxy = Proxy::start(format!("127.0.0.1:{port}").parse()?).await?;
    let through =
        direct.replace(&format!("/tcp/{port}/"), &format!("/tcp/{}/", proxy.address.port()));
    let link = set.link_to("node.key", vec![through])?;
    for cut in 0..CUTS {
        until("a connection", async || Ok(link.is_connected().then_some(()))).await?;
        // By now the server has said at which addresses it listens.
        link.sync(message()).await?;
        let asks = async {
            loop {
                // Most are refused; what matters is that one is asked as the connection ends.
                let _ = tokio::join!(link.inputs(lease(1)), link.inputs(lease(2)));
                tokio::task::yield_now().await;
            }
        };
        let watches = async {
            proxy.close();
            until("the end of the connection", async || Ok((!link.is_connected()).then_some(())))
                .await?;
            let end = Instant::now() + CUT;
            while Instant::now() < end {
                ensure!(!link.is_connected(), "cut {cut}: it has gone round the proxy");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Ok(())
        };
        tokio::select! {
            () = asks => {}
            watched = watches => watched?,
        }
        proxy.open();
    }
    Ok(())
}
