//! The node's folder on disk: who may use it, and what is where.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use common::digest::Digest;

use crate::DiskShare;
use crate::disk::{self, count};
use crate::users::User;

/// Homes of people. What containers see must not lie there, for they can read its path.
const HOMES: [&str; 3] = ["/home", "/root", "/Users"];
/// Where it lies instead, if that is the same disk.
const NEUTRAL: &str = "/var/lib/fanfold";

/// With more files than this, the whole file system is synced at once: that waits for what others
/// have written, too.
const SYNCED_ONE_BY_ONE_MAX: usize = 100;

/// A locked data folder. The lock ends with the process, however it ends.
#[derive(Debug)]
pub struct Home {
    root: PathBuf,
    /// What containers see of it: the same folder, or one whose path names nobody.
    seen: PathBuf,
    owner: User,
    _lock: File,
}

/// The folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("another node already runs in {0}")]
    InUse(PathBuf),
    #[error("the data folder {path} cannot be used")]
    Io { path: PathBuf, source: io::Error },
}

impl Home {
    /// Opens the folder, making it where it is missing, and locks it against a second node.
    /// What an earlier process left half done is removed.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Io { path: path.to_owned(), source };
        private_dir(path).map_err(failed)?;
        let root = path.canonicalize().map_err(failed)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(root.join("lock"))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(Error::InUse(root)),
            Err(fs::TryLockError::Error(source)) => return Err(failed(source)),
        }
        // A file's owner is the process's effective user: rewrite it, in case it is older.
        let probe = root.join("owner");
        remove_file(&probe).map_err(failed)?;
        File::create(&probe).map_err(failed)?;
        let owner = fs::metadata(&probe).map_err(failed)?;
        let owner = User { uid: owner.uid(), gid: owner.gid() };
        let seen = seen(&root, owner).map_err(failed)?;
        let home = Self { root, seen, owner, _lock: lock };
        for dir in [home.work(), home.temporary()] {
            remove_tree(&dir).map_err(failed)?;
            private_dir(&dir).map_err(failed)?;
        }
        private_dir(&home.packages()).map_err(failed)?;
        Ok(home)
    }

    /// Where attempts have their working folders; empty at each start.
    pub fn work(&self) -> PathBuf {
        self.seen.join("work")
    }

    /// Where things are made before they are moved into place; empty at each start.
    pub fn temporary(&self) -> PathBuf {
        self.seen.join("temporary")
    }

    pub fn packages(&self) -> PathBuf {
        self.seen.join("packages")
    }

    /// What containers find from one task to the next.
    pub fn caches(&self) -> PathBuf {
        self.seen.join("caches")
    }

    /// The bounds of what the node takes of the disk.
    pub fn limits(&self, share: DiskShare) -> io::Result<disk::Limits> {
        let budget = match share.bytes {
            Some(bytes) => bytes,
            None => {
                let own = count::tree(&self.seen);
                disk::free_bytes(&self.seen)?.saturating_add(own)
                    / 2
                    / u64::from(share.nodes.max(1))
            }
        };
        Ok(disk::Limits { budget, keep_free: share.keep_free })
    }

    /// What the owner calls the node, kept for the starts at which they do not say.
    pub fn named(&self, label: Option<&str>) -> io::Result<String> {
        let file = self.root.join("label");
        if let Some(label) = label {
            fs::write(&file, label)?;
            return Ok(label.to_owned());
        }
        match fs::read_to_string(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            read => read,
        }
    }

    /// The node's identity.
    pub fn key_file(&self) -> PathBuf {
        self.root.join("node.key")
    }

    /// What containers of this folder's node are labelled with: the same after a restart.
    pub fn label(&self) -> String {
        label(&self.root)
    }

    /// The node's own user.
    pub const fn owner(&self) -> User {
        self.owner
    }
}

/// What containers of a folder's node are labelled with.
fn label(root: &Path) -> String {
    Digest::of(root.as_os_str().as_encoded_bytes()).to_string()[..32].to_owned()
}

/// Whether a folder's path names a user of this machine.
pub fn names_somebody(path: &Path) -> bool {
    HOMES.iter().any(|home| path.starts_with(home))
}

/// The folder for what containers see; `containers` in the data folder leads to it.
fn seen(root: &Path, owner: User) -> io::Result<PathBuf> {
    if !names_somebody(root) || owner.uid != 0 {
        return Ok(root.to_owned());
    }
    let base = Path::new(NEUTRAL);
    let seen = base.join(label(root));
    private_dir(base)?;
    if fs::metadata(base)?.dev() != fs::metadata(root)?.dev() {
        return Ok(root.to_owned());
    }
    private_dir(&seen)?;
    let link = root.join("containers");
    remove_file(&link)?;
    std::os::unix::fs::symlink(&seen, link)?;
    Ok(seen)
}

