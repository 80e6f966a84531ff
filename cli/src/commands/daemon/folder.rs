//! The folder of a server or a node: whose it is, and what it tells its neighbours.

use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::client::failure::Failure;
use crate::file;

/// A folder that this process holds; the kernel gives it back however the process ends.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder where there is none, and takes it: two processes on one database or one
    /// node key would fight.
    pub fn take(path: &Path) -> Result<Self, Failure> {
        let failed = |error| Failure::local(format_args!("cannot use {}", path.display()), error);
        make_private(path)?;
        let path = path.canonicalize().map_err(failed)?;
        let mut options = File::options();
        let lock = options.write(true).create(true).truncate(false).open(path.join("lock"));
        let lock = lock.map_err(failed)?;
        lock.try_lock().map_err(|_| {
            Failure::Usage(format!("{} is in use by another fanfold", path.display()))
        })?;
        Ok(Self { path, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a folder inside and gives back its path.
    pub fn inside(&self, name: &Path) -> Result<PathBuf, Failure> {
        let path = self.path.join(name);
        fs::create_dir_all(&path).map_err(|error| {
            Failure::local(format_args!("cannot make {}", path.display()), error)
        })?;
        Ok(path)
    }

    /// Writes a JSON file with these permission bits.
    pub fn write(
        &self,
        name: &str,
        mode: u32,
        value: &impl serde::Serialize,
    ) -> Result<(), Failure> {
        let path = self.path.join(name);
        let text = serde_json::to_vec_pretty(value).expect("plain structs of text become JSON");
        file::write(&path, mode, &text)
            .map_err(|error| Failure::local(format_args!("cannot write {}", path.display()), error))
    }
}

/// Makes the folder where there is none, and closes it to the other users of this machine:
/// customers' data and the keys are in it.
///
/// # Errors
/// Where it is somebody else's folder that others can look into.
pub fn make_private(path: &Path) -> Result<(), Failure> {
    let failed = |error| Failure::local(format_args!("cannot use {}", path.display()), error);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    let found = fs::metadata(path).map_err(failed)?;
    if found.mode() & 0o077 == 0 {
        return Ok(());
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(Failure::local(
            format_args!("cannot use {}", path.display()),
            "other users of this machine can look into it, and it belongs to one of them: make it \
             the folder of the user that runs fanfold (chown), or name another with --data-dir",
        ));
    }
    tracing::warn!(folder = %path.display(), "the folder was open to other users; it is closed now");
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_is_private_whether_new_or_existing() {
        let base = tempfile::tempdir().unwrap();
        let (open, missing) = (base.path().join("open"), base.path().join("a/b"));
        fs::create_dir(&open).unwrap();
        for mode in [0o755, 0o750, 0o707, 0o700] {
            fs::set_permissions(&open, fs::Permissions::from_mode(mode)).unwrap();

            drop(Folder::take(&open).unwrap());

            assert_eq!(fs::metadata(&open).unwrap().mode() & 0o777, 0o700, "{mode:o}");
        }
        drop(Folder::take(&missing).unwrap());
        assert_eq!(fs::metadata(&missing).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn folder_of_another_user_that_is_open_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let theirs = base.path().join("theirs");
        fs::create_dir(&theirs).unwrap();
        fs::set_permissions(&theirs, fs::Permissions::from_mode(0o755)).unwrap();
        if std::os::unix::fs::chown(&theirs, Some(12_345), None).is_err() {
            println!("skipped: only root may give a folder away");
            return;
        }

        let refused = make_private(&theirs).unwrap_err();

        assert!(refused.to_string().contains("belongs to"), "{refused}");
        assert_eq!(fs::metadata(&theirs).unwrap().mode() & 0o777, 0o755);
    }

    #[test]
    fn folder_serves_one_process_at_a_time() {
        let base = tempfile::tempdir().unwrap();

        let held = Folder::take(base.path()).unwrap();

        assert!(matches!(Folder::take(base.path()), Err(Failure::Usage(_))));
        drop(held);
        assert!(Folder::take(base.path()).is_ok());
    }

    #[test]
    fn written_file_is_complete_and_private() {
        let base = tempfile::tempdir().unwrap();
        let folder = Folder::take(base.path()).unwrap();
        let path = folder.path().join("credentials.json");
        // What a crash left behind.
        fs::write(folder.path().join(".credentials.json.part"), "half").unwrap();

        folder.write("credentials.json", 0o600, &"one").unwrap();
        folder.write("credentials.json", 0o600, &"two").unwrap();

        assert_eq!(fs::read_to_string(&path).unwrap(), "\"two\"");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!folder.path().join(".credentials.json.part").exists());
    }
}
