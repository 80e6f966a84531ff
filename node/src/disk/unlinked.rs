//! Files without a name that a container's processes hold open or mapped: they take space, and no
//! folder shows them.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::count::blocks;

/// The most open files and mappings that are looked at; beyond them, bytes could hide.
const LOOKS_MAX: usize = 200_000;
const CGROUPS: &str = "/sys/fs/cgroup";

/// The bytes of all such files of one file system, seen from a container's first process. What its
/// processes pass through a socket at the moment, and what the node may not look into, is left
/// out: only the file system's free space shows it.
pub fn bytes(first: u32, device: u64) -> u64 {
    let mut found = Found { device, looks: 0, seen: HashSet::new(), bytes: 0 };
    for process in processes(first) {
        found.look_at(&Path::new("/proc").join(process.to_string()));
        if found.looks > LOOKS_MAX {
            return u64::MAX;
        }
    }
    found.bytes
}

struct Found {
    device: u64,
    looks: usize,
    seen: HashSet<u64>,
    bytes: u64,
}

impl Found {
    fn look_at(&mut self, process: &Path) {
        for file in fs::read_dir(process.join("fd")).into_iter().flatten().flatten() {
            self.add(&file.path());
        }
        let maps = fs::read_to_string(process.join("maps")).unwrap_or_default();
        for line in maps.lines().filter(|line| line.ends_with(" (deleted)")) {
            if let Some(range) = line.split(' ').next() {
                self.add(&process.join("map_files").join(range));
            }
        }
    }

    fn add(&mut self, link: &Path) {
        self.looks += 1;
        if self.looks > LOOKS_MAX {
            return;
        }
        // What has been closed meanwhile is not there any more.
        let Ok(meta) = fs::metadata(link) else { return };
        let is_unlinked = meta.is_file() && meta.nlink() == 0 && meta.dev() == self.device;
        if is_unlinked && self.seen.insert(meta.ino()) {
            self.bytes = self.bytes.saturating_add(blocks(&meta));
        }
    }
}

/// The processes of a container, found by the control group of its first one.
fn processes(first: u32) -> Vec<u32> {
    let groups = fs::read_to_string(format!("/proc/{first}/cgroup")).unwrap_or_default();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let folder = Path::new(CGROUPS).join(controllers).join(path.trim_start_matches('/'));
        let Ok(text) = fs::read_to_string(folder.join("cgroup.procs")) else { continue };
        let processes: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
        // A hierarchy that the engine does not use has the process in a group of others.
        let is_own = path.trim_matches('/').contains('/');
        if is_own && processes.contains(&first) {
            return processes;
        }
    }
    vec![first]
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn open_file_without_a_name_is_found_and_one_with_a_name_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let device = dir.path().metadata().unwrap().dev();
        let mut file = fs::File::create(dir.path().join("file")).unwrap();
        file.write_all(&vec![1; 3 << 20]).unwrap();
        let twice = file.try_clone().unwrap();
        let own = std::process::id();
        let count = || {
            let mut found = Found { device, looks: 0, seen: HashSet::new(), bytes: 0 };
            found.look_at(&Path::new("/proc").join(own.to_string()));
            found.bytes
        };
        let before = count();

        fs::remove_file(dir.path().join("file")).unwrap();
        let held = count();
        drop((file, twice));

        assert!((3 << 20..4 << 20).contains(&(held - before)), "{before} {held}");
        assert_eq!(count(), before);
    }
}
