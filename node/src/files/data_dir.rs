//! The node's folder on disk: who may use it, and what is where.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use common::digest::Digest;

use crate::DiskShare;
use crate::disk::{self, count};
use crate::files::tree::{private_dir, remove_file, remove_tree};
use crate::files::users::User;

/// Homes of people. What containers see must not lie there, for they can read its path.
const HOMES: [&str; 3] = ["/home", "/root", "/Users"];
/// Where it lies instead, if that is the same disk.
const NEUTRAL: &str = "/var/lib/fanfold";

/// A locked data folder. The lock ends with the process, however it ends.
#[derive(Debug)]
pub struct DataDir {
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

impl DataDir {
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
        let data_dir = Self { root, seen, owner, _lock: lock };
        for dir in [data_dir.work(), data_dir.temporary()] {
            remove_tree(&dir).map_err(failed)?;
            private_dir(&dir).map_err(failed)?;
        }
        private_dir(&data_dir.packages()).map_err(failed)?;
        Ok(data_dir)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_node_is_refused_until_the_first_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::open(dir.path()).unwrap();

        assert!(matches!(DataDir::open(dir.path()), Err(Error::InUse(_))));
        drop(first);
        DataDir::open(dir.path()).unwrap();
    }

    #[test]
    fn containers_see_no_path_with_a_user_name() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(dir.path()).unwrap();
        assert_eq!(data_dir.work(), dir.path().canonicalize().unwrap().join("work"));
        if data_dir.owner().uid != 0 {
            println!("skipped: only root can choose another folder");
            return;
        }

        let somebody = tempfile::tempdir_in("/root").unwrap();
        let data_dir = DataDir::open(somebody.path()).unwrap();

        let seen = somebody.path().join("containers").canonicalize().unwrap();
        for folder in
            [data_dir.work(), data_dir.temporary(), data_dir.packages(), data_dir.caches()]
        {
            assert!(!names_somebody(&folder) && folder.starts_with(&seen), "{folder:?}");
        }
        assert!(data_dir.key_file().starts_with(somebody.path()));
        fs::remove_dir_all(seen).unwrap();
    }

    #[test]
    fn leftovers_are_removed_and_packages_stay() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(dir.path()).unwrap();
        let label = data_dir.label();
        for folder in [data_dir.work(), data_dir.temporary(), data_dir.packages()] {
            fs::create_dir(folder.join("old")).unwrap();
        }
        drop(data_dir);

        let data_dir = DataDir::open(dir.path()).unwrap();

        assert!(!data_dir.work().join("old").exists());
        assert!(!data_dir.temporary().join("old").exists());
        assert!(data_dir.packages().join("old").exists());
        assert_eq!(data_dir.label(), label);
    }

    #[test]
    fn home_keeps_the_label_for_later_starts() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(dir.path()).unwrap();

        assert_eq!(data_dir.named(None).unwrap(), "");
        data_dir.named(Some("attic")).unwrap();
        drop(data_dir);

        assert_eq!(DataDir::open(dir.path()).unwrap().named(None).unwrap(), "attic");
    }
}
