//! Unpacks a package's tar archive. The archive is a stranger's: only plain files and folders
//! come out of it, only below the folder it is unpacked into, and only so many.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use tar::EntryType;

use crate::home::dir_with_mode;

/// The most bytes of a header that holds a long name or other extras.
const EXTRA_BYTES_MAX: u64 = 64 * 1024;
const DEPTH_MAX: usize = 32;

/// How much an archive may unpack to.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub entries: usize,
    pub bytes: u64,
}

impl Limits {
    pub const PACKAGE: Self = Self { entries: 20_000, bytes: 2 << 30 };
}

/// The archive is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the package is not a tar archive: {0}")]
    Malformed(String),
    #[error("the package has more than {0} files")]
    TooMany(usize),
    #[error("the package unpacks to more than {0} bytes")]
    TooLarge(u64),
    #[error("the package's entry {0:?} lies outside of it")]
    Outside(String),
    #[error("the package's entry {0:?} is neither a file nor a folder")]
    Kind(String),
    #[error("the package's entry {0:?} is there twice, or is both a file and a folder")]
    Twice(String),
    #[error("the package has no manifest.json at its top or in its only folder")]
    NoManifest,
    #[error("the package cannot be unpacked")]
    Io(#[from] io::Error),
}

/// Unpacks into `to`, which must be an empty folder, and gives the package's own folder in it:
/// the one with `manifest.json`.
pub fn unpack(archive: &mut File, to: &Path, limits: Limits) -> Result<PathBuf, Error> {
    inspect(archive, limits)?;
    archive.rewind()?;
    let mut left = limits.bytes;
    let mut tar = tar::Archive::new(archive);
    for entry in tar.entries().map_err(|e| malformed(&e))? {
        let mut entry = entry.map_err(|e| malformed(&e))?;
        let name = entry.path().map_err(|e| malformed(&e))?.into_owned();
        let path = safe_path(&name)?;
        if entry.header().entry_type() == EntryType::Directory {
            make_dirs(to, &path)?;
            continue;
        }
        let executable = entry.header().mode().is_ok_and(|mode| mode & 0o111 != 0);
        make_dirs(to, path.parent().unwrap_or(Path::new("")))?;
        let mut file = create(&to.join(&path), executable).map_err(|e| exists_as(e, &path))?;
        let written = io::copy(&mut entry.by_ref().take(left + 1), &mut file)?;
        left = left.checked_sub(written).ok_or(Error::TooLarge(limits.bytes))?;
    }
    root(to)
}

/// Looks at the raw headers first: what is refused here is never interpreted. An extended size or
/// a long name of gigabytes would be believed, and read into memory, by the reader of the second
/// pass.
#[expect(clippy::wildcard_enum_match_arm, reason = "kinds not named are refused")]
fn inspect(archive: &mut File, limits: Limits) -> Result<(), Error> {
    let (mut entries, mut bytes) = (0, 0u64);
    archive.rewind()?;
    let mut tar = tar::Archive::new(archive);
    for entry in tar.entries_with_seek().map_err(|e| malformed(&e))?.raw(true) {
        let mut entry = entry.map_err(|e| malformed(&e))?;
        let size = entry.header().entry_size().map_err(|e| malformed(&e))?;
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Directory => {}
            EntryType::GNULongName | EntryType::XHeader | EntryType::XGlobalHeader => {
                check_extra(&mut entry)?;
            }
            _ => {
                let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
                return Err(Error::Kind(name));
            }
        }
        entries += 1;
        bytes = bytes.saturating_add(size);
        if entries > limits.entries {
            return Err(Error::TooMany(limits.entries));
        }
        if bytes > limits.bytes {
            return Err(Error::TooLarge(limits.bytes));
        }
    }
    if entries == 0 { Err(Error::Malformed("it is empty".into())) } else { Ok(()) }
}

/// Reads an entry that only says more of the next one, and refuses what would mislead or burden
/// a reader that believes it.
pub fn check_extra(entry: &mut tar::Entry<'_, impl Read>) -> Result<(), Error> {
    let mut extra = Vec::new();
    entry.take(EXTRA_BYTES_MAX + 1).read_to_end(&mut extra)?;
    if extra.len() as u64 > EXTRA_BYTES_MAX {
        return Err(Error::Malformed("a header is too large".into()));
    }
    if extra.windows(6).any(|window| window == b" size=") {
        return Err(Error::Malformed("a size is given twice".into()));
    }
    Ok(())
}

fn malformed(source: &io::Error) -> Error {
    Error::Malformed(source.to_string())
}

/// The path without `.`, or a refusal where it could lead elsewhere.
fn safe_path(name: &Path) -> Result<PathBuf, Error> {
    let mut path = PathBuf::new();
    for component in name.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(part) => path.push(part),
            Component::Prefix(_) | Component::RootDir | Component::ParentDir => {
                return Err(Error::Outside(name.display().to_string()));
            }
        }
    }
    if path.components().count() > DEPTH_MAX {
        return Err(Error::Outside(name.display().to_string()));
    }
    Ok(path)
}

/// Makes the folders of `path` below `to`, one by one, each with a mode that the container's user
/// can read.
fn make_dirs(to: &Path, path: &Path) -> Result<(), Error> {
    let mut made = to.to_owned();
    for part in path.components() {
        made.push(part);
        match dir_with_mode(&made, 0o755) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && made.is_dir() => {}
            other => other.map_err(|e| exists_as(e, path))?,
        }
    }
    Ok(())
}

fn create(path: &Path, executable: bool) -> io::Result<File> {
    let mode = if executable { 0o755 } else { 0o644 };
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    Ok(file)
}

