//! Runs of a workspace that lets their tasks share containers: what they share, and what not.

use common::compute::container::{Content, Network, Profile, Sharing};
use common::compute::resources::Resources;
use common::ids::{RunId, WorkspaceId};
use common::protocol::WorkPackage;
use common::run::task::StageNo;

use super::*;

fn run_no(n: u128, sharing: Sharing) -> Work {
    Work { run: RunId::new(uuid::Uuid::from_u128(n)), sharing, ..work() }
}

fn shared() -> Work {
    run_no(1, Sharing::Workspace)
}

fn with(change: impl FnOnce(&mut Parts)) -> Work {
    let mut parts = parts();
    change(&mut parts);
    Work { container: ContainerSpec::new(parts).unwrap(), ..shared() }
}

fn plain(n: u128) -> Work {
    let container = ContainerSpec::new(Parts { profile: Profile::Plain, ..parts() }).unwrap();
    Work { container, ..run_no(n, Sharing::Workspace) }
}

impl Bench {
    async fn script_of(&self, work: Work, script: &str) -> Ran {
        let script = format!("{PRELUDE}{script}");
        self.run_launch(work, |_| {}, &["/test/package/busybox", "sh", "-c", &script]).await
    }
}

#[tokio::test]
async fn runs_share_a_container_where_their_workspace_allows_it_and_not_else() {
    let Some(bench) = Bench::new().await else { return };
    for (sharing, containers) in [(Sharing::Run, 3), (Sharing::Workspace, 1)] {
        let mut hosts = std::collections::BTreeSet::new();
        for n in [1, 2, 3] {
            let stage = StageNo::new(u32::try_from(n).unwrap());
            let work = Work { stage, ..run_no(n, sharing) };
            hosts.insert(bench.script_of(work, "b cat /etc/hostname").await.text);
        }
        assert_eq!(hosts.len(), containers, "{sharing:?}");
        bench.tools.warm.close().await;
    }
    bench.end().await;
}

#[tokio::test]
async fn container_is_shared_by_no_other_workspace_and_with_no_other_settings() {
    let Some(bench) = Bench::new().await else { return };
    bench.script_of(shared(), "").await.ended.unwrap();
    let path = |text: &str| text.parse().unwrap();
    let owner = WorkspaceId::new(uuid::Uuid::from_u128(99));
    let digest = common::digest::Digest::of(b"other");
    for other in [
        Work { workspace: owner, ..shared() },
        run_no(1, Sharing::Run),
        Work { package: None, ..shared() },
        Work { package: Some(WorkPackage { owner, digest }), ..shared() },
        Work { package: shared().package.map(|of| WorkPackage { owner, ..of }), ..shared() },
        Work { needs: Resources::new(1000, 65).with_disk(10), ..shared() },
        Work { needs: Resources::new(1001, 64).with_disk(10), ..shared() },
        Work { needs: Resources::new(1000, 64).with_disk(11), ..shared() },
        with(|parts| drop(parts.mounts.insert(Content::Results, path("/test/other")))),
        with(|parts| drop(parts.mounts.remove(&Content::SharedCache))),
        with(|parts| parts.shared.push(path("/test/both"))),
        with(|parts| drop(parts.files.insert(path("/test/file"), String::new()))),
        with(|parts| parts.steps[0].working_dir = None),
        with(|parts| parts.profile = Profile::Plain),
        with(|parts| parts.network = Network::Internet),
        with(|parts| parts.isolation = Isolation::Fresh),
    ] {
        assert!(bench.tools.warm.take(&bench.shape(&other)).is_none(), "{other:?}");
    }
    let shape = |image: &str, work: &Work, user: &str| {
        let folders = ["app", user, "shared"].map(|name| bench.dir.path().join(name)).to_vec();
        let image = Image { id: image.to_owned(), ..bench.image.clone() };
        Shape::of(work, &image, Common { folders, cache_bytes_max: None })
    };
    dir_with_mode(&bench.dir.path().join("other"), 0o777).unwrap();
    let own = bench.image.id.as_str();
    for other in [shape("another image", &shared(), "user"), shape(own, &shared(), "other")] {
        assert!(bench.tools.warm.take(&other).is_none(), "{other:?}");
    }
    // What comes with each task is no part of it.
    let next = with(|parts| {
        parts.steps[0].environment = number(9);
        parts.steps[0].name = "other".to_owned();
    });
    let next = Work { secrets: true, task_timeout_secs: Some(1), ..next };
    let taken = bench.tools.warm.take(&shape(own, &next, "user")).expect("it waits for it");
    taken.remove().await;
    bench.end().await;
}

