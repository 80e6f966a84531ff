//! What this machine lacks for running strangers' code, and whether that can get out.

mod kit;

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::files::data_dir;
use crate::machine::device::found_gpus;
use crate::runtime::docker;

pub use kit::{Error as KitError, Outcome, escape_kit};

/// The first version of NVIDIA's toolkit that runs nothing of an image on the host.
const TOOLKIT_MIN: [u32; 3] = [1, 17, 8];

/// How much a check matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Fine,
    /// A node runs, with less protection.
    Warning,
    /// No node starts.
    Refused,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    pub name: &'static str,
    pub severity: Severity,
    pub found: String,
    /// What to do about it; empty where all is well.
    pub advice: &'static str,
}

impl Check {
    pub fn fine(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, severity: Severity::Fine, found: found.into(), advice: "" }
    }

    pub fn warning(name: &'static str, found: impl Into<String>, advice: &'static str) -> Self {
        Self { name, severity: Severity::Warning, found: found.into(), advice }
    }

    pub fn refused(name: &'static str, found: impl Into<String>, advice: &'static str) -> Self {
        Self { name, severity: Severity::Refused, found: found.into(), advice }
    }
}

/// Checks in one sentence.
pub fn listed(checks: &[Check]) -> String {
    let texts = checks
        .iter()
        .map(|Check { name, found, advice, .. }| format!("{name}: {found} ({advice})"));
    texts.collect::<Vec<_>>().join("; ")
}

/// Looks at the container engine and at the machine.
pub async fn examine() -> Vec<Check> {
    let mut checks = match docker::examine().await {
        Ok(checks) => checks,
        Err(error) => {
            let advice = "install Docker 20.10 or newer, and start it";
            vec![Check::refused("engine", error.to_string(), advice)]
        }
    };
    checks.push(user());
    checks.push(core_handler());
    if !found_gpus().is_empty() {
        checks.push(toolkit());
    }
    checks
}

/// Where a node's folder is: containers can read the path in their list of mounts.
pub fn data_dir(path: &Path) -> Check {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let found = path.display().to_string();
    if data_dir::names_somebody(&path) {
        let advice = "choose a --data-dir that names nobody, such as /var/lib/fanfold/node: where \
                      /var/lib is another disk, containers can read the path";
        return Check::warning("data folder", found, advice);
    }
    Check::fine("data folder", found)
}

/// Only root can give the containers of each tenant a user of their own.
fn user() -> Check {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    match line.and_then(|ids| ids.split_whitespace().nth(1)) {
        Some("0") => Check::fine("user", "root; containers run as other users"),
        _ => {
            let advice = "run the node as root, which never runs a container as root";
            Check::refused("user", "not root: containers cannot have users of their own", advice)
        }
    }
}

fn core_handler() -> Check {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    match pattern.trim().strip_prefix('|') {
        Some(handler) => {
            Check::fine("core dumps", format!("containers never reach the handler {handler}"))
        }
        None => Check::fine("core dumps", "containers write none"),
    }
}

fn toolkit() -> Check {
    let name = "NVIDIA toolkit";
    let advice = "install version 1.17.8 of the NVIDIA Container Toolkit or a newer one: older \
                  ones run an image's own code on this machine";
    let output = Command::new("nvidia-ctk").arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    match text.ok().and_then(|text| version(&text)) {
        Some(found) if found >= TOOLKIT_MIN => Check::fine(name, dotted(found)),
        Some(found) => Check::refused(name, dotted(found), advice),
        None => Check::warning(name, "nvidia-ctk does not say its version", advice),
    }
}

fn dotted(version: [u32; 3]) -> String {
    version.map(|part| part.to_string()).join(".")
}

/// The first version in a text, such as that of `nvidia-ctk --version`.
fn version(text: &str) -> Option<[u32; 3]> {
    text.split_whitespace().find_map(|word| {
        let plain = word.split(['-', '+', '~']).next().unwrap_or(word);
        let parts: Vec<u32> = plain.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
        parts.try_into().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_found_in_the_toolkits_output() {
        let text = "NVIDIA Container Toolkit CLI version 1.17.8\ncommit: f202b80a9b9d0db00d9b1\n";
        assert_eq!(version(text), Some([1, 17, 8]));
        assert_eq!(version("cli-version: 1.16.2-rc.1"), Some([1, 16, 2]));
        assert_eq!(version("no version"), None);
        assert!([1, 9, 9] < TOOLKIT_MIN && [1, 18, 0] > TOOLKIT_MIN);
    }

    #[test]
    fn folder_in_a_home_directory_causes_a_warning() {
        assert_eq!(data_dir(Path::new("/home/ann/node")).severity, Severity::Warning);
        assert_eq!(data_dir(Path::new("/var/lib/fanfold")).severity, Severity::Fine);
        assert_eq!(data_dir(Path::new("/homes")).severity, Severity::Fine);
    }
}
