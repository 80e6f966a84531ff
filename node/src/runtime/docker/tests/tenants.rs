//! Two tenants' containers beside each other.

use common::ids::WorkspaceId;
use tokio::time::sleep;

use super::images::{forget, import_with};
use super::*;
use crate::guest::ESCAPE_KIT;

const PROGRAM: &str = "/test/package/escape";

impl Bench {
    /// A container of this workspace that runs a part of the escape kit.
    fn kit(&self, index: u32, workspace: u128, part: &str) -> Launch {
        let mut launch = self.launch(lease(index), "");
        let program = self.folder("app").join("escape");
        if !program.exists() {
            fs::write(&program, ESCAPE_KIT).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        }
        launch.workspace = WorkspaceId::new(uuid::Uuid::from_u128(workspace));
        launch.entry = Entry::Commands(vec![vec![PROGRAM.into(), part.into()]]);
        launch
    }
}

#[tokio::test]
async fn inotify_watches_are_not_shared_between_tenants() {
    let Some(bench) = Bench::new().await else { return };
    let [hog, own, other] = [
        bench.kit(0, 1, "take-watches"),
        bench.kit(1, 1, "limit-watches-of-others"),
        bench.kit(2, 2, "limit-watches-of-others"),
    ];
    let beside = async {
        while !bench.text().contains("taken ") {
            sleep(Duration::from_millis(20)).await;
        }
        let (own, other) = (bench.run(&own).await.unwrap(), bench.run(&other).await.unwrap());
        bench.stop.cancel();
        (own.ending, other.ending)
    };

    let (hogged, (own, other)) = tokio::join!(bench.run(&hog), beside);

    assert_eq!(hogged.unwrap().ending, Ending::Stopped);
    assert_eq!(own, Ending::Exited(1), "the same user has none left");
    assert_eq!(other, Ending::Exited(0));
}

#[tokio::test]
async fn container_runs_as_its_workspaces_user_and_never_as_the_nodes() {
    let Some(bench) = Bench::new().await else { return };
    let own = bench.tools.data_dir.owner().uid;
    let mut users = Vec::new();
    for workspace in [1, 2, 1] {
        let mut launch = bench.launch(lease(0), "b id -u");
        launch.workspace = WorkspaceId::new(uuid::Uuid::from_u128(workspace));
        bench.run(&launch).await.unwrap();
        users.push(bench.text().trim().parse::<u32>().unwrap());
    }

    assert_eq!(users[0], users[2]);
    // Without root's rights, all jobs are the owner's.
    assert!(own != 0 || (users[0] != users[1] && !users.contains(&own)), "{users:?}");
}

#[tokio::test]
async fn image_does_not_set_the_loaders_variables() {
    let Some(bench) = Bench::new().await else { return };
    let name = format!("fanfold-test/loader:{}", uuid::Uuid::new_v4().simple());
    let variables = "ENV LD_PRELOAD=/evil.so NVIDIA_VISIBLE_DEVICES=all LD_AUDIT=/evil.so";
    import_with(&bench.docker().client, &name, variables).await;
    let launch = bench.launch(lease(0), "b env");
    let id = bench.docker().client.inspect_image(&name).await.unwrap().id.unwrap();
    let image = Ready { id, volumes: Vec::new(), held: Arc::default() };

    let ended = bench.docker().whole(&launch, &image, &bench.tools.logs, || {}, &bench.stop).await;

    forget(&bench.docker().client, &name).await;
    let text = bench.text();
    assert_eq!(ended.unwrap().ending, Ending::Exited(0), "{text}");
    for line in ["LD_PRELOAD=", "LD_AUDIT=", "NVIDIA_VISIBLE_DEVICES=void"] {
        assert!(text.lines().any(|l| l == line), "{line:?} is not in {text}");
    }
}
