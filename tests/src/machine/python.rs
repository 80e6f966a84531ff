//! The container image with Python, which `scripts/python-image` makes without a registry.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::machine::busybox;
use crate::say::say;

/// What the image is called in the local engine and in manifests.
pub const IMAGE: &str = "fanfold/python:3";

/// The repository that the tests are of.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests is a member").to_owned()
}

/// Whether the image is here or can be made; says aloud why where it cannot.
pub fn is_possible() -> bool {
    if !busybox::is_possible() {
        return false;
    }
    if busybox::docker(&["image", "inspect", IMAGE]).is_ok() {
        return true;
    }
    let made = Command::new(repository().join("scripts/python-image")).output();
    let made = made.is_ok_and(|output| output.status.success());
    if !made {
        say(format_args!("skipped: scripts/python-image cannot make {IMAGE} here"));
    }
    made
}
