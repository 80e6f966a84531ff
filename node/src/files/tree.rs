//! Folders that are made, synced and removed with all that is in them.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use common::error_chain::chain;

/// With more files than this, the whole file system is synced at once: that waits for what others
/// have written, too.
const SYNCED_ONE_BY_ONE_MAX: usize = 100;

/// A folder that goes when its owner goes.
#[derive(Debug)]
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(below: &Path) -> io::Result<Self> {
        let folder = below.join(uuid::Uuid::new_v4().to_string());
        private_dir(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.0) {
            tracing::warn!(
                error = %chain(&error),
                folder = %self.0.display(),
                "a folder cannot be removed"
            );
        }
    }
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
    fn tree_of_any_depth_and_mode_is_removed() {
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
    fn tree_of_few_files_and_of_many_is_synced() {
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
}
