//! A package folder as the tar archive that is pushed.
//!
//! The same folder gives the same bytes on every machine, so that a package's digest says whether
//! it has changed.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::client::failure::Failure;

/// What a package may weigh, unpacked.
const PACKAGE_BYTES_MAX: u64 = 32 << 20;
const ENTRIES_MAX: usize = 10_000;
/// Left behind by tools, and never part of a package.
const SKIPPED: [&str; 2] = [".git", "__pycache__"];

/// Why a folder cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no folder {0}")]
    NoFolder(PathBuf),
    #[error("{0} has no manifest.json; name the package's own folder")]
    NoManifest(PathBuf),
    #[error("{0} is a link or a special file; a package holds only files and folders")]
    NotAFile(PathBuf),
    #[error("{0} has a name that is not UTF-8")]
    Name(PathBuf),
    #[error("the package has more than {ENTRIES_MAX} files or {PACKAGE_BYTES_MAX} bytes")]
    TooLarge,
    #[error("cannot read {0}: {1}")]
    Io(PathBuf, #[source] io::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Usage(error.to_string())
    }
}

/// Packs a folder: entries sorted by path, no times, no owners, two kinds of permission.
pub fn pack(folder: &Path) -> Result<Vec<u8>, Error> {
    if !folder.is_dir() {
        return Err(Error::NoFolder(folder.to_owned()));
    }
    if !folder.join("manifest.json").is_file() {
        return Err(Error::NoManifest(folder.to_owned()));
    }
    let mut archive = tar::Builder::new(Vec::new());
    let mut bytes_left = PACKAGE_BYTES_MAX;
    for (path, metadata) in entries(folder)? {
        let full = folder.join(&path);
        let (content, mode) = if metadata.is_dir() {
            (Vec::new(), 0o755)
        } else {
            bytes_left = bytes_left.checked_sub(metadata.len()).ok_or(Error::TooLarge)?;
            let content = fs::read(&full).map_err(|error| Error::Io(full.clone(), error))?;
            (content, if metadata.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 })
        };
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(match metadata.is_dir() {
            true => tar::EntryType::Directory,
            false => tar::EntryType::Regular,
        });
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        header.set_mtime(0);
        archive
            .append_data(&mut header, &path, content.as_slice())
            .map_err(|error| Error::Io(full, error))?;
    }
    archive.into_inner().map_err(|error| Error::Io(folder.to_owned(), error))
}

/// Everything below the folder, by relative path, a folder before what is in it.
fn entries(folder: &Path) -> Result<Vec<(String, Metadata)>, Error> {
    let mut found = Vec::new();
    let mut open = vec![String::new()];
    while let Some(inside) = open.pop() {
        let full = folder.join(&inside);
        let listing = fs::read_dir(&full).map_err(|error| Error::Io(full.clone(), error))?;
        for entry in listing {
            let entry = entry.map_err(|error| Error::Io(full.clone(), error))?;
            let name = entry.file_name().into_string().map_err(|_| Error::Name(entry.path()))?;
            if SKIPPED.contains(&name.as_str()) {
                continue;
            }
            // Of the entry itself: where it is a link, the link's.
            let metadata = entry.metadata().map_err(|error| Error::Io(entry.path(), error))?;
            if !metadata.is_file() && !metadata.is_dir() {
                return Err(Error::NotAFile(entry.path()));
            }
            let path = if inside.is_empty() { name } else { format!("{inside}/{name}") };
            if metadata.is_dir() {
                open.push(path.clone());
            }
            found.push((path, metadata));
            if found.len() > ENTRIES_MAX {
                return Err(Error::TooLarge);
            }
        }
    }
    found.sort_by(|(one, _), (two, _)| one.cmp(two));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn package(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        folder
    }

    #[test]
    fn archive_of_the_same_folder_has_the_same_bytes() {
        let one = package(&["manifest.json", "app/main.py", "app/lib/a.py"]);
        let two = package(&["app/lib/a.py", "app/main.py", "manifest.json"]);
        fs::create_dir(two.path().join("app/__pycache__")).unwrap();
        let old = fs::File::options().write(true).open(two.path().join("app/main.py")).unwrap();
        old.set_modified(std::time::UNIX_EPOCH).unwrap();

        let packed = pack(one.path()).unwrap();

        assert_eq!(packed, pack(two.path()).unwrap());
        let paths: Vec<_> = tar::Archive::new(packed.as_slice())
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(paths, ["app", "app/lib", "app/lib/a.py", "app/main.py", "manifest.json"]);
    }

    #[test]
    fn archive_keeps_the_executable_bit() {
        let folder = package(&["manifest.json", "app/run"]);
        let run = folder.path().join("app/run");
        fs::set_permissions(&run, fs::Permissions::from_mode(0o700)).unwrap();

        let packed = pack(folder.path()).unwrap();

        let modes: Vec<_> = tar::Archive::new(packed.as_slice())
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().header().mode().unwrap())
            .collect();
        assert_eq!(modes, [0o755, 0o755, 0o644]);
    }

    #[test]
    fn archive_refuses_links() {
        let folder = package(&["manifest.json"]);
        symlink("/etc/passwd", folder.path().join("stolen")).unwrap();

        assert!(
            matches!(pack(folder.path()), Err(Error::NotAFile(path)) if path.ends_with("stolen"))
        );
    }

    #[test]
    fn folder_without_a_manifest_is_no_package() {
        assert!(matches!(pack(package(&["app/main.py"]).path()), Err(Error::NoManifest(_))));
    }
}
