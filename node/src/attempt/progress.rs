//! How far running attempts are, as their containers say it: a number of hundredths in a file
//! beside that of their value.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::plan::PROGRESS_NAME;
use common::run::task::Lease;
use rustix::fs::OFlags;

/// What is read of a file: a number needs no more.
const READ_BYTES: u64 = 32;
const WHOLE: f64 = 100.0;

/// The files of the attempts that run.
#[derive(Debug, Default)]
pub struct Progress(Mutex<BTreeMap<Lease, PathBuf>>);

/// An attempt runs for as long as this lives.
#[derive(Debug)]
pub struct Followed<'a> {
    progress: &'a Progress,
    lease: Lease,
}

impl Progress {
    /// Follows an attempt whose value goes to this file.
    pub fn follow(&self, lease: Lease, value_file: Option<&Path>) -> Followed<'_> {
        if let Some(file) = value_file {
            self.lock().insert(lease, file.with_file_name(PROGRESS_NAME));
        }
        Followed { progress: self, lease }
    }

    /// What an attempt says of itself now; `None` where it says nothing.
    pub fn of(&self, lease: Lease) -> Option<u8> {
        let path = self.lock().get(&lease).cloned()?;
        read(&path)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Lease, PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Followed<'_> {
    fn drop(&mut self) {
        self.progress.lock().remove(&self.lease);
    }
}

/// Reads the number of a file. What is written there is a stranger's: it is opened only where it is
/// a plain file, and little of it is read.
fn read(path: &Path) -> Option<u8> {
    let open = OpenOptions::new()
        .read(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(path);
    let file = open.ok().filter(|file| file.metadata().is_ok_and(|about| about.is_file()))?;
    let mut text = String::new();
    file.take(READ_BYTES).read_to_string(&mut text).ok()?;
    number(&text)
}

/// A number from 0 to 100, rounded down; higher and lower ones count as these.
fn number(text: &str) -> Option<u8> {
    let number: f64 = text.trim().parse().ok().filter(|number: &f64| number.is_finite())?;
    let whole = number.clamp(0.0, WHOLE);
    (0..=100).rev().find(|n| f64::from(*n) <= whole)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::testing::lease;

    #[test]
    fn progress_is_a_number_of_hundredths() {
        for (text, expected) in [
            ("0", Some(0)),
            ("50\n", Some(50)),
            (" 99.9 ", Some(99)),
            ("1000", Some(100)),
            ("-3", Some(0)),
            ("", None),
            ("half", None),
            ("NaN", None),
        ] {
            assert_eq!(number(text), expected, "{text}");
        }
    }

    #[test]
    fn progress_is_read_while_its_attempt_runs() {
        let dir = tempfile::tempdir().unwrap();
        let value = dir.path().join("value");
        let file = dir.path().join(PROGRESS_NAME);
        let progress = Progress::default();
        assert_eq!(progress.of(lease(1)), None);

        let followed = progress.follow(lease(1), Some(&value));
        assert_eq!(progress.of(lease(1)), None);
        std::fs::write(&file, "42").unwrap();
        assert_eq!(progress.of(lease(1)), Some(42));
        assert_eq!(progress.of(lease(2)), None);
        std::fs::remove_file(&file).unwrap();
        symlink("/proc/self/stat", &file).unwrap();
        assert_eq!(progress.of(lease(1)), None);
        drop(followed);

        assert_eq!(progress.lock().len(), 0);
    }
}
