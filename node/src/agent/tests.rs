//! The loop against a server that the test plays, with real containers.

use std::collections::BTreeMap;

use common::digest::Digest;
use common::protocol::{Inputs, Level, Orders, Sync, WorkPackage};
use tokio::task::JoinHandle;

use super::pause::NO_CHANGE_GAP;
use super::*;
use crate::link;
use crate::testing::{Asked, FakeServer, lease, number, opened, script_package, tools, work};

const PATIENCE: Duration = Duration::from_secs(60);

/// A running agent and the server's end of its messages.
struct Play {
    server: FakeServer,
    syncs: mpsc::Receiver<Asked>,
    tools: Arc<Tools<FakeServer>>,
    agent: JoinHandle<Result<(), NotJoined>>,
    stop: CancellationToken,
    package: Digest,
    _dir: tempfile::TempDir,
}

impl Play {
    /// `None` where there is no engine.
    async fn start(script: &str) -> Option<Self> {
        let (server, syncs) = FakeServer::new();
        let dir = tempfile::tempdir().unwrap();
        let tools = tools(&server, dir.path()).await?;
        let archive = script_package(script);
        let package = Digest::of(&archive);
        server.state().package = archive;
        let stop = CancellationToken::new();
        let lending = Lending {
            token: None,
            capacity: Resources::new(1000, 128),
            prefetch: 1,
            device: Device::default(),
            gpus: Vec::new(),
        };
        let agent = tokio::spawn(run(lending, Arc::clone(&tools), stop.clone()));
        Some(Self { server, syncs, tools, agent, stop, package, _dir: dir })
    }

    async fn next(&mut self) -> Asked {
        timeout(PATIENCE, self.syncs.recv())
            .await
            .expect("a sync in time")
            .expect("a running agent")
    }

    /// Answers with nothing until a message is as wanted, and gives that one unanswered.
    async fn until(&mut self, wanted: impl Fn(&Sync) -> bool) -> Asked {
        loop {
            let (sync, answer) = self.next().await;
            if wanted(&sync) {
                return (sync, answer);
            }
            // Not at once, or the test would be a busy loop with the agent.
            tokio::spawn(async move {
                tokio::task::yield_now().await;
                let _ = answer.send(Ok(orders(Vec::new(), Vec::new(), Vec::new())));
            });
        }
    }

    fn assign(&self, indexes: &[u32], cpu_millis: u32) -> Orders {
        let needs = Resources::new(cpu_millis, 64).with_disk(10);
        let package = WorkPackage { owner: crate::testing::WORKSPACE, digest: self.package };
        let work = Work { package: Some(package), needs, ..work() };
        let assign = indexes
            .iter()
            .map(|i| Assignment {
                lease: lease(*i),
                gpu: None,
                inputs: Inputs::File { name: "x".into(), bytes: 0, content: None },
                environment: number(*i),
            })
            .collect();
        Orders::Work {
            works: vec![work],
            assign,
            cancel: Vec::new(),
            settled: Vec::new(),
            logged: Vec::new(),
            probe: false,
        }
    }

    async fn end(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.agent).await.expect("an end in time").expect("a clean end").unwrap();
        assert_eq!(self.tools.engine.remove_leftovers().await.unwrap(), 0);
    }
}

fn orders(assign: Vec<Assignment>, cancel: Vec<Lease>, settled: Vec<Lease>) -> Orders {
    Orders::Work { works: Vec::new(), assign, cancel, settled, logged: Vec::new(), probe: false }
}

/// The same from a server that keeps the lines of the message.
fn keeping(sync: &Sync, mut orders: Orders) -> Orders {
    if let Orders::Work { logged, .. } = &mut orders {
        *logged = sync.logs.iter().map(|batch| (batch.lease, batch.end())).collect();
    }
    orders
}

fn running(sync: &Sync) -> usize {
    sync.holding.iter().filter(|held| held.running_ms.is_some()).count()
}

