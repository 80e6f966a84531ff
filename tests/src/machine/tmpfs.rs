//! A small disk of a test's own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

/// A mounted tmpfs; dropping it unmounts it.
#[derive(Debug)]
pub struct Tmpfs(PathBuf);

impl Tmpfs {
    /// Makes the folder and mounts a disk of this many MiB there. Needs root.
    pub fn mount(folder: &Path, mib: u32) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let size = format!("size={mib}m");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder);
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "a tmpfs cannot be mounted (are you root?): {said}");
        Ok(Self(folder.to_owned()))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // A process with an open file keeps the memory, not the mount.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
