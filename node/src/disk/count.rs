//! How much there is in a folder, as the disk counts it.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use common::protocol::OUTPUTS_MAX;

pub const DEPTH_MAX: usize = 32;
/// The most folders and files that are looked at: there may be folders and links beside results.
pub const ENTRIES_MAX: usize = 2 * OUTPUTS_MAX;
/// What the system counts blocks in, whatever the file system's own are.
const BLOCK_BYTES: u64 = 512;

/// How much there is, while somebody may still write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    pub bytes: u64,
    pub entries: usize,
}

impl Amount {
    /// What cannot be looked into counts as more than may be: bytes could hide there.
    const HIDDEN: Self = Self { bytes: u64::MAX, entries: usize::MAX };

    /// Of both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            entries: self.entries.saturating_add(other.entries),
        }
    }

    /// More than may be: `bytes_max`, or more entries than would ever be looked at.
    pub const fn exceeds(self, bytes_max: u64) -> bool {
        self.bytes > bytes_max || self.entries > ENTRIES_MAX
    }
}

/// The bytes on the disk: with `FALLOC_FL_KEEP_SIZE` a file of no length can take a whole disk.
pub fn blocks(meta: &Metadata) -> u64 {
    meta.blocks().saturating_mul(BLOCK_BYTES)
}

/// What one inode counts: its length, which is what is read and sent, or its blocks.
fn bytes(meta: &Metadata) -> u64 {
    meta.len().max(blocks(meta))
}

/// Adds up inodes; one with many names counts once.
#[derive(Debug, Default)]
struct Counter {
    linked: HashSet<(u64, u64)>,
    amount: Amount,
}

impl Counter {
    fn add(&mut self, meta: &Metadata) {
        self.amount.entries += 1;
        if meta.is_dir() || meta.nlink() < 2 || self.linked.insert((meta.dev(), meta.ino())) {
            self.amount.bytes = self.amount.bytes.saturating_add(bytes(meta));
        }
    }
}

/// Measures a folder that somebody else writes to: what vanishes meanwhile is not counted. What
/// lies too deep to be taken counts as more than may be.
pub fn amount(folder: &Path) -> Amount {
    let mut counter = Counter::default();
    let mut folders = vec![(folder.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let entries = match fs::read_dir(folder) {
            Ok(entries) if depth <= DEPTH_MAX => entries,
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => continue,
            Ok(_) | Err(_) => return Amount::HIDDEN,
        };
        for entry in entries.flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            counter.add(&meta);
            if counter.amount.entries > ENTRIES_MAX {
                return counter.amount;
            }
            if meta.is_dir() {
                folders.push((entry.path(), depth + 1));
            }
        }
    }
    counter.amount
}

/// The bytes of all that can be seen in a folder, itself included.
pub fn tree(folder: &Path) -> u64 {
    let mut counter = Counter::default();
    counter.amount.bytes = fs::symlink_metadata(folder).map_or(0, |meta| bytes(&meta));
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            counter.add(&meta);
            if meta.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    counter.amount.bytes
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use proptest::prelude::*;
    use rustix::fs::{FallocateFlags, fallocate};

    use super::*;

    #[test]
    fn count_includes_bytes_at_any_depth() {
        let at = |depth| {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir_all(dir.path().join("d/".repeat(depth))).unwrap();
            dir
        };

        assert!(!amount(at(DEPTH_MAX).path()).exceeds(1 << 20));
        assert!(amount(at(DEPTH_MAX + 1).path()).exceeds(1 << 20));
    }

    #[test]
    fn count_includes_entries_without_bytes() {
        // So many take long on a disk.
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let dir = dir.unwrap();
        for n in 0..=ENTRIES_MAX {
            std::os::unix::fs::symlink("x", dir.path().join(n.to_string())).unwrap();
        }

        assert!(amount(dir.path()).exceeds(u64::MAX));
    }

    #[test]
    fn count_includes_blocks_beyond_a_files_end() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::create(dir.path().join("empty")).unwrap();
        if fallocate(&file, FallocateFlags::KEEP_SIZE, 0, 8 << 20).is_err() {
            println!("skipped: this file system keeps no blocks beyond a file's end");
            return;
        }

        assert_eq!(file.metadata().unwrap().len(), 0);
        assert!(amount(dir.path()).exceeds((8 << 20) - 1));
        assert!(tree(dir.path()) >= 8 << 20);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Whatever is written, at least that is counted, and never the same bytes twice.
        #[test]
        fn count_has_each_file_exactly_once(
            files in proptest::collection::vec((0..3usize, 0..100_000u32, any::<bool>(), 0..3usize), 0..8),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let mut at_least = 0;
            for (n, (depth, size, sparse, links)) in files.iter().enumerate() {
                let folder = dir.path().join("d/".repeat(*depth));
                fs::create_dir_all(&folder).unwrap();
                let path = folder.join(n.to_string());
                let file = File::create(&path).unwrap();
                if *sparse {
                    file.set_len((*size).into()).unwrap();
                } else {
                    fs::write(&path, vec![1; *size as usize]).unwrap();
                }
                for link in 0..*links {
                    fs::hard_link(&path, dir.path().join(format!("{n}-{link}"))).unwrap();
                }
                at_least += u64::from(*size);
            }

            let counted = amount(dir.path());

            // A block for each file's end, and some for folders.
            let at_most = at_least + (files.len() as u64 + 3) * (8 << 10) + (64 << 10);
            prop_assert!((at_least..=at_most).contains(&counted.bytes), "{counted:?} of {at_least}");
            prop_assert!(tree(dir.path()) >= counted.bytes);
        }
    }
}
