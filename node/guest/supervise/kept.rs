//! What a task could change that is root in its container, beside what is emptied after it. It has
//! no capabilities, but it owns what the engine has put there.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::{sys, text};

/// What the engine mounts from the machine, to be written to by root.
const FILES: [&str; 3] = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];
const DEVICES: &str = "/dev";
/// What root may change of a process that it may not look into.
const SETTINGS: [&str; 3] =
    ["/proc/self/oom_score_adj", "/proc/self/coredump_filter", "/proc/self/autogroup"];

/// What all of it was like before the first task.
pub struct Kept {
    looks: Vec<(PathBuf, bool, Look)>,
    settings: Vec<(File, String)>,
}

#[derive(PartialEq, Eq)]
struct Look {
    inode: (u64, u64),
    mode: u32,
    owner: (u32, u32),
    /// The bytes of the names of its attributes.
    attributes: usize,
    /// The time of its last change, which nobody can set; `None` where what is in it may change.
    changed: Option<(i64, i64)>,
}

impl Kept {
    /// `folders` are those that are emptied after each task.
    pub fn new(folders: &[PathBuf]) -> io::Result<Self> {
        let mut paths = vec![(PathBuf::from(DEVICES), true)];
        for entry in fs::read_dir(DEVICES)? {
            let entry = entry?;
            let is_fixed = !entry.file_type()?.is_dir();
            paths.push((entry.path(), is_fixed));
        }
        paths.extend(FILES.iter().map(|path| (PathBuf::from(path), true)));
        paths.extend(folders.iter().map(|path| (path.clone(), false)));
        paths.retain(|(path, _)| fs::symlink_metadata(path).is_ok());
        let of = |(path, is_fixed): (PathBuf, bool)| {
            let look = Look::of(&path, is_fixed)?;
            Ok((path, is_fixed, look))
        };
        let looks = paths.into_iter().map(of).collect::<io::Result<_>>()?;
        // Not every kernel has each of them.
        let settings = SETTINGS.iter().filter_map(|path| File::open(path).ok());
        let settings = settings.map(|file| text(&file).map(|was| (file, was)));
        Ok(Self { looks, settings: settings.collect::<io::Result<_>>()? })
    }

    pub fn is_same(&self) -> io::Result<bool> {
        for (path, is_fixed, look) in &self.looks {
            if Look::of(path, *is_fixed)? != *look {
                return Ok(false);
            }
        }
        for (setting, was) in &self.settings {
            if text(setting)? != *was {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Look {
    fn of(path: &Path, is_fixed: bool) -> io::Result<Self> {
        let meta = fs::symlink_metadata(path)?;
        Ok(Self {
            inode: (meta.dev(), meta.ino()),
            mode: meta.mode(),
            owner: (meta.uid(), meta.gid()),
            attributes: sys::attributes(path)?,
            changed: is_fixed.then(|| (meta.ctime(), meta.ctime_nsec())),
        })
    }
}
