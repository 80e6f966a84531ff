//! One process of the real binary, with what it writes in a file.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::wait::until;

const TAIL_LINES: usize = 60;

/// The real binary, beside the test executable's folder.
pub fn fanfold() -> Result<PathBuf> {
    let test = std::env::current_exe().context("find the test executable")?;
    let profile = test.parent().and_then(Path::parent).context("target/<profile>/deps")?;
    let binary = profile.join("fanfold");
    ensure!(
        binary.is_file(),
        "{} is not built: run `cargo build --workspace --bin fanfold`",
        binary.display()
    );
    Ok(binary)
}

/// A running process; dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts the binary; both its outputs go to the log file.
    pub fn start(args: &[&str], env: &[(String, String)], log: &Path) -> Result<Self> {
        Self::spawn(Command::new(fanfold()?), args, env, log)
    }

    /// The same, with this limit of open files, which the process cannot raise.
    pub fn start_with_files(
        files: u32,
        args: &[&str],
        env: &[(String, String)],
        log: &Path,
    ) -> Result<Self> {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {files}; exec \"$0\" \"$@\"")]).arg(fanfold()?);
        Self::spawn(command, args, env, log)
    }

    /// The same, where names are resolved by what this file says, in place of /etc/resolv.conf. As
    /// root only.
    pub fn start_with_resolver(
        resolver: &Path,
        args: &[&str],
        env: &[(String, String)],
        log: &Path,
    ) -> Result<Self> {
        let script = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script]).arg(resolver).arg(fanfold()?);
        Self::spawn(command, args, env, log)
    }

    fn spawn(
        mut command: Command,
        args: &[&str],
        env: &[(String, String)],
        log: &Path,
    ) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log)?;
        command.args(args).env("RUST_LOG", "info,node=debug,server=debug");
        command.envs(env.iter().map(|(name, value)| (name, value)));
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .context("start fanfold")?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Waits until the process has written a line with this text.
    pub async fn wrote(&mut self, text: &str) -> Result<()> {
        until(&format!("{text:?} in {}", self.log.display()), async || {
            if fs::read_to_string(&self.log)?.contains(text) {
                return Ok(Some(()));
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("fanfold ended with {status}:\n{}", tail(&self.log));
            }
            Ok(None)
        })
        .await
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// kill -9, and waits until the process is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks the process to stop, as a terminal or a service manager does.
    pub async fn terminate(&mut self, within: Duration) -> Result<ExitStatus> {
        let pid = self.id().to_string();
        ensure!(Command::new("kill").args(["-TERM", &pid]).status()?.success(), "kill -TERM");
        crate::wait::until_for(within, "a clean stop", async || Ok(self.child.try_wait()?)).await
    }

    /// Waits until the process has ended by itself.
    pub async fn ended(&mut self, within: Duration) -> Result<ExitStatus> {
        crate::wait::until_for(within, "its end", async || Ok(self.child.try_wait()?)).await
    }

    /// Asks it to stop, if it has not ended already.
    pub async fn end(&mut self, within: Duration) -> Result<()> {
        if self.child.try_wait()?.is_none() {
            self.terminate(within).await?;
        }
        Ok(())
    }

    /// A line of `/proc/PID/status` in KiB, such as `VmHWM`: the most memory it ever had.
    pub fn memory_kib(&self, line: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let value = status
            .lines()
            .find_map(|text| text.strip_prefix(line)?.strip_prefix(':'))
            .with_context(|| format!("{line} in /proc"))?;
        Ok(value.trim().trim_end_matches("kB").trim().parse()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last lines of a log.
pub fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}
