//! How much each cache takes of the disk, counted when it was used last.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::disk::count;

#[derive(Debug, Default)]
pub struct Kept(Mutex<HashMap<PathBuf, Entry>>);

#[derive(Debug, Clone, Copy)]
struct Entry {
    bytes: u64,
    used: SystemTime,
}

impl Kept {
    /// Counts a cache, which containers may still write to. What cannot be counted is taken for
    /// the most that the cache may have.
    pub fn count(&self, place: &Path, used: SystemTime, bytes_max: u64) {
        let bytes = count::amount(&place.join("files")).bytes.min(bytes_max);
        self.lock().insert(place.to_owned(), Entry { bytes, used });
    }

    pub fn forget(&self, place: &Path) {
        self.lock().remove(place);
    }

    pub fn bytes(&self) -> u64 {
        self.lock().values().map(|entry| entry.bytes).sum()
    }

    /// The cache that was unused for longest of those that may go.
    pub fn oldest(&self, may_go: impl Fn(&Path) -> bool) -> Option<(SystemTime, PathBuf)> {
        let entries = self.lock();
        let idle = entries.iter().filter(|(place, _)| may_go(place));
        idle.map(|(place, entry)| (entry.used, place.clone())).min()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
