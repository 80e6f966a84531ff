//! Attacks on the node's disk, in real containers.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::tests::lived_with;
use super::*;
use crate::testing::{FakeServer, tools};

/// Lives an attempt that may write 10 MiB; `None` where there is no engine.
async fn lived(script: &str) -> Option<(Receipt, Arc<Tools<FakeServer>>, tempfile::TempDir)> {
    let (server, _) = FakeServer::new();
    let dir = tempfile::tempdir().unwrap();
    let tools = tools(&server, dir.path()).await?;
    let receipt = lived_with(&tools, &server, script).await;
    assert!(!tools.disk.is_shared());
    Some((receipt, tools, dir))
}

#[tokio::test]
async fn files_removed_and_kept_open_count_as_written() {
    let script = "for n in 1 2 3; do
          eval \"exec $((n + 2))> $RESULTS/x\"; b rm $RESULTS/x
          eval \"b dd if=/dev/zero bs=1M count=8 >&$((n + 2))\" || exit 9
        done
        b sleep 50";
    let Some((receipt, ..)) = lived(script).await else { return };

    let Outcome::Failed { failure, message } = receipt.outcome else { panic!("{receipt:?}") };
    assert_eq!(failure, Failure::Results);
    assert!(message.contains("disk space"), "{message}");
}

#[tokio::test]
async fn file_length_is_limited_to_the_disk_of_the_task() {
    let script = "b truncate -s 100M $RESULTS/x && exit 0; exit 8";
    let Some((receipt, ..)) = lived(script).await else { return };

    let Outcome::Failed { failure, .. } = receipt.outcome else { panic!("{receipt:?}") };
    // A program that goes on after the signal is refused.
    assert!(matches!(failure, Failure::ExitCode(8)), "{failure:?}");
}

#[tokio::test]
async fn results_of_exactly_the_requested_size_are_stored() {
    let script = "b dd if=/dev/zero of=$RESULTS/x bs=1M count=9; b ln $RESULTS/x $RESULTS/y
        b rm $RESULTS/y; b sleep 1";
    let Some((receipt, ..)) = lived(script).await else { return };

    assert!(matches!(receipt.outcome, Outcome::Succeeded { .. }), "{receipt:?}");
}

#[tokio::test]
async fn cache_left_too_full_is_cleared_when_its_container_ends() {
    // 4 MiB are for a workspace, and a quarter of it stays for the next container.
    let script = "b dd if=/dev/zero of=$CACHE/x bs=1M count=3
        echo kept > $CACHE/y; b dd if=/dev/zero of=$CACHE/z bs=1k count=512";
    let Some((_, tools, _dir)) = lived(script).await else { return };

    let left = crate::disk::count::tree(&tools.data_dir.caches());
    assert!(left < 1 << 20, "{left} bytes");
    assert!(tools.caches.bytes() < 1 << 20);
}

#[tokio::test]
async fn cache_filled_by_another_container_ends_its_container() {
    let script = "for n in 1 2 3 4 5; do b dd if=/dev/zero of=$CACHE/$n bs=1M count=1; done
        b sleep 50";
    let Some((receipt, tools, _dir)) = lived(script).await else { return };

    let Outcome::Failed { failure, .. } = receipt.outcome else { panic!("{receipt:?}") };
    assert_eq!(failure, Failure::Results);
    assert!(crate::disk::count::tree(&tools.data_dir.caches()) < 1 << 20);
}

#[tokio::test]
async fn input_larger_than_the_offered_disk_is_refused_before_the_download() {
    let (server, _) = FakeServer::new();
    let dir = tempfile::tempdir().unwrap();
    let Some(tools) = tools(&server, dir.path()).await else { return };
    server.state().input_size = Some(1 << 40);
    let began = Instant::now();

    let receipt = lived_with(&tools, &server, "exit 0").await;

    let Outcome::NodeFault { message } = receipt.outcome else { panic!("{receipt:?}") };
    assert!(message.contains("1048586 MiB"), "{message}");
    assert_eq!(server.state().fetches, 0);
    assert!(began.elapsed().as_secs() < 30);
}

#[tokio::test]
async fn packages_and_caches_are_removed_to_free_disk_for_a_task() {
    let (server, _) = FakeServer::new();
    let dir = tempfile::tempdir().unwrap();
    let Some(mut tools) = tools(&server, dir.path()).await else { return };
    let fill = "b dd if=/dev/zero of=$CACHE/x bs=1M count=2";
    let first = lived_with(&tools, &server, fill).await;
    assert!(matches!(first.outcome, Outcome::Succeeded { .. }), "{first:?}");
    let kept = room::kept(&tools);
    assert!(kept > 0 && fs::read_dir(tools.data_dir.packages()).unwrap().count() == 1);
    // Room for a task and one package.
    let limits = crate::disk::Limits { budget: (10 << 20) + kept, keep_free: 0 };
    let disk = Disk::open(dir.path(), limits).unwrap();
    Arc::get_mut(&mut tools).unwrap().disk = disk;

    let second = lived_with(&tools, &server, "exit 0 # second").await;

    assert!(!matches!(second.outcome, Outcome::Failed { .. }), "{second:?}");
    assert!(room::kept(&tools) + (10 << 20) <= limits.budget);
    assert_eq!(fs::read_dir(tools.data_dir.packages()).unwrap().count(), 1);
}

#[tokio::test]
async fn container_that_fails_while_the_disk_is_full_is_not_at_fault() {
    let (server, _) = FakeServer::new();
    let dir = tempfile::tempdir().unwrap();
    let Some(mut tools) = tools(&server, dir.path()).await else { return };
    let free = Arc::new(AtomicU64::new(1 << 30));
    let disk = Disk::told(dir.path(), crate::testing::DISK, Arc::clone(&free)).unwrap();
    Arc::get_mut(&mut tools).unwrap().disk = disk;
    let logs = tools.logs.clone();
    let filling = tokio::spawn(async move {
        let runs = || logs.batches().iter().any(|b| b.lines.iter().any(|l| l.text == "up"));
        while !runs() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        free.store(0, Ordering::Relaxed);
    });

    let receipt = lived_with(&tools, &server, "echo up; b sleep 4; exit 1").await;

    filling.await.unwrap();
    let Outcome::NodeFault { message } = receipt.outcome else { panic!("{receipt:?}") };
    assert!(message.contains("disk"), "{message}");
}
