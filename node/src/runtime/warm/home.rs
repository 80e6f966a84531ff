//! The folders of a container that stays, as they lie on the host. Each task finds its own files
//! in them at the paths that the server has compiled, as in a container of its own: they are moved
//! in before it and out after it, and the folders are the same in between.

use std::fs::{self, File, FileTimes, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::files::tree::{Scratch, dir_with_mode, remove_tree};

/// The most bytes of the names of a folder's attributes that are looked at.
const NAMES_BYTES_MAX: usize = 4096;

/// The folders of one container, which go with it.
#[derive(Debug)]
pub struct Home {
    folder: Scratch,
    /// What each writable folder is like when it is empty.
    writable: Vec<(PathBuf, Look)>,
}

/// Where a task's files lie while it does not run.
#[derive(Debug, Clone)]
pub struct Places {
    pub inputs: PathBuf,
    pub results: PathBuf,
    /// The folders that its containers share.
    pub shared: Vec<PathBuf>,
}

/// What a task could change of a folder itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Look {
    mode: u32,
    owner: (u32, u32),
    /// Folders count in their parent.
    links: u64,
    attributes: Vec<u8>,
}

impl Home {
    /// Makes the folders, of which `writable` makes those that tasks can write to.
    pub fn make(
        below: &Path,
        shared: usize,
        writable: impl Fn(&Path) -> io::Result<()>,
    ) -> io::Result<Self> {
        let folder = Scratch::new(below)?;
        let mut home = Self { folder, writable: Vec::new() };
        for folder in [home.guest(), home.inputs()] {
            dir_with_mode(&folder, 0o755)?;
        }
        if shared > 0 {
            dir_with_mode(&home.shared(), 0o755)?;
        }
        let shared = (0..shared).map(|n| home.shared().join(n.to_string()));
        let folders: Vec<_> = [home.results()].into_iter().chain(shared).collect();
        for folder in folders {
            writable(&folder)?;
            let look = Look::of(&folder)?;
            home.writable.push((folder, look));
        }
        Ok(home)
    }

    /// The folder that only the supervisor uses.
    pub fn guest(&self) -> PathBuf {
        self.folder.0.join("guest")
    }

    pub fn inputs(&self) -> PathBuf {
        self.folder.0.join("inputs")
    }

    pub fn results(&self) -> PathBuf {
        self.folder.0.join("results")
    }

    pub fn shared(&self) -> PathBuf {
        self.folder.0.join("shared")
    }

    /// Where the files are written that all tasks read.
    pub fn files(&self) -> PathBuf {
        self.folder.0.join("files")
    }

    /// Moves a task's inputs in.
    pub fn enter(&self, places: &Places) -> io::Result<()> {
        for (folder, _) in &self.writable {
            // When they were last used says something of the task before.
            let now = SystemTime::now();
            File::open(folder)?.set_times(FileTimes::new().set_accessed(now).set_modified(now))?;
        }
        move_all(&places.inputs, &self.inputs())
    }

    /// Moves what a task wrote out, and removes its inputs. An error says that the container cannot
    /// be used again; what has not been moved is then fetched by [`Home::abandon`].
    pub fn leave(&self, places: &Places) -> io::Result<()> {
        for ((from, look), to) in self.writable.iter().zip(places.writable()) {
            move_all(from, to)?;
            if Look::of(from)? != *look {
                return Err(io::Error::other("the task has changed a folder"));
            }
        }
        for entry in fs::read_dir(self.inputs())? {
            fs::remove_file(entry?.path())?;
        }
        Ok(())
    }

    /// Gives what a task wrote, when its container is gone.
    pub fn abandon(&self, places: &Places) -> io::Result<()> {
        for ((from, _), to) in self.writable.iter().zip(places.writable()) {
            if fs::read_dir(to)?.next().is_none() {
                remove_tree(to)?;
                fs::rename(from, to)?;
            } else {
                move_all(from, to)?;
            }
        }
        Ok(())
    }
}

impl Places {
    fn writable(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.results].into_iter().chain(&self.shared)
    }
}

impl Look {
    fn of(folder: &Path) -> io::Result<Self> {
        let meta: Metadata = fs::symlink_metadata(folder)?;
        let mut names = [0u8; NAMES_BYTES_MAX];
        let attributes = match rustix::fs::llistxattr(folder, &mut names) {
            Ok(count) => names[..count].to_vec(),
            // A file system without them.
            Err(rustix::io::Errno::NOTSUP) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let owner = (meta.uid(), meta.gid());
        Ok(Self { mode: meta.mode(), owner, links: meta.nlink(), attributes })
    }
}

fn move_all(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::rename(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    struct Bench {
        dir: tempfile::TempDir,
        home: Home,
        places: Places,
    }

    fn bench() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::make(dir.path(), 1, |path| dir_with_mode(path, 0o700)).unwrap();
        let place = |name: &str| {
            let path = dir.path().join(name);
            fs::create_dir(&path).unwrap();
            path
        };
        let places =
            Places { inputs: place("in"), results: place("out"), shared: vec![place("both")] };
        Bench { dir, home, places }
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn home_has_the_files_of_one_task_at_a_time() {
        let Bench { home, places, dir } = bench();
        fs::write(places.inputs.join("data"), "x").unwrap();

        home.enter(&places).unwrap();
        assert_eq!(names(&home.inputs()), ["data"]);
        fs::create_dir(home.results().join("folder")).unwrap();
        fs::write(home.results().join("folder/a"), "a").unwrap();
        fs::write(home.shared().join("0/value"), "v").unwrap();
        home.leave(&places).unwrap();

        assert_eq!(names(&places.results), ["folder"]);
        assert_eq!(names(&places.shared[0]), ["value"]);
        for folder in [home.inputs(), home.results(), home.shared().join("0")] {
            assert_eq!(names(&folder), [""; 0], "{}", folder.display());
        }
        drop(home);
        assert_eq!(names(dir.path()), ["both", "in", "out"]);
    }

    #[test]
    fn home_whose_folders_a_task_has_changed_is_not_used_again() {
        let changes: [fn(&Path) -> io::Result<()>; 2] = [
            |folder| fs::set_permissions(folder, Permissions::from_mode(0o777)),
            |folder| {
                let flags = rustix::fs::XattrFlags::empty();
                match rustix::fs::setxattr(folder, "user.note", b"x", flags) {
                    // Nothing can be left there on a file system without attributes.
                    Err(rustix::io::Errno::NOTSUP) => {
                        fs::set_permissions(folder, Permissions::from_mode(0o777))
                    }
                    set => Ok(set?),
                }
            },
        ];
        for change in changes {
            let Bench { home, places, dir: _dir } = bench();
            fs::write(home.results().join("a"), "a").unwrap();
            change(&home.results()).unwrap();

            assert!(home.leave(&places).is_err());
            home.abandon(&places).unwrap();

            assert_eq!(names(&places.results), ["a"]);
        }
    }
}
