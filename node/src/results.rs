//! What a container left behind, as flat files with names, sizes and digests.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use common::digest::{Digest, Digester};
use common::protocol::{NAME_BYTES_MAX, OUTPUTS_MAX};
use common::text::is_plain;

use crate::disk::count::{DEPTH_MAX, ENTRIES_MAX};

/// A result file on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultFile {
    pub path: PathBuf,
    /// Flat: folders are joined with `__`.
    pub name: String,
    pub size: u64,
    pub digest: Digest,
}

/// The results cannot be taken; the customer's code is at fault.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there are more than {OUTPUTS_MAX} result files")]
    TooMany,
    #[error("the results have more than {0} bytes")]
    TooLarge(u64),
    #[error("the result {0:?} is neither a file nor a folder")]
    Kind(String),
    #[error("the result {0:?} has a name that is too long, or has characters no name may have")]
    Name(String),
    #[error("two results are called {0:?} once their folders are joined to their names")]
    Twice(String),
    #[error("the result {name:?} cannot be read")]
    Unreadable { name: String, source: io::Error },
}

/// Lists a folder that nobody writes to any more, in the order of names, and reads every file
/// for its digest.
pub fn collect(folder: &Path, bytes_max: u64) -> Result<Vec<ResultFile>, Error> {
    let mut found = Vec::new();
    let (mut bytes, mut entries) = (0u64, 0);
    let mut folders = vec![(folder.to_owned(), String::new(), 0)];
    while let Some((folder, prefix, depth)) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|e| unreadable(&prefix, e))? {
            let entry = entry.map_err(|e| unreadable(&prefix, e))?;
            let name = name(&prefix, &entry.file_name())?;
            let meta = entry.metadata().map_err(|e| unreadable(&name, e))?;
            entries += 1;
            if entries > ENTRIES_MAX || depth > DEPTH_MAX {
                return Err(Error::TooMany);
            }
            if meta.is_dir() {
                folders.push((entry.path(), format!("{name}__"), depth + 1));
                continue;
            }
            if !meta.is_file() {
                return Err(Error::Kind(name));
            }
            bytes = bytes.saturating_add(meta.len());
            if bytes > bytes_max {
                return Err(Error::TooLarge(bytes_max));
            }
            if found.len() == OUTPUTS_MAX {
                return Err(Error::TooMany);
            }
            found.push((name, entry.path()));
        }
    }
    found.sort();
    let mut names = HashSet::new();
    if let Some((name, _)) = found.iter().find(|(name, _)| !names.insert(name)) {
        return Err(Error::Twice(name.clone()));
    }
    found.into_iter().map(|(name, path)| read(name, path)).collect()
}

fn name(prefix: &str, file: &std::ffi::OsStr) -> Result<String, Error> {
    let name = format!("{prefix}{}", file.to_string_lossy());
    let odd = |c: char| !is_plain(c) || c == '\\' || c == char::REPLACEMENT_CHARACTER;
    if name.len() > NAME_BYTES_MAX || name.contains(odd) {
        return Err(Error::Name(name.chars().take(NAME_BYTES_MAX).collect()));
    }
    Ok(name)
}

fn read(name: String, path: PathBuf) -> Result<ResultFile, Error> {
    let (size, digest) = digest(&path).map_err(|e| unreadable(&name, e))?;
    Ok(ResultFile { path, name, size, digest })
}

fn digest(path: &Path) -> io::Result<(u64, Digest)> {
    let mut file = File::open(path)?;
    let (mut size, mut digester) = (0, Digester::default());
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok((size, digester.finish()));
        }
        digester.update(&buffer[..n]);
        size += n as u64;
    }
}

fn unreadable(name: &str, source: io::Error) -> Error {
    Error::Unreadable { name: name.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        dir
    }

    #[test]
    fn nested_folders_are_flattened() {
        let dir = folder(&[("b.txt", b"2"), ("a/x/y.txt", b"123"), ("a/z", b"")]);
        fs::create_dir(dir.path().join("empty")).unwrap();

        let files = collect(dir.path(), 100).unwrap();

        let listed: Vec<_> = files.iter().map(|f| (f.name.as_str(), f.size)).collect();
        assert_eq!(listed, [("a__x__y.txt", 3), ("a__z", 0), ("b.txt", 1)]);
        assert_eq!(files[0].digest, Digest::of(b"123"));
    }

    #[test]
    fn names_that_fall_together_are_refused() {
        let dir = folder(&[("a/b", b"1"), ("a__b", b"2")]);

        assert!(matches!(collect(dir.path(), 100), Err(Error::Twice(_))));
    }

    #[test]
    fn links_sockets_and_odd_names_are_refused() {
        let dir = folder(&[]);
        std::os::unix::fs::symlink("/etc/shadow", dir.path().join("stolen")).unwrap();
        assert!(matches!(collect(dir.path(), 100), Err(Error::Kind(_))));

        let dir = folder(&[]);
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("s")).unwrap();
        assert!(matches!(collect(dir.path(), 100), Err(Error::Kind(_))));

        let long = format!("{0}/{0}", "n".repeat(200));
        for name in ["a\\b", "a\nb", &long] {
            let dir = folder(&[(name, b"")]);
            assert!(matches!(collect(dir.path(), 100), Err(Error::Name(_))), "{name}");
        }
    }

    #[test]
    fn what_lies_too_deep_is_refused() {
        let dir = folder(&[(&format!("{}x", "d/".repeat(DEPTH_MAX)), b"")]);
        collect(dir.path(), 100).unwrap();

        let dir = folder(&[(&format!("{}x", "d/".repeat(DEPTH_MAX + 1)), b"")]);
        assert!(matches!(collect(dir.path(), 100), Err(Error::TooMany)));
    }

    #[test]
    fn too_much_is_refused() {
        let dir = folder(&[("a", &[0; 60]), ("b", &[0; 60])]);
        assert!(matches!(collect(dir.path(), 100), Err(Error::TooLarge(100))));

        let dir = folder(&[]);
        for i in 0..=OUTPUTS_MAX {
            File::create(dir.path().join(i.to_string())).unwrap();
        }
        assert!(matches!(collect(dir.path(), 100), Err(Error::TooMany)));
    }
}