/// Makes a folder that only the node's own user may enter.
pub fn private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes a folder with exactly this mode, whatever the umask.
pub fn dir_with_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::create_dir(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Waits until all that was written below a folder is on the disk.
pub fn sync_tree(top: &Path) -> io::Result<()> {
    let mut all = vec![top.to_owned()];
    let mut n = 0;
    while let Some(path) = all.get(n).cloned() {
        n += 1;
        if all.len() > SYNCED_ONE_BY_ONE_MAX {
            return Ok(rustix::fs::syncfs(File::open(top)?)?);
        }
        if path.is_dir() {
            for entry in fs::read_dir(&path)? {
                all.push(entry?.path());
            }
        }
    }
    all.iter().try_for_each(|path| File::open(path)?.sync_all())
}

/// Waits until the names in a folder are on the disk.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Removes a folder and all that is in it; it may be missing. Nothing that a container makes there
/// can keep it: folders that are closed against their owner are opened first, and ones that lie
/// too deep for a path or for the open files of a process are raised to the top.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(_) => raise_and_remove(path),
    }
}

/// Empties one folder after the other; the folders in it wait for their turn at the top.
fn raise_and_remove(top: &Path) -> io::Result<()> {
    let away = top.with_extension("gone");
    fs::create_dir_all(&away)?;
    let mut names = 0u64;
    let mut raised = vec![top.to_owned()];
    while let Some(folder) = raised.pop() {
        fs::set_permissions(&folder, Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                fs::remove_file(entry.path())?;
                continue;
            }
            // A folder must be open to its owner to be moved.
            fs::set_permissions(entry.path(), Permissions::from_mode(0o700))?;
            names += 1;
            let to = away.join(names.to_string());
            fs::rename(entry.path(), &to)?;
            raised.push(to);
        }
        fs::remove_dir(&folder)?;
    }
    fs::remove_dir(away)
}

/// Removes a file; it may be missing.
pub fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_node_is_kept_out_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let first = Home::open(dir.path()).unwrap();

        assert!(matches!(Home::open(dir.path()), Err(Error::InUse(_))));
        drop(first);
        Home::open(dir.path()).unwrap();
    }

    #[test]
    fn no_depth_and_no_lock_keeps_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, next) = (dir.path().join("tree"), dir.path().join("next"));
        fs::create_dir(&tree).unwrap();
        fs::write(tree.join("file"), "x").unwrap();
        for _ in 0..5000 {
            fs::create_dir(&next).unwrap();
            fs::rename(&tree, next.join("d")).unwrap();
            fs::rename(&next, &tree).unwrap();
        }
        fs::create_dir(tree.join("closed")).unwrap();
        fs::write(tree.join("closed/file"), "x").unwrap();
        fs::set_permissions(tree.join("closed"), Permissions::from_mode(0o000)).unwrap();

        remove_tree(&tree).unwrap();
        remove_tree(&tree).unwrap();

        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn few_files_and_many_are_synced() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("folder")).unwrap();
        for n in 0..2 * SYNCED_ONE_BY_ONE_MAX {
            fs::write(dir.path().join(format!("folder/{n}")), "x").unwrap();
            if n < 2 || n + 1 == 2 * SYNCED_ONE_BY_ONE_MAX {
                sync_tree(dir.path()).unwrap();
            }
        }
        sync_folder(dir.path()).unwrap();
        assert!(sync_tree(&dir.path().join("missing")).is_err());
    }

    #[test]
    fn containers_see_no_path_that_names_somebody() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        assert_eq!(home.work(), dir.path().canonicalize().unwrap().join("work"));
        if home.owner().uid != 0 {
            println!("skipped: only root can choose another folder");
            return;
        }

        let somebody = tempfile::tempdir_in("/root").unwrap();
        let home = Home::open(somebody.path()).unwrap();

        let seen = somebody.path().join("containers").canonicalize().unwrap();
        for folder in [home.work(), home.temporary(), home.packages(), home.caches()] {
            assert!(!names_somebody(&folder) && folder.starts_with(&seen), "{folder:?}");
        }
        assert!(home.key_file().starts_with(somebody.path()));
        fs::remove_dir_all(seen).unwrap();
    }

    #[test]
    fn leftovers_are_removed_and_packages_stay() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let label = home.label();
        for folder in [home.work(), home.temporary(), home.packages()] {
            fs::create_dir(folder.join("old")).unwrap();
        }
        drop(home);

        let home = Home::open(dir.path()).unwrap();

        assert!(!home.work().join("old").exists());
        assert!(!home.temporary().join("old").exists());
        assert!(home.packages().join("old").exists());
        assert_eq!(home.label(), label);
    }

    #[test]
    fn home_keeps_the_label_for_later_starts() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();

        assert_eq!(home.named(None).unwrap(), "");
        home.named(Some("attic")).unwrap();
        drop(home);

        assert_eq!(Home::open(dir.path()).unwrap().named(None).unwrap(), "attic");
    }
}
