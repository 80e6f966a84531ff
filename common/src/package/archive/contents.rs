//! What is in a package's archive, as everybody sees it who reads one.

use std::collections::HashSet;
use std::io::{self, Read};

use super::super::tarball::{self, Kind};
use crate::input::text::is_invisible;

const PATH_BYTES_MAX: usize = 1024;
const PART_BYTES_MAX: usize = 255;
const DEPTH_MAX: usize = 32;
const MANIFEST: &str = "manifest.json";

/// How much an archive may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Files and folders, folders without an entry included.
    pub entries: usize,
    pub bytes: u64,
}

/// The archive is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Archive(#[from] tarball::Error),
    #[error("the archive has more than {0} files and folders")]
    TooMany(usize),
    #[error("the archive unpacks to more than {} MiB", .0 >> 20)]
    TooLarge(u64),
    #[error("there is no manifest.json, neither at the top nor in a single top folder")]
    NoManifest,
}

/// A file or a folder of a package. Its path is plain: without `.` and `..`, and relative.
pub enum Item<'a> {
    Folder { path: &'a str },
    File { path: &'a str, executable: bool, bytes: &'a mut dyn Read },
}

/// The paths of all files and folders of a package.
#[derive(Debug, Default)]
pub struct Contents {
    pub files: HashSet<String>,
    folders: HashSet<String>,
}

impl Contents {
    /// The folder that the package is in: empty, or ending in `/`.
    ///
    /// # Errors
    /// When there is no manifest, or more than one folder could be meant.
    pub fn root(&self) -> Result<String, Error> {
        if self.files.contains(MANIFEST) {
            return Ok(String::new());
        }
        let mut manifests = self.files.iter().filter(|path| is_manifest(path));
        let (Some(path), None) = (manifests.next(), manifests.next()) else {
            return Err(Error::NoManifest);
        };
        let root = path.strip_suffix(MANIFEST).unwrap_or_default();
        match self.files.iter().find(|file| !file.starts_with(root)) {
            None => Ok(root.to_owned()),
            Some(other) => Err(Error::Archive(tarball::Error::Entry {
                entry: other.clone(),
                problem: "lies outside the folder that manifest.json is in",
            })),
        }
    }

    fn file(&mut self, path: &str) -> Result<(), &'static str> {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.folder(parent)?;
        }
        if self.folders.contains(path) {
            return Err("is a file and a folder at once");
        }
        if !self.files.insert(path.to_owned()) {
            return Err("is there twice");
        }
        Ok(())
    }

    /// Notes a folder and all folders above it.
    fn folder(&mut self, mut path: &str) -> Result<(), &'static str> {
        while !path.is_empty() && !self.folders.contains(path) {
            if self.files.contains(path) {
                return Err("is a file and a folder at once");
            }
            self.folders.insert(path.to_owned());
            path = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        }
        Ok(())
    }
}

/// Gives each file and folder of a package's archive to `take`, after it has been checked: nothing
/// that comes out of it could harm who unpacks it.
///
/// # Errors
/// With what is wrong with the archive, and with what `take` refuses.
pub fn walk<E: From<Error>>(
    archive: impl Read,
    limits: Limits,
    mut take: impl FnMut(Item<'_>) -> Result<(), E>,
) -> Result<Contents, E> {
    let (mut contents, mut left, mut entries) = (Contents::default(), limits.bytes, 0);
    let walked = tarball::each(archive, |entry| {
        entries += 1;
        if entries > limits.entries {
            return Err(Stop::Refused(Error::TooMany(limits.entries)));
        }
        let refused = |problem| Stop::Refused(Error::Archive(entry.refused(problem)));
        let path = plain_path(entry.name).map_err(refused)?;
        if is_litter(&path) {
            return Ok(());
        }
        let executable = match entry.kind {
            Kind::Folder => {
                contents.folder(&path).map_err(refused)?;
                return take(Item::Folder { path: &path }).map_err(Stop::Other);
            }
            Kind::File { executable } => executable,
            Kind::Symlink(_) | Kind::HardLink(_) => {
                return Err(refused(
                    "is a link; put the file itself in its place (tar --dereference \
                     --hard-dereference)",
                ));
            }
        };
        if path.is_empty() {
            return Err(refused("has no name"));
        }
        contents.file(&path).map_err(refused)?;
        if contents.files.len() + contents.folders.len() > limits.entries {
            return Err(Stop::Refused(Error::TooMany(limits.entries)));
        }
        left = left.checked_sub(entry.size).ok_or(Stop::Refused(Error::TooLarge(limits.bytes)))?;
        take(Item::File { path: &path, executable, bytes: &mut *entry.bytes }).map_err(Stop::Other)
    });
    match walked {
        Ok(()) => Ok(contents),
        Err(Stop::Refused(error)) => Err(error.into()),
        Err(Stop::Other(error)) => Err(error),
    }
}

enum Stop<E> {
    Refused(Error),
    Other(E),
}

impl<E> From<tarball::Error> for Stop<E> {
    fn from(error: tarball::Error) -> Self {
        Self::Refused(error.into())
    }
}

/// Reads a file whole.
pub fn read(bytes: &mut dyn Read) -> Result<Vec<u8>, Error> {
    let mut whole = Vec::new();
    bytes.read_to_end(&mut whole).map_err(unreadable)?;
    Ok(whole)
}

/// A file's bytes cannot be read.
pub fn unreadable(error: io::Error) -> Error {
    Error::Archive(tarball::failed(error))
}

/// What macOS puts beside files: attributes, and how a folder is shown.
fn is_litter(path: &str) -> bool {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    name.starts_with("._") || name == ".DS_Store"
}

/// `manifest.json` at the top or one folder down.
pub(in super::super) fn is_manifest(path: &str) -> bool {
    is_called(path, MANIFEST)
}

/// Whether the file is called so and lies at the top or one folder down.
pub(super) fn is_called(path: &str, name: &str) -> bool {
    match path.split_once('/') {
        None => path == name,
        Some((_, rest)) => rest == name,
    }
}

/// The path without `.` parts and final slashes, or why it may not be unpacked.
pub(in super::super) fn plain_path(raw: &[u8]) -> Result<String, &'static str> {
    let path = str::from_utf8(raw).map_err(|_| "has a name that is not UTF-8")?;
    if path.len() > PATH_BYTES_MAX {
        return Err("has a path that is too long");
    }
    if path.starts_with('/') {
        return Err("has an absolute path");
    }
    if path.chars().any(|c| c.is_control() || c == '\\') {
        return Err("has control characters or backslashes in its name");
    }
    if path.chars().any(is_invisible) {
        return Err("has invisible characters in its name");
    }
    let parts: Vec<_> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return Err("leads out of the archive");
    }
    if parts.iter().any(|part| part.len() > PART_BYTES_MAX) {
        return Err("has a name that is too long");
    }
    if parts.len() > DEPTH_MAX {
        return Err("lies in too many folders");
    }
    Ok(parts.join("/"))
}
