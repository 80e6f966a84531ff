//! Files in a folder that a container writes to as well. Whatever it puts there, links above all,
//! the agent never leaves the folder: it goes down one part at a time and follows no link.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use serde::{Deserialize, Serialize};

const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// An open folder.
#[derive(Debug)]
pub struct ConfinedDir {
    root: OwnedFd,
    /// What folders that are made below get.
    mode: Mode,
}

/// What a file is known by: a change of its bytes changes this, and nothing sets it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    inode: u64,
    size: u64,
    changed: (i64, u64),
}

impl ConfinedDir {
    /// `path` itself is the agent's own; folders made below it get this mode.
    pub fn open(path: &Path, mode: u32) -> io::Result<Self> {
        let root = fs::openat(CWD, path, FOLDER, Mode::empty())?;
        Ok(Self { root, mode: Mode::from_raw_mode(mode) })
    }

    /// The file of this name; `None` where there is none, or something that is no plain file.
    pub fn stamp(&self, name: &str) -> io::Result<Option<Stamp>> {
        let (folders, last) = split(name);
        match self.descend(folders) {
            Ok(folder) => stamp(&folder, last),
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Moves a file of the agent's own to this name. What a container has put in its way goes,
    /// unless that is a folder with something in it.
    pub fn place(&self, from: &Path, name: &str) -> io::Result<Stamp> {
        let (folders, last) = split(name);
        let mut folder = self.root.try_clone()?;
        for part in folders {
            folder = self.make(&folder, part)?;
        }
        match fs::renameat(CWD, from, &folder, last) {
            Err(rustix::io::Errno::ISDIR) => {
                fs::unlinkat(&folder, last, AtFlags::REMOVEDIR)?;
                fs::renameat(CWD, from, &folder, last)?;
            }
            moved => moved?,
        }
        stamp(&folder, last)?.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Removes a file; it may be missing.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        let (folders, last) = split(name);
        let removed = self.descend(folders).and_then(|folder| {
            fs::unlinkat(&folder, last, AtFlags::empty()).map_err(io::Error::from)
        });
        match removed {
            Err(error) if !is_absence(&error) => Err(error),
            _ => Ok(()),
        }
    }

    fn descend<'a>(&self, folders: impl Iterator<Item = &'a str>) -> io::Result<OwnedFd> {
        let mut folder = self.root.try_clone()?;
        for part in folders {
            folder = fs::openat(&folder, part, FOLDER, Mode::empty())?;
        }
        Ok(folder)
    }

    /// Opens a folder in a folder, and makes it where there is none.
    fn make(&self, folder: &OwnedFd, part: &str) -> io::Result<OwnedFd> {
        match fs::openat(folder, part, FOLDER, Mode::empty()) {
            Ok(found) => return Ok(found),
            Err(rustix::io::Errno::NOENT) => {}
            // A link, or a file.
            Err(rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => {
                fs::unlinkat(folder, part, AtFlags::empty())?;
            }
            Err(error) => return Err(error.into()),
        }
        fs::mkdirat(folder, part, Mode::RWXU)?;
        let made = fs::openat(folder, part, FOLDER, Mode::empty())?;
        // Whatever the umask.
        fs::fchmod(&made, self.mode)?;
        Ok(made)
    }
}

/// The folders of a name, and its last part.
fn split(name: &str) -> (impl Iterator<Item = &str>, &str) {
    let (folders, last) = name.rsplit_once('/').unwrap_or(("", name));
    (folders.split('/').filter(|part| !part.is_empty()), last)
}

fn stamp(folder: &OwnedFd, last: &str) -> io::Result<Option<Stamp>> {
    let found = match fs::statat(folder, last, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => found,
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    Ok(Some(Stamp {
        inode: found.st_ino,
        size: found.st_size.unsigned_abs(),
        changed: (found.st_ctime, found.st_ctime_nsec),
    }))
}

/// Nothing is there, or something else than a folder is on the way.
fn is_absence(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ISDIR))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder beside another one that must stay as it is, and a file to be placed.
    fn bench() -> (tempfile::TempDir, ConfinedDir) {
        let dir = tempfile::tempdir().unwrap();
        for name in ["inside", "outside"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("outside/file"), "theirs").unwrap();
        fs::write(dir.path().join("new"), "ours").unwrap();
        let beneath = ConfinedDir::open(&dir.path().join("inside"), 0o777).unwrap();
        (dir, beneath)
    }

    #[test]
    fn file_is_placed_and_known_until_it_changes() {
        let (dir, beneath) = bench();

        let stamp = beneath.place(&dir.path().join("new"), "a/b/c").unwrap();

        let path = dir.path().join("inside/a/b/c");
        assert_eq!(fs::read(&path).unwrap(), b"ours");
        assert_eq!(beneath.stamp("a/b/c").unwrap(), Some(stamp));
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, "mine").unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        assert_ne!(beneath.stamp("a/b/c").unwrap(), Some(stamp));
        beneath.remove("a/b/c").unwrap();
        beneath.remove("a/b/c").unwrap();
        assert_eq!(beneath.stamp("a/b/c").unwrap(), None);
    }

    #[test]
    fn links_in_the_way_are_replaced_and_not_followed() {
        for (link, to) in [("a", "outside"), ("a", "/"), ("a", "nowhere"), ("a", "outside/file")] {
            let (dir, beneath) = bench();
            symlink(dir.path().join(to), dir.path().join("inside").join(link)).unwrap();

            assert_eq!(beneath.stamp("a/file").unwrap(), None);
            beneath.remove("a/file").unwrap();
            beneath.place(&dir.path().join("new"), "a/file").unwrap();

            assert_eq!(fs::read(dir.path().join("inside/a/file")).unwrap(), b"ours");
            assert_eq!(fs::read(dir.path().join("outside/file")).unwrap(), b"theirs", "{to}");
            assert!(fs::symlink_metadata(dir.path().join("inside/a")).unwrap().is_dir());
        }
    }

    #[test]
    fn link_under_the_same_name_is_no_file_and_is_replaced() {
        let (dir, beneath) = bench();
        symlink(dir.path().join("outside/file"), dir.path().join("inside/x")).unwrap();

        assert_eq!(beneath.stamp("x").unwrap(), None);
        beneath.place(&dir.path().join("new"), "x").unwrap();

        assert_eq!(fs::read(dir.path().join("outside/file")).unwrap(), b"theirs");
        assert_eq!(fs::read(dir.path().join("inside/x")).unwrap(), b"ours");
    }

    #[test]
    fn full_folder_in_the_way_is_left_to_its_owner() {
        let (dir, beneath) = bench();
        fs::create_dir_all(dir.path().join("inside/x/y")).unwrap();

        assert!(beneath.place(&dir.path().join("new"), "x").is_err());
        assert!(dir.path().join("inside/x/y").is_dir());
        fs::remove_dir(dir.path().join("inside/x/y")).unwrap();
        beneath.place(&dir.path().join("new"), "x").unwrap();
    }
}
