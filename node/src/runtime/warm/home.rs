//! The folders of a container that stays, as they lie on the host. Each task finds its own files
//! in them at the paths that the server has compiled, as in a container of its own: they are moved
//! in before it and out after it, and the folders are the same in between.

use std::fs::{self, File, FileTimes};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use common::compute::container::ContainerSpec;

use crate::files::look::Look;
use crate::files::tree::{Scratch, dir_with_mode, remove_tree};
use crate::runtime::launch;

/// The folders of one container, which go with it.
#[derive(Debug)]
pub struct Home {
    folder: Scratch,
    /// What each writable folder is like when it is empty.
    writable: Vec<(PathBuf, Look)>,
    /// Whose files were written last.
    written: ContainerSpec,
}

/// Where a task's files lie while it does not run.
#[derive(Debug, Clone)]
pub struct Places {
    pub inputs: PathBuf,
    pub results: PathBuf,
    /// The folders that its containers share.
    pub shared: Vec<PathBuf>,
    /// Where one file of its inputs is kept, empty, for the inputs of a later task.
    pub spare: PathBuf,
    /// With the bytes of its own files.
    pub spec: ContainerSpec,
}

impl Home {
    /// Makes the folders, of which `writable` makes those that tasks can write to.
    pub fn make(
        below: &Path,
        spec: &ContainerSpec,
        writable: impl Fn(&Path) -> io::Result<()>,
    ) -> io::Result<Self> {
        let folder = Scratch::new(below)?;
        let mut home = Self { folder, writable: Vec::new(), written: spec.clone() };
        for folder in [home.guest(), home.inputs()] {
            dir_with_mode(&folder, 0o755)?;
        }
        launch::write_files(spec, &home.files())?;
        if !spec.shared.is_empty() {
            dir_with_mode(&home.shared(), 0o755)?;
        }
        let shared = (0..spec.shared.len()).map(|n| home.shared().join(n.to_string()));
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

    /// Moves a task's inputs in, and writes its own files. Those are mounted each by itself, so they
    /// stay the same files, and only their bytes change.
    pub fn enter(&mut self, places: &Places) -> io::Result<()> {
        for (folder, _) in &self.writable {
            // When they were last used says something of the task before.
            let now = SystemTime::now();
            File::open(folder)?.set_times(FileTimes::new().set_accessed(now).set_modified(now))?;
        }
        let texts = self.written.files.values().zip(places.spec.files.values());
        for (n, (_, text)) in texts.enumerate().filter(|(_, (old, new))| old != new) {
            fs::write(launch::file(&self.files(), n), text)?;
        }
        self.written = places.spec.clone();
        move_all(&places.inputs, &self.inputs())
    }

    /// Moves what a task wrote out, and takes its inputs away. An error says that the container cannot
    /// be used again; what has not been moved is then fetched by [`Home::abandon`].
    pub fn leave(&self, places: &Places) -> io::Result<()> {
        for ((from, look), to) in self.writable.iter().zip(places.writable()) {
            move_all(from, to)?;
            if Look::of(from)? != *look {
                return Err(io::Error::other("the task has changed a folder"));
            }
        }
        let mut is_kept = places.spare.exists();
        for entry in fs::read_dir(self.inputs())? {
            let path = entry?.path();
            if std::mem::replace(&mut is_kept, true) {
                fs::remove_file(path)?;
            } else {
                // A container could only read it.
                File::options().write(true).open(&path)?.set_len(0)?;
                fs::rename(path, &places.spare)?;
            }
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

    use common::compute::container::Parts;

    use super::*;
    use crate::testing::parts;

    struct Bench {
        dir: tempfile::TempDir,
        home: Home,
        places: Places,
    }

    fn bench() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let spec = spec("x");
        let home = Home::make(dir.path(), &spec, |path| dir_with_mode(path, 0o700)).unwrap();
        let place = |name: &str| {
            let path = dir.path().join(name);
            fs::create_dir(&path).unwrap();
            path
        };
        let (inputs, results, shared) = (place("in"), place("out"), vec![place("both")]);
        let places = Places { inputs, results, shared, spare: dir.path().join("spare"), spec };
        Bench { dir, home, places }
    }

    fn spec(text: &str) -> ContainerSpec {
        let shared = vec!["/both".parse().unwrap()];
        let files = [("/script".parse().unwrap(), text.to_owned())].into();
        ContainerSpec::new(Parts { shared, files, ..parts() }).unwrap()
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
        let Bench { mut home, places, dir } = bench();
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
        assert_eq!(fs::read(&places.spare).unwrap(), b"");
        drop(home);
        assert_eq!(names(dir.path()), ["both", "in", "out", "spare"]);
    }

    #[test]
    fn file_of_a_task_is_the_same_one_with_the_bytes_of_each_task() {
        let Bench { mut home, places, dir: _dir } = bench();
        let script = launch::file(&home.files(), 0);
        let mounted = File::open(&script).unwrap();
        for text in ["long text of the first", "second", "second"] {
            home.enter(&Places { spec: spec(text), ..places.clone() }).unwrap();

            assert_eq!(io::read_to_string(File::open(&script).unwrap()).unwrap(), text);
            let inode =
                |file: &File| std::os::unix::fs::MetadataExt::ino(&file.metadata().unwrap());
            assert_eq!(inode(&mounted), inode(&File::open(&script).unwrap()));
            home.leave(&places).unwrap();
        }
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
