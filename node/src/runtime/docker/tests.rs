//! Against the real engine, with an image made from scratch and Debian's static busybox. Where
//! either is missing the tests say so and pass.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use common::compute::resources::{Metering, Resources, Usage};
use common::digest::Digest;
use common::plan::Image as From;
use common::protocol::Work;
use common::run::task::Lease;

use super::*;
use crate::attempt::Tools;
use crate::runtime::launch::{self, Folders};
use crate::storage::caches::Mounted;
use crate::testing::{BUSYBOX, FakeServer, PRELUDE, lease, number, tools, work};

mod images;
mod tenants;

/// A node, and the pieces of one container.
struct Bench {
    tools: Arc<Tools<FakeServer>>,
    dir: tempfile::TempDir,
    stop: CancellationToken,
}

impl Bench {
    async fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let tools = tools(&FakeServer::new().0, dir.path()).await?;
        Some(Self { tools, dir, stop: CancellationToken::new() })
    }

    fn docker(&self) -> &Docker {
        &self.tools.engine
    }

    async fn image(&self, image: &From) -> Result<Image, Error> {
        let work = Work { images: vec![image.clone()], ..work() };
        let folder = self.dir.path();
        let mut images = self.docker().images(&work, &self.tools.remote, lease(0), folder).await?;
        Ok(images.remove(0))
    }

    fn folder(&self, name: &str) -> PathBuf {
        let folder = self.dir.path().join(name);
        if !folder.exists() {
            fs::create_dir(&folder).unwrap();
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        }
        folder
    }

    /// A container that runs `script`.
    fn launch(&self, lease: Lease, script: &str) -> Launch {
        let (app, inputs, results) =
            (self.folder("app"), self.folder("inputs"), self.folder("results"));
        fs::write(app.join("run"), format!("{PRELUDE}{script}")).unwrap();
        fs::set_permissions(app.join("run"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::copy(BUSYBOX, app.join("busybox")).unwrap();
        let caches = Mounted::of_tests(&self.folder("user"), &self.folder("shared"), 4 << 20);
        let files = self.dir.path().join("files");
        let folders = Folders {
            app: Some(&app),
            inputs: &inputs,
            results: &results,
            files: &files,
            shared: &files,
            caches: Some(&caches),
        };
        let share = crate::testing::share(10 << 20);
        let work = Work { task_timeout_secs: None, ..work() };
        let environment = number(lease.task.index);
        let launches = launch::launches(lease, &work, &environment, folders, &share).unwrap();
        launches.steps.into_iter().next().unwrap()
    }

    async fn run(&self, launch: &Launch) -> Result<Ended, Error> {
        let image = self.image(&From::Binary).await?;
        self.docker().whole(launch, &image, &self.tools.logs, || {}, &self.stop).await
    }

    /// Runs a script as a task and gives how it ended and what it wrote.
    async fn script(&self, script: &str) -> (Ending, String) {
        let launch = self.launch(lease(3), script);
        let ended = self.run(&launch).await.unwrap();
        (ended.ending, self.text())
    }

    fn text(&self) -> String {
        let batches = self.tools.logs.batches();
        let lines = batches.into_iter().flat_map(|batch| batch.lines);
        lines.map(|line| line.text + "\n").collect()
    }
}

impl Docker {
    /// All of a container's life.
    async fn whole(
        &self,
        launch: &Launch,
        image: &Ready,
        logs: &LogBook,
        started: impl FnOnce() + Send,
        stop: &CancellationToken,
    ) -> Result<Ended, Error> {
        let mut made = self.make(launch, image).await?;
        let ended = self.run(&mut made, launch, image, logs, started, stop).await;
        self.remove(&made).await;
        ended
    }
}

#[tokio::test]
async fn container_finds_the_files_and_variables_of_its_launch() {
    let Some(bench) = Bench::new().await else { return };
    fs::write(bench.folder("inputs").join("data"), "hello").unwrap();

    let (ending, text) = bench
        .script(
            "b tr a-z A-Z < $INPUTS/data > $RESULTS/out.txt
             echo $PARAMS $NUMBER $HOME; b pwd
             echo to the error stream >&2; printf unended",
        )
        .await;

    assert_eq!(ending, Ending::Exited(0));
    for line in [r#"{"case":"upper"} 3 /tmp"#, "/test/package", "to the error stream", "unended"] {
        assert!(text.lines().any(|l| l == line), "{line:?} is not in {text:?}");
    }
    assert_eq!(fs::read(bench.folder("results").join("out.txt")).unwrap(), b"HELLO");
}

#[tokio::test]
async fn container_can_write_to_its_results_and_to_tmp_only() {
    let Some(bench) = Bench::new().await else { return };

    let (ending, text) = bench
        .script(
            "for d in / /test /test/package /test/shared $INPUTS /etc /dev; do
               if (echo x > $d/x) 2>/dev/null; then echo wrote $d; fi
             done
             echo x > $RESULTS/x && echo x > /tmp/x && echo fine
             b id; b grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status
             b ls /sys/class/net; b nc -w 2 1.1.1.1 53 < /dev/null || echo no network
             b mount -t tmpfs none /tmp 2>/dev/null || echo no mount
             b chown 0:0 /tmp/x 2>/dev/null || echo no chown",
        )
        .await;

    assert_eq!(ending, Ending::Exited(0), "{text}");
    assert!(!text.contains("wrote"), "{text}");
    assert!(!text.contains("uid=0") && text.contains("uid="), "{text}");
    for line in ["fine", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"]
    {
        assert!(text.lines().any(|l| l == line), "{line:?} is not in {text}");
    }
    for line in ["Seccomp:\t2", "lo", "no network", "no mount", "no chown"] {
        assert!(text.lines().any(|l| l == line), "{line:?} is not in {text}");
    }
    assert!(!text.contains("eth0"), "{text}");
}

#[tokio::test]
async fn memory_beyond_the_limit_is_an_out_of_memory() {
    let Some(bench) = Bench::new().await else { return };

    let (ending, _) = bench.script("b tail -c 200m /dev/zero | b wc -c; exit 7").await;
    assert_eq!(ending, Ending::OutOfMemory);
}

#[tokio::test]
async fn exit_codes_are_passed_on() {
    let Some(bench) = Bench::new().await else { return };

    assert_eq!(bench.script("exit 41").await.0, Ending::Exited(41));
    assert_eq!(bench.script("exit 139").await.0, Ending::Exited(139));
    // Nobody can tell this from a kill.
    assert_eq!(bench.script("exit 137").await.0, Ending::Killed(137));
}

/// Runs a container until its first line, then does something to it from outside.
async fn interfered(timeout_secs: u64, command: &[&str]) -> Option<Result<Ended, Error>> {
    let bench = Bench::new().await?;
    let mut launch = bench.launch(lease(0), "b cat /etc/hostname; b sleep 600");
    launch.timeout = Some(Duration::from_secs(timeout_secs));
    let outside = async {
        let id = loop {
            match bench.text().lines().next() {
                Some(id) => break id.to_owned(),
                None => sleep(Duration::from_millis(20)).await,
            }
        };
        let docker = tokio::process::Command::new("docker").args(command).arg(&id).output().await;
        assert!(docker.unwrap().status.success());
    };

    Some(tokio::join!(bench.run(&launch), outside).0)
}

#[tokio::test]
async fn container_ended_from_outside_is_reported_as_such() {
    for (command, endings) in [
        (&["kill"][..], &[Ending::Killed(137)][..]),
        (&["stop", "-t", "0"], &[Ending::Killed(137)]),
        // The engine may answer before or after it has forgotten the container.
        (
            &["rm", "-f"],
            &[Ending::Killed(137), Ending::Lost("its container was removed from outside")],
        ),
    ] {
        let Some(ended) = interfered(300, command).await else { return };
        let ending = ended.unwrap().ending;

        assert!(endings.contains(&ending), "{command:?}: {ending:?}");
    }
}

#[tokio::test]
async fn container_paused_from_outside_until_its_timeout_is_the_nodes_fault() {
    let Some(ended) = interfered(4, &["pause"]).await else { return };

    assert_eq!(ended.unwrap().ending, Ending::Lost("its container was paused from outside"));
}

#[tokio::test]
async fn container_removed_before_it_runs_is_the_nodes_fault() {
    let Some(bench) = Bench::new().await else { return };
    let launch = bench.launch(lease(0), "");
    let image = bench.image(&From::Binary).await.unwrap();
    let mut made = bench.docker().make(&launch, &image).await.unwrap();
    bench.docker().remove(&made).await;

    let (logs, stop) = (&bench.tools.logs, &bench.stop);
    let ran = bench.docker().run(&mut made, &launch, &image, logs, || {}, stop).await;

    assert!(matches!(ran, Err(Error::Removed("the container"))), "{ran:?}");
    let gone = Image { id: format!("sha256:{}", Digest::of(b"gone")), ..image };
    let result = bench.docker().make(&launch, &gone).await;
    assert!(matches!(result, Err(Error::Removed("the image"))), "{result:?}");
}

#[tokio::test]
async fn work_of_any_length_is_metered_by_counters() {
    let Some(bench) = Bench::new().await else { return };
    if bench.docker().cgroups.group().is_none() {
        println!("skipped: this node can make no control groups");
        return;
    }
    let burn = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
    for (script, busy) in [("", false), (burn, true), ("b sleep 1", false)] {
        let launch = bench.launch(lease(0), script);
        let start = Instant::now();

        let Ended { ending, usage } = bench.run(&launch).await.unwrap();

        assert_eq!((ending, usage.metering), (Ending::Exited(0), Metering::Counters), "{usage:?}");
        assert!(usage.wall_ms > 0 && u128::from(usage.wall_ms) < start.elapsed().as_millis());
        assert!(usage.memory_peak_bytes > 0 && usage.memory_peak_bytes <= 64 << 20, "{usage:?}");
        let full = Usage::full(launch.needs, usage.wall_ms);
        assert!(usage.cpu_ms <= full.cpu_ms, "{usage:?}");
        assert!(usage.memory_mib_ms < full.memory_mib_ms, "{usage:?}");
        if script.contains("sleep") {
            assert!(usage.wall_ms >= 1000 && usage.cpu_ms < 500, "{usage:?}");
        }
        assert!(!busy || usage.cpu_ms > 20, "{usage:?}");
    }
    assert_eq!(bench.docker().remove_leftovers().await.unwrap(), 0);
}

#[tokio::test]
async fn container_is_killed_at_its_timeout_and_metered() {
    let Some(bench) = Bench::new().await else { return };
    let mut launch = bench.launch(lease(0), "echo on; while :; do :; done");
    launch.timeout = Some(Duration::from_secs(2));

    let Ended { ending, usage } = bench.run(&launch).await.unwrap();

    assert_eq!(ending, Ending::Timeout);
    assert_eq!(bench.text(), "on\n");
    assert!((2000..4000).contains(&usage.wall_ms), "{usage:?}");
    assert!(usage.cpu_ms > 100 && usage.cpu_ms <= usage.wall_ms, "{usage:?}");
    assert!(usage.memory_mib_ms < Usage::full(launch.needs, usage.wall_ms).memory_mib_ms);
}

#[tokio::test]
async fn container_stops_on_request_and_leaves_nothing() {
    let Some(bench) = Bench::new().await else { return };
    let launch = bench.launch(lease(0), "b sleep 600");
    let image = bench.image(&From::Binary).await.unwrap();

    let started = || bench.stop.cancel();
    let ended =
        bench.docker().whole(&launch, &image, &bench.tools.logs, started, &bench.stop).await;

    assert_eq!(ended.unwrap().ending, Ending::Stopped);
    assert_eq!(bench.docker().remove_leftovers().await.unwrap(), 0);
}

#[tokio::test]
async fn processes_are_limited() {
    let Some(bench) = Bench::new().await else { return };

    let script = "i=0; while [ $i -lt $N ]; do b sleep 60 & i=$((i+1)); done; echo all started";
    // Each is a shell and its program.
    for (n, all) in [(700, true), (1600, false)] {
        let mut launch = bench.launch(lease(n), script);
        launch.needs = Resources::new(1000, 1024);
        launch.env.push(format!("N={n}"));

        bench.run(&launch).await.unwrap();

        let text = bench.text();
        assert_eq!(text.contains("all started"), all, "{n}: {text}");
    }
}

#[tokio::test]
async fn memory_may_be_shared_memory_and_temporary_files() {
    let Some(bench) = Bench::new().await else { return };
    let script = "b dd if=/dev/zero of=/dev/shm/x bs=1M count=300 && b rm /dev/shm/x && \
                  b dd if=/dev/zero of=/tmp/x bs=1M count=300";
    let mut launch = bench.launch(lease(0), script);
    launch.needs = Resources::new(1000, 400);

    let ended = bench.run(&launch).await.unwrap();

    assert_eq!(ended.ending, Ending::Exited(0), "{}", bench.text());
}

#[tokio::test]
async fn results_beyond_the_limit_stop_the_container() {
    let Some(bench) = Bench::new().await else { return };

    let (ending, _) =
        bench.script("for i in 1 2 3; do b truncate -s 9M $RESULTS/$i; done; b sleep 600").await;

    assert_eq!(ending, Ending::TooMuchWritten);
}

#[tokio::test]
async fn huge_file_is_cut_off_by_the_kernel() {
    let Some(bench) = Bench::new().await else { return };

    let script = "b dd if=/dev/zero of=$RESULTS/x bs=1M count=50";
    let mut launch = bench.launch(lease(0), script);
    // A file of its memory may be as large as that.
    launch.needs = Resources::new(1000, 8);

    let ending = bench.run(&launch).await.unwrap().ending;

    assert!(!matches!(ending, Ending::Exited(0)), "{ending:?}");
    assert!(fs::metadata(bench.folder("results").join("x")).unwrap().len() <= 10 << 20);
}

#[tokio::test]
async fn entrypoint_that_cannot_start_is_the_packages_fault() {
    let Some(bench) = Bench::new().await else { return };
    for command in ["python3", "/test/package/missing", "/test/package"] {
        let mut launch = bench.launch(lease(0), "");
        launch.entry = Entry::Commands(vec![vec!["sh".into()], vec![command.into()]]);

        let result = bench.run(&launch).await;

        assert!(matches!(result, Err(Error::Unusable(_))), "{command}: {result:?}");
    }
    assert_eq!(bench.docker().remove_leftovers().await.unwrap(), 0);
}

#[tokio::test]
async fn second_command_runs_where_the_first_is_missing() {
    let Some(bench) = Bench::new().await else { return };
    let mut launch = bench.launch(lease(0), "echo second");
    let Entry::Commands(commands) = &mut launch.entry else { panic!("{launch:?}") };
    commands.insert(0, vec!["python3".into(), "x".into()]);

    assert_eq!(bench.run(&launch).await.unwrap().ending, Ending::Exited(0));
    assert_eq!(bench.text(), "second\n");
}

#[tokio::test]
async fn leftovers_of_a_killed_node_are_removed_and_others_stay() {
    let Some(bench) = Bench::new().await else { return };
    let Some(other) = Bench::new().await else { return };
    let launch = bench.launch(lease(0), "b sleep 600");
    let image = bench.image(&From::Binary).await.unwrap();
    for node in [&bench, &other] {
        let made = node.docker().make(&launch, &image).await.unwrap();
        node.docker().begin(&made).await.unwrap();
    }

    assert_eq!(bench.docker().remove_leftovers().await.unwrap(), 1);
    assert_eq!(bench.docker().remove_leftovers().await.unwrap(), 0);
    assert_eq!(other.docker().remove_leftovers().await.unwrap(), 1);
}

#[tokio::test]
async fn container_with_a_missing_mount_is_the_nodes_fault() {
    let Some(bench) = Bench::new().await else { return };
    bench.docker().probe(bench.dir.path()).await.unwrap();
    let mut launch = bench.launch(lease(0), "");
    let image = bench.image(&From::Binary).await.unwrap();
    launch.mounts[0].host = bench.dir.path().join("gone");

    let result = bench.docker().whole(&launch, &image, &bench.tools.logs, || {}, &bench.stop).await;

    assert!(matches!(result, Err(Error::Engine { .. })), "{result:?}");
    assert_eq!(bench.docker().remove_leftovers().await.unwrap(), 0);
}
