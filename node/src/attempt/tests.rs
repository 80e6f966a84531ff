//! Whole attempts on a server in memory, in real containers.

use common::digest::Digest;
use common::resources::Resources;
use common::spec::Image;
use common::task::Stage;

use super::*;
use crate::testing::{FakeServer, lease, opened, script_package, tools};

/// Lives a whole assemble attempt of `script`; `None` where there is no engine.
async fn lived(server: &FakeServer, script: &str) -> Option<Receipt> {
    let dir = tempfile::tempdir().unwrap();
    let tools = tools(server, dir.path()).await?;
    let archive = script_package(script);
    let lease = lease(Stage::Assemble, 0);
    let work = Arc::new(Work {
        run: lease.task.run,
        stage: Stage::Assemble,
        package: Digest::of(&archive),
        image: Image::Binary,
        entrypoint: "run".into(),
        needs: Resources::new(1000, 64),
        params: "{}".into(),
        task_timeout_secs: Some(60),
    });
    server.state().package = archive;
    let attempt = Attempt { lease, work, inputs: Inputs::Files };
    let (events, mut heard) = mpsc::channel(8);
    let seating = tokio::spawn(async move {
        while let Some(event) = heard.recv().await {
            if let Event::Prepared { seat, .. } = event {
                seat.send(()).unwrap();
            }
        }
    });

    let receipt = run(attempt, Arc::clone(&tools), events, CancellationToken::new()).await;

    seating.await.unwrap();
    assert_eq!(std::fs::read_dir(tools.home.work()).unwrap().count(), 0);
    assert_eq!(tools.engine.remove_leftovers().await.unwrap(), 0);
    Some(opened(&receipt.unwrap()))
}

#[tokio::test]
async fn an_attempt_fetches_runs_and_stores() {
    let (server, _) = FakeServer::new();
    for (name, text) in [("0000000_a", "one "), ("0000001_a", "two "), ("0000002_a", "")] {
        server.state().inputs.insert(name.into(), text.into());
    }
    server.state().put_failures = 1;

    let script = "b mkdir $OUTPUT_DIR/d; b cat $TASK_RESULTS_DIR/* > $OUTPUT_DIR/d/all";
    let Some(receipt) = lived(&server, script).await else { return };

    let Outcome::Succeeded { outputs } = receipt.outcome else { panic!("{receipt:?}") };
    assert_eq!((outputs[0].name.as_str(), outputs[0].size), ("d__all", 8));
    assert_eq!(server.state().stored[&outputs[0].digest], b"one two ");
    assert!(receipt.usage.wall_ms > 0);
}

#[tokio::test]
async fn a_link_among_the_results_gives_nothing_away() {
    let (server, _) = FakeServer::new();
    let script = "b ln -s /etc/shadow $OUTPUT_DIR/x";
    let Some(receipt) = lived(&server, script).await else { return };

    let Outcome::Failed { failure, .. } = receipt.outcome else { panic!("{receipt:?}") };
    assert_eq!(failure, Failure::Results);
    assert!(server.state().stored.is_empty());
}

#[tokio::test]
async fn folders_closed_to_everybody_are_still_removed() {
    let (server, _) = FakeServer::new();
    let script = "b mkdir $OUTPUT_DIR/d; echo x > $OUTPUT_DIR/d/x; b chmod 0 $OUTPUT_DIR/d";
    // Root reads it nevertheless, any other node cannot; both clean up, which `lived` checks.
    lived(&server, script).await;
}

#[tokio::test]
async fn inputs_cannot_be_named_out_of_their_folder() {
    for name in ["../x", "/etc/x", "..", ""] {
        let (server, _) = FakeServer::new();
        server.state().inputs.insert(name.into(), b"x".to_vec());
        let Some(receipt) = lived(&server, "").await else { return };

        assert!(matches!(receipt.outcome, Outcome::NodeFault { .. }), "{name}: {receipt:?}");
    }
}

#[tokio::test]
async fn a_failing_script_is_reported_with_its_code() {
    let (server, _) = FakeServer::new();
    let Some(receipt) = lived(&server, "echo x > $OUTPUT_DIR/x; exit 3").await else { return };

    let Outcome::Failed { failure, .. } = receipt.outcome else { panic!("{receipt:?}") };
    assert_eq!(failure, Failure::ExitCode(3));
    assert!(server.state().stored.is_empty());
}