/// Says what is there that the first task of a container with a root of its own finds.
const LOOK: &str = "b ls -A / /dev /etc /root /tmp /dev/shm; b cat /etc/hosts
                    b stat -c '%n %a %u %F' / /etc /tmp /dev /dev/* /dev/shm
                    b cat /proc/1/oom_score_adj; b ls -A $RESULTS; b cat /test/script
                    for p in /proc/[0-9]*; do p=${p#/proc/}; \
                      case $p in 1|$$) ;; *) [ -e /proc/$p/stat ] && echo process $p;; esac; done";

#[tokio::test]
async fn container_with_a_root_of_its_own_has_nothing_of_the_run_before() {
    let Some(bench) = Bench::new().await else { return };
    let clean = bench.script_of(plain(1), LOOK).await.text;
    assert!(clean.contains("/dev/null 666 0") && !clean.contains("process"), "{clean}");
    let container = bench.waiting();
    assert_eq!(container.len(), 1, "the engine shows what a container changes of its root");
    for (n, attack) in (2..).zip([
        "echo x > /tmp/x; b mkdir -p /tmp/a/b; b chmod 000 /tmp/a; echo x > /dev/shm/x",
        "(b setsid $B sleep 600 &); (trap '' TERM HUP INT; b sleep 600 & b sleep 600 &)",
        "b kill -9 1; b kill -STOP 1; b kill -9 -1",
        "echo planted > $RESULTS/planted; echo x > /test/package/x; b rm -rf /.fanfold/supervise",
        "echo x > /proc/1/mem; b cat /proc/1/environ; b mknod /dev/memory c 1 1",
    ]) {
        bench.script_of(plain(n), attack).await.ended.unwrap();

        assert_eq!(bench.script_of(plain(1), LOOK).await.text, clean, "after {attack}");
        assert_eq!(bench.waiting(), container, "{attack} has left nothing");
    }
    bench.end().await;
}

#[tokio::test]
async fn container_whose_own_root_a_task_has_changed_is_thrown_away() {
    let Some(bench) = Bench::new().await else { return };
    let clean = bench.script_of(plain(1), LOOK).await.text;
    for (n, attack) in (2..).zip([
        "echo planted > /planted",
        "b mkdir /root && echo planted > /root/.profile",
        "b mkdir -p /etc; echo planted > /etc/profile",
        "b ln -s /tmp /link",
        "b chmod 777 /",
        "b chmod 700 /tmp",
        "echo planted > /test/planted",
        "b rmdir /tmp",
        "echo planted > /dev/planted",
        "b chmod 600 /dev/null",
        "b rm /dev/zero",
        "b chmod 700 /dev/shm",
        "echo 500 > /proc/1/oom_score_adj",
        "echo 0 > /proc/1/coredump_filter",
        "b chmod 711 $RESULTS",
    ]) {
        let before = bench.waiting();
        assert_eq!(before.len(), 1);
        bench.script_of(plain(n), attack).await.ended.unwrap();

        assert_eq!(bench.waiting(), [""; 0], "it is used again after {attack}");
        assert_eq!(bench.script_of(plain(1), LOOK).await.text, clean, "after {attack}");
    }
    bench.end().await;
}

#[tokio::test]
async fn file_of_a_task_has_its_own_bytes_in_a_container_that_is_shared() {
    let Some(bench) = Bench::new().await else { return };
    for (n, text) in [(1, "a long text of the first run\n"), (2, "second\n"), (3, "third\n")] {
        let file = "/test/script".parse().unwrap();
        let files = BTreeMap::from([(file, text.to_owned())]);
        let container = ContainerSpec::new(Parts { files, ..parts() }).unwrap();
        let work = Work { container, ..run_no(n, Sharing::Workspace) };

        let script = "b cat /test/script; echo x > /test/script; b rm -f /test/script";
        let ran = bench.script_of(work, script).await;

        assert!(ran.text.starts_with(text), "{}", ran.text);
        assert_eq!(bench.waiting().len(), 1);
    }
    bench.end().await;
}