fn exists_as(error: io::Error, path: &Path) -> Error {
    use io::ErrorKind as K;
    if matches!(error.kind(), K::AlreadyExists | K::IsADirectory | K::NotADirectory) {
        return Error::Twice(path.display().to_string());
    }
    if error.kind() == K::InvalidFilename {
        return Error::Outside(path.display().to_string());
    }
    Error::Io(error)
}

/// The package's own folder: the top, or the only folder in it.
fn root(top: &Path) -> Result<PathBuf, Error> {
    let has_manifest = |dir: &Path| dir.join("manifest.json").is_file();
    if has_manifest(top) {
        return Ok(top.to_owned());
    }
    let entries = fs::read_dir(top)?.collect::<Result<Vec<_>, _>>()?;
    match entries.as_slice() {
        [only] if has_manifest(&only.path()) => Ok(only.path()),
        _ => Err(Error::NoManifest),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    type Entry<'a> = (&'a str, EntryType, &'a [u8]);

    fn archive(entries: &[Entry<'_>]) -> File {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, kind, bytes) in entries {
            let mut header = tar::Header::new_gnu();
            // Past the builder's own checks, as an attacker would.
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            if kind.is_hard_link() || kind.is_symlink() {
                header.set_link_name("/etc/passwd").unwrap();
            }
            header.set_cksum();
            tar.append(&header, *bytes).unwrap();
        }
        file(&tar.into_inner().unwrap())
    }

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn unpacked(mut archive: File) -> (tempfile::TempDir, Result<PathBuf, Error>) {
        let to = tempfile::tempdir().unwrap();
        let result = unpack(&mut archive, to.path(), Limits { entries: 10, bytes: 100 });
        (to, result)
    }

    const FILE: EntryType = EntryType::Regular;

    #[test]
    fn a_package_may_lie_at_the_top_or_in_one_folder() {
        for (prefix, root) in [("", ""), ("./", ""), ("hello/", "hello")] {
            let (manifest, main) =
                (format!("{prefix}manifest.json"), format!("{prefix}app/main.py"));
            let (to, result) =
                unpacked(archive(&[(&manifest, FILE, b"{}"), (&main, FILE, b"print()")]));

            let folder = result.unwrap();
            assert_eq!(folder, to.path().join(root));
            assert_eq!(fs::read(folder.join("app/main.py")).unwrap(), b"print()");
        }
    }

    #[test]
    fn what_leads_outside_is_refused() {
        for name in ["/etc/cron.d/x", "../x", "app/../../x", "app/../manifest.json"] {
            let (_to, result) = unpacked(archive(&[(name, FILE, b"x")]));

            assert!(matches!(result, Err(Error::Outside(_))), "{name}: {result:?}");
        }
    }

    #[test]
    fn links_and_devices_are_refused() {
        use EntryType as E;
        for kind in [E::Symlink, E::Link, E::Char, E::Block, E::Fifo, E::GNUSparse, E::GNULongLink]
        {
            let (to, result) = unpacked(archive(&[("app", kind, b"")]));

            assert!(matches!(result, Err(Error::Kind(_))), "{kind:?}: {result:?}");
            assert_eq!(fs::read_dir(to.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn bombs_are_refused() {
        let many: Vec<Entry<'_>> = vec![("d", EntryType::Directory, b""); 11];
        assert!(matches!(unpacked(archive(&many)).1, Err(Error::TooMany(10))));

        let large = [("a", FILE, &[0u8; 60][..]), ("b", FILE, &[0u8; 60])];
        assert!(matches!(unpacked(archive(&large)).1, Err(Error::TooLarge(100))));

        let long_name = [("l", EntryType::GNULongName, &[b'a'; 70_000][..]), ("b", FILE, b"")];
        assert!(matches!(unpacked(archive(&long_name)).1, Err(Error::Malformed(_))));

        let sized = [("x", EntryType::XHeader, &b"17 size=99999999\n"[..]), ("b", FILE, b"")];
        assert!(matches!(unpacked(archive(&sized)).1, Err(Error::Malformed(_))));
    }

    #[test]
    fn a_name_is_used_once() {
        let twice = [("a", FILE, &b"1"[..]), ("a", FILE, b"2")];
        assert!(matches!(unpacked(archive(&twice)).1, Err(Error::Twice(_))));

        let below_a_file = [("a", FILE, &b"1"[..]), ("a/b", FILE, b"2")];
        assert!(matches!(unpacked(archive(&below_a_file)).1, Err(Error::Twice(_))));
    }

    #[test]
    fn what_is_no_package_is_refused() {
        assert!(matches!(unpacked(file(b"")).1, Err(Error::Malformed(_))));
        assert!(matches!(unpacked(file(&[7; 2000])).1, Err(Error::Malformed(_))));
        assert!(matches!(unpacked(archive(&[("x", FILE, b"")])).1, Err(Error::NoManifest)));
    }

    #[test]
    fn an_executable_stays_one_and_nothing_is_set_uid() {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, mode) in [("manifest.json", 0o600), ("app/run", 0o4711)] {
            let mut header = tar::Header::new_gnu();
            header.set_size(0);
            header.set_mode(mode);
            tar.append_data(&mut header, name, &b""[..]).unwrap();
        }
        let (_to, result) = unpacked(file(&tar.into_inner().unwrap()));

        let folder = result.unwrap();
        let mode = |name| fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode("manifest.json"), 0o644);
        assert_eq!(mode("app/run"), 0o755);
        assert_eq!(mode("app"), 0o755);
    }
}