#[tokio::test]
async fn tasks_run_in_turn_and_are_reported_until_settled() {
    // Both have the workspace's cache: a task that finds the other's folder there is not alone.
    let script = "b mkdir $CACHE/mine || echo not alone; echo line; echo $NUMBER > $RESULTS/n; \
                  b rmdir $CACHE/mine";
    let Some(mut play) = Play::start(script).await else { return };
    let (first, answer) = play.next().await;
    assert!(first.holding.is_empty() && first.receipts.is_empty());
    answer.send(Ok(play.assign(&[0, 1], 1000))).unwrap();

    let mut seen = Vec::new();
    // By their numbers: lines come again until an answer says that they are kept.
    let mut lines = BTreeMap::new();
    // The message before the last may have been on its way when its answer came.
    let [mut settled, mut heard] = [Vec::new(), Vec::new()];
    while seen.len() < 2 {
        let (sync, answer) = play.next().await;
        for batch in &sync.logs {
            let numbers = (batch.first..).map(|number| (batch.lease, number));
            lines.extend(numbers.zip(batch.lines.clone()));
        }
        for receipt in &sync.receipts {
            let receipt = opened(receipt);
            assert!(matches!(receipt.outcome, Outcome::Succeeded { .. }), "{receipt:?}");
            assert!(!heard.contains(&receipt.lease), "settled, and yet sent again");
            if !seen.contains(&receipt.lease) {
                seen.push(receipt.lease);
            }
        }
        heard = std::mem::replace(&mut settled, seen.clone());
        let _ = answer.send(Ok(keeping(&sync, orders(Vec::new(), Vec::new(), settled.clone()))));
    }
    let count = |level, text| {
        lines.values().filter(|line| line.level == level && line.text.starts_with(text)).count()
    };
    assert_eq!(count(Level::Unknown, "not alone"), 0, "one task has the whole node");
    assert_eq!(count(Level::Unknown, ""), 2, "the lines come no later than the receipts");
    for (level, text) in [
        (Level::Info, "task data downloaded"),
        (Level::Info, "image available"),
        (Level::Debug, "gpus requested"),
        (Level::Info, "container is starting"),
        (Level::Info, "container started"),
        (Level::Info, "container exited with code 0"),
    ] {
        assert_eq!(count(level, text), 2, "{text}");
    }

    // An order that was under way when the task was settled changes nothing.
    let (sync, answer) = play.until(|sync| sync.receipts.is_empty()).await;
    assert!(sync.holding.is_empty());
    answer.send(Ok(play.assign(&[0, 1], 1000))).unwrap();
    let (sync, _) = play.next().await;
    assert!(sync.holding.is_empty() && sync.receipts.is_empty());
    assert_eq!(play.server.state().stored.len(), 2);
    play.end().await;
}

#[tokio::test]
async fn urgent_message_overtakes_a_held_answer() {
    let Some(mut play) = Play::start("echo begun; b sleep 600").await else { return };
    let (_, answer) = play.next().await;
    answer.send(Ok(play.assign(&[0], 1000))).unwrap();

    let (_, held) = play.next().await;
    let (sync, urgent) = play.next().await;
    assert_eq!(running(&sync), 1, "the start is said while an answer is held");
    assert!(timeout(Duration::from_millis(300), play.syncs.recv()).await.is_err(), "two at most");
    held.send(Ok(orders(Vec::new(), Vec::new(), Vec::new()))).unwrap();
    urgent.send(Ok(orders(Vec::new(), vec![lease(0)], Vec::new()))).unwrap();

    let (sync, _) = play.until(|sync| sync.holding.is_empty()).await;
    assert!(sync.receipts.is_empty(), "nobody waits for the receipt of a cancelled attempt");
    play.end().await;
}

#[tokio::test]
async fn bucket_outage_and_return_are_reported_while_an_answer_is_held() {
    let Some(mut play) = Play::start("").await else { return };
    let (_, held) = play.next().await;

    for is_away in [true, false] {
        play.server.bucket_away.send_replace(is_away);
        let (_, answer) = play.next().await;
        answer.send(Ok(orders(Vec::new(), Vec::new(), Vec::new()))).unwrap();
    }

    assert!(timeout(Duration::from_millis(300), play.syncs.recv()).await.is_err(), "no change");
    held.send(Ok(orders(Vec::new(), Vec::new(), Vec::new()))).unwrap();
    play.end().await;
}

#[tokio::test]
async fn task_that_is_too_large_is_given_back() {
    let Some(mut play) = Play::start("").await else { return };
    let (_, answer) = play.next().await;
    answer.send(Ok(play.assign(&[0], 1001))).unwrap();

    let (sync, _) = play.until(|sync| !sync.receipts.is_empty()).await;

    let receipt = opened(&sync.receipts[0]);
    assert!(matches!(receipt.outcome, Outcome::NodeFault { .. }), "{receipt:?}");
    play.end().await;
}

