//! A container engine of a test's own, which can be killed. As root only.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tempfile::TempDir;

use super::process::tail;
use crate::say::say;
use crate::wait::until;

const DAEMON: &str = "/usr/sbin/dockerd";

/// Everything of it lies below one folder; dropping it stops it.
#[derive(Debug)]
pub struct Engine {
    folder: TempDir,
    daemon: Option<Child>,
}

impl Engine {
    /// Starts one. `None` where that cannot be, which is said.
    pub async fn start() -> Result<Option<Self>> {
        // The folder of this process is its user's.
        let is_root = std::fs::metadata("/proc/self")?.uid() == 0;
        if !is_root || !Path::new(DAEMON).exists() {
            say(format_args!("skipped: only root can start {DAEMON}, which must be installed"));
            return Ok(None);
        }
        let folder = tempfile::Builder::new().prefix("fanfold-engine-").tempdir()?;
        let mut engine = Self { folder, daemon: None };
        let below = |name: &str| engine.path(name).display().to_string();
        let settings = json!({
            "hosts": [engine.host()], "data-root": below("data"), "exec-root": below("exec"),
            "pidfile": below("pid"), "bridge": "none", "iptables": false, "ip6tables": false,
        });
        std::fs::write(engine.path("daemon.json"), settings.to_string())?;
        engine.start_again().await?;
        Ok(Some(engine))
    }

    /// Starts it, after it was killed.
    pub async fn start_again(&mut self) -> Result<()> {
        // One that was killed left it behind.
        let _ = std::fs::remove_file(self.path("pid"));
        let log = File::options().create(true).append(true).open(self.path("log"))?;
        let mut command = Command::new(DAEMON);
        command.arg("--config-file").arg(self.path("daemon.json"));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.daemon = Some(command.spawn().context("start dockerd")?);
        let answers = async || Ok(self.docker(&["info"]).ok().map(drop));
        let started = until("the container engine", answers).await;
        started.with_context(|| tail(&self.path("log")))
    }

    /// Kills it with -9. Its containers go on; what manages them dies with it.
    pub async fn kill(&mut self) -> Result<()> {
        let pid = std::fs::read_to_string(self.path("exec/containerd/containerd.pid"))?;
        let manager = Path::new("/proc").join(pid.trim());
        let mut daemon = self.daemon.take().context("the engine does not run")?;
        daemon.kill()?;
        daemon.wait()?;
        // A new daemon that found it dying would wait for it in vain.
        until("the end of containerd", async || Ok((!manager.exists()).then_some(()))).await
    }

    /// What nodes find it by, in `DOCKER_HOST`.
    pub fn host(&self) -> String {
        format!("unix://{}", self.path("socket").display())
    }

    /// How many containers it has, running or not.
    pub fn containers(&self) -> Result<usize> {
        Ok(self.docker(&["ps", "--all", "--quiet"])?.lines().count())
    }

    fn docker(&self, args: &[&str]) -> Result<String> {
        let host = self.host();
        let output = Command::new("docker").args(["--host", &host]).args(args).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "docker {args:?}: {said}");
        Ok(String::from_utf8(output.stdout)?)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // What is left of it would keep its folder busy.
        if let Ok(left) = self.docker(&["ps", "--all", "--quiet"]) {
            let left: Vec<&str> = left.lines().collect();
            if !left.is_empty() {
                let _ = self.docker(&[&["rm", "--force"], &left[..]].concat());
            }
        }
        if let Some(mut daemon) = self.daemon.take() {
            let _ = Command::new("kill").arg(daemon.id().to_string()).status();
            let _ = daemon.wait();
        }
        // It mounts its own folder on itself at each start, and one that is killed leaves that.
        let unmounted = || {
            let mut command = Command::new("umount");
            command.arg("--lazy").arg(self.path("data")).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        while unmounted() {}
    }
}
