//! Against the real engine, as in `docker/tests.rs`. Where it is missing the tests say so and pass.

use std::collections::BTreeMap;
use std::process::Output;
use std::sync::atomic::{AtomicU32, Ordering};

use common::compute::container::{ContainerSpec, Parts};
use common::protocol::Work;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::attempt::Tools;
use crate::files::tree::dir_with_mode;
use crate::guest::ESCAPE_KIT;
use crate::runtime::launch::{self, Folders};
use crate::runtime::{Ended, Ending, Entry};
use crate::storage::caches::Mounted;
use crate::testing::{BUSYBOX, FakeServer, lease, number, parts, tools, work};

mod alike;
mod attacks;
mod life;
mod sharing;
mod wire;

/// What scripts begin with: there is nothing else in the image.
const PRELUDE: &str = "B=/test/package/busybox; b() { $B \"$@\"; }\n";

/// A node, and what its tasks have in common.
struct Bench {
    tools: Arc<Tools<FakeServer>>,
    dir: tempfile::TempDir,
    image: Image,
    stop: CancellationToken,
    tasks: AtomicU32,
}

/// What came of a task.
#[derive(Debug)]
struct Ran {
    ended: Result<Ended, Error>,
    text: String,
    results: BTreeMap<String, Vec<u8>>,
}

impl Ran {
    fn ending(&self) -> Ending {
        self.ended.as_ref().unwrap().ending
    }
}

impl Bench {
    async fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let tools = tools(&FakeServer::new().0, dir.path()).await?;
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root can make control groups");
            return None;
        }
        let image = tools.engine.scratch().await.unwrap();
        let app = dir.path().join("app");
        dir_with_mode(&app, 0o755).unwrap();
        for (name, bytes) in [("busybox", &fs::read(BUSYBOX).unwrap()[..]), ("escape", ESCAPE_KIT)]
        {
            fs::write(app.join(name), bytes).unwrap();
            fs::set_permissions(app.join(name), Permissions::from_mode(0o755)).unwrap();
        }
        for name in ["user", "shared"] {
            dir_with_mode(&dir.path().join(name), 0o777).unwrap();
        }
        let (stop, tasks) = (CancellationToken::new(), AtomicU32::new(0));
        Some(Self { tools, dir, image, stop, tasks })
    }

    fn shape(&self, work: &Work) -> Shape {
        let folders = ["app", "user", "shared"].map(|name| self.dir.path().join(name)).to_vec();
        Shape::of(work, &self.image, Common { folders, cache_bytes_max: None })
    }

    /// The folders of a new task, with an input.
    fn places(&self, work: &Work) -> Places {
        let n = self.tasks.fetch_add(1, Ordering::Relaxed);
        let folder = self.dir.path().join(format!("task-{n}"));
        let places = Places {
            inputs: folder.join("inputs"),
            results: folder.join("results"),
            shared: Vec::new(),
            spare: folder.join("spare"),
            spec: work.container.clone(),
        };
        for path in [&folder, &places.inputs] {
            dir_with_mode(path, 0o755).unwrap();
        }
        let (workspace, profile) = (work.workspace, work.container.profile);
        self.tools.engine.writable_dir(&places.results, workspace, profile).unwrap();
        fs::write(places.inputs.join("data"), format!("input {n}\n")).unwrap();
        places
    }

    fn launch(&self, work: &Work, places: &Places, command: &[&str]) -> Launch {
        let path = |name: &str| self.dir.path().join(name);
        let caches = Mounted::of_tests(&path("user"), &path("shared"), 4 << 20);
        let (app, files) = (path("app"), path("files"));
        let folders = Folders {
            app: Some(&app),
            inputs: &places.inputs,
            results: &places.results,
            files: &files,
            shared: &files,
            caches: Some(&caches),
        };
        fs::write(app.join("run"), "run").unwrap();
        let share = crate::testing::share(10 << 20);
        let launches = launch::launches(lease(0), work, &number(3), folders, &share).unwrap();
        let mut launch = launches.steps.into_iter().next().unwrap();
        let words = command.iter().map(|word| (*word).to_owned()).collect();
        launch.entry = Entry::Commands(vec![words]);
        launch
    }

    /// A container of this work, that waits or is made.
    async fn warm(&self, work: &Work) -> Warm {
        let shape = self.shape(work);
        if let Some(warm) = self.tools.warm.take(&shape) {
            return warm;
        }
        let (pool, engine) = (&self.tools.warm, &self.tools.engine);
        let made = pool.make(engine, &shape, work, &self.image, |home| {
            let (inputs, results, spec) = (home.inputs(), home.results(), work.container.clone());
            let spare = self.dir.path().join("spare");
            let places = Places { inputs, results, shared: Vec::new(), spare, spec };
            let mut launch = self.launch(work, &places, &["none"]);
            let files = self.dir.path().join("files");
            for mount in &mut launch.mounts {
                if let Ok(name) = mount.host.strip_prefix(&files) {
                    mount.host = home.files().join(name);
                }
            }
            Ok(launch)
        });
        made.await.unwrap().expect("this machine has such containers")
    }

    async fn run_launch(
        &self,
        work: Work,
        change: impl FnOnce(&mut Launch),
        command: &[&str],
    ) -> Ran {
        let places = self.places(&work);
        let warm = self.warm(&work).await;
        let mut launch = self.launch(&work, &places, command);
        change(&mut launch);
        let (tools, results) = (&self.tools, places.results.clone());
        let ended = warm.run(&tools.engine, &launch, places, &tools.logs, || {}, &self.stop).await;
        Ran { ended, text: self.text(), results: files(&results) }
    }

    async fn command(&self, command: &[&str]) -> Ran {
        self.run_launch(work(), |_| {}, command).await
    }

    /// Runs a script as a task.
    async fn script(&self, script: &str) -> Ran {
        self.script_with(script, |_| {}).await
    }

    async fn script_with(&self, script: &str, change: impl FnOnce(&mut Launch)) -> Ran {
        let script = format!("{PRELUDE}{script}");
        self.run_launch(work(), change, &["/test/package/busybox", "sh", "-c", &script]).await
    }

    fn text(&self) -> String {
        let mut text = String::new();
        while self.tools.logs.any_unsent() {
            let batches = self.tools.logs.batches();
            let lines = batches.into_iter().flat_map(|batch| batch.lines);
            text.extend(lines.map(|line| line.text + "\n"));
        }
        text
    }

    /// The containers that wait for tasks.
    fn waiting(&self) -> Vec<String> {
        self.tools.warm.0.lock().iter().map(|warm| warm.made.id().to_owned()).collect()
    }

    async fn end(self) {
        self.tools.warm.close().await;
        assert_eq!(self.tools.engine.remove_leftovers().await.unwrap(), 0);
        assert_eq!(fs::read_dir(self.tools.data_dir.work()).unwrap().count(), 0);
    }
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    files
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect()
}

fn docker(args: &[&str]) -> Output {
    std::process::Command::new("docker").args(args).output().unwrap()
}