#[tokio::test]
async fn lines_are_sent_until_the_server_keeps_them_though_their_receipt_is_settled() {
    let Some(mut play) = Play::start("echo line").await else { return };
    let (_, answer) = play.next().await;
    answer.send(Ok(play.assign(&[0], 1000))).unwrap();
    let texts = |sync: &Sync| {
        let lines = sync.logs.iter().flat_map(|batch| &batch.lines);
        lines.filter(|line| line.level == Level::Unknown).count()
    };

    let (_, answer) = play.until(|sync| !sync.receipts.is_empty()).await;
    answer.send(Ok(orders(Vec::new(), Vec::new(), vec![lease(0)]))).unwrap();
    let (again, answer) = play.until(|sync| texts(sync) > 0).await;
    assert_eq!((again.receipts.len(), texts(&again)), (0, 1));
    answer.send(Ok(keeping(&again, orders(Vec::new(), Vec::new(), Vec::new())))).unwrap();
    let (after, _) = play.next().await;

    assert!(after.logs.is_empty(), "{after:?}");
    play.end().await;
}

#[tokio::test]
async fn work_continues_while_the_server_is_away() {
    let Some(mut play) = Play::start("echo line").await else { return };
    let (_, answer) = play.next().await;
    answer.send(Ok(play.assign(&[0], 1000))).unwrap();

    // Every message is lost until the receipt is there; then the lines are there, too.
    let last = loop {
        let (sync, answer) = play.next().await;
        if !sync.receipts.is_empty() {
            break sync;
        }
        answer.send(Err(link::Error::Disconnected)).unwrap();
    };

    assert_eq!(last.logs[0].first, 0);
    assert!(last.logs[0].lines.iter().any(|line| line.text == "line"));
    assert_eq!(last.incarnation, play.next_incarnation().await);
    play.end().await;
}

#[tokio::test]
async fn agent_that_the_server_refuses_ends_with_the_reason() {
    let Some(mut play) = Play::start("").await else { return };
    let (_, answer) = play.next().await;

    answer.send(Ok(Orders::Refused("make a new token".to_owned()))).unwrap();

    let end = timeout(PATIENCE, play.agent).await.expect("an end in time").expect("a clean end");
    assert_eq!(end, Err(NotJoined("make a new token".to_owned())));
}

impl Play {
    async fn next_incarnation(&mut self) -> u64 {
        self.next().await.0.incarnation
    }
}

#[tokio::test]
async fn stop_kills_running_tasks() {
    let Some(mut play) = Play::start("b sleep 600").await else { return };
    let (_, answer) = play.next().await;
    answer.send(Ok(play.assign(&[0], 1000))).unwrap();
    play.until(|sync| running(sync) == 1).await;

    play.end().await;
}

#[tokio::test]
async fn repeated_order_makes_no_busy_loop() {
    let Some(mut play) = Play::start("b sleep 600").await else { return };
    let (_, answer) = play.next().await;
    answer.send(Ok(play.assign(&[0], 1000))).unwrap();
    let (_, answer) = play.until(|sync| running(sync) == 1).await;

    let cancel = || orders(Vec::new(), vec![lease(0)], Vec::new());
    answer.send(Ok(cancel())).unwrap();
    let (start, mut repeated) = (Instant::now(), 0);
    loop {
        let (sync, answer) = play.next().await;
        if sync.holding.is_empty() {
            break;
        }
        repeated += 1;
        // The asker may have been overtaken.
        let _ = answer.send(Ok(cancel()));
    }

    let pauses = start.elapsed().as_millis() / NO_CHANGE_GAP.as_millis();
    assert!(repeated <= pauses + 2, "{repeated} messages in {:?}", start.elapsed());
    play.end().await;
}

#[tokio::test]
async fn probe_is_answered_once_and_repeated_until_acknowledged() {
    let Some(mut play) = Play::start("true").await else { return };
    let asks = || Orders::Work {
        works: Vec::new(),
        assign: Vec::new(),
        cancel: Vec::new(),
        settled: Vec::new(),
        logged: Vec::new(),
        probe: true,
    };
    let (first, answer) = play.next().await;
    assert_eq!(first.probe, None);
    answer.send(Ok(asks())).unwrap();

    let (_, lost) = play.until(|sync| sync.probe == Some(Probe::Passed)).await;
    lost.send(Err(link::Error::Disconnected)).unwrap();
    let (again, answer) = play.next().await;
    answer.send(Ok(orders(Vec::new(), Vec::new(), Vec::new()))).unwrap();
    let (after, _) = play.next().await;

    assert_eq!((again.probe, after.probe), (Some(Probe::Passed), None));
    play.end().await;
}
