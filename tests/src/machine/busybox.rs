//! A container image made from nothing but Debian's static busybox.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::say::say;

/// What the image is called in the local engine and in manifests.
pub const IMAGE: &str = "fanfold-test/busybox:1";
const BUSYBOX: &str = "/bin/busybox";

/// Whether tests with containers can run here; says aloud why where they cannot.
pub fn is_possible() -> bool {
    let engine = Command::new("docker").arg("version").output();
    if !engine.is_ok_and(|output| output.status.success()) {
        say(format_args!("skipped: no container engine answers"));
        return false;
    }
    if !Path::new(BUSYBOX).exists() {
        say(format_args!("skipped: there is no {BUSYBOX}"));
        return false;
    }
    true
}

/// Makes the image where it is missing; tests that run side by side make it once.
pub fn make() -> Result<()> {
    let lock = File::create(std::env::temp_dir().join("fanfold-test-busybox.lock"))?;
    lock.lock()?;
    if docker(&["image", "inspect", IMAGE]).is_ok() {
        return Ok(());
    }
    import(IMAGE, &[])
}

/// Makes an image of this name with these changes to its configuration.
pub fn import(name: &str, changes: &[&str]) -> Result<()> {
    let mut command = Command::new("docker");
    command.arg("import");
    for change in changes {
        command.args(["--change", change]);
    }
    let mut importing = command
        .args(["-", name])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .context("docker import")?;
    importing.stdin.take().context("docker's input")?.write_all(&root()?)?;
    ensure!(importing.wait()?.success(), "docker import failed");
    Ok(())
}

/// Runs a docker command and gives its output.
pub fn docker(args: &[&str]) -> Result<String> {
    let Output { status, stdout, stderr } = Command::new("docker").args(args).output()?;
    ensure!(status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&stderr));
    Ok(String::from_utf8(stdout)?)
}

/// The root file system: busybox under all its names.
fn root() -> Result<Vec<u8>> {
    root_with(&[])
}

/// The same with these files at the top.
pub fn root_with(files: &[(&str, &[u8])]) -> Result<Vec<u8>> {
    let applets = Command::new(BUSYBOX).arg("--list").output()?.stdout;
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o755);
    let bytes = std::fs::read(BUSYBOX)?;
    header.set_size(bytes.len() as u64);
    tar.append_data(&mut header, "bin/busybox", &bytes[..])?;
    for applet in std::str::from_utf8(&applets)?.lines().filter(|name| *name != "busybox") {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, format!("bin/{applet}"), "busybox")?;
    }
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, name, *bytes)?;
    }
    Ok(tar.into_inner()?)
}
