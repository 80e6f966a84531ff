//! Unpacks a package's tar archive. The archive is a stranger's: the reader that all share checks
//! what comes out of it, and nothing is written over.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Seek as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use common::package::archive::contents::{self, Item, Limits};
use common::package::tarball;

use crate::files::tree::dir_with_mode;

/// How much a package may unpack to here: more than any server takes in.
pub const LIMITS: Limits = Limits { entries: 20_000, bytes: 2 << 30 };

/// The archive is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the package cannot be unpacked: {0}")]
    Refused(contents::Error),
    #[error("the package cannot be unpacked")]
    Io(#[from] io::Error),
}

impl From<contents::Error> for Error {
    fn from(error: contents::Error) -> Self {
        if let contents::Error::Archive(tarball::Error::Io(error)) = error {
            Self::Io(error)
        } else {
            Self::Refused(error)
        }
    }
}

/// Unpacks into `to`, which must be an empty folder, and gives the package's own folder in it:
/// the one with `manifest.json`.
pub fn unpack(archive: &mut File, to: &Path, limits: Limits) -> Result<PathBuf, Error> {
    archive.rewind()?;
    let contents = contents::walk(BufReader::new(archive), limits, |item| match item {
        Item::Folder { path } => Ok(make_dirs(to, Path::new(path))?),
        Item::File { path, executable, bytes } => {
            let path = Path::new(path);
            make_dirs(to, path.parent().unwrap_or(Path::new("")))?;
            let mut file = create(&to.join(path), executable)?;
            io::copy(bytes, &mut file).map_err(contents::unreadable)?;
            Ok::<_, Error>(())
        }
    })?;
    Ok(to.join(contents.root()?))
}

/// Makes the folders of `path` below `to`, one by one, each with a mode that the container's user
/// can read.
fn make_dirs(to: &Path, path: &Path) -> io::Result<()> {
    let mut made = to.to_owned();
    for part in path.components() {
        made.push(part);
        match dir_with_mode(&made, 0o755) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && made.is_dir() => {}
            other => other?,
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use tar::EntryType;

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

    #[track_caller]
    fn assert_refused(entries: &[Entry<'_>], says: &str) {
        let (_to, result) = unpacked(archive(entries));
        let refused = result.unwrap_err();
        assert!(
            matches!(refused, Error::Refused(_)) && refused.to_string().contains(says),
            "{refused}"
        );
    }

    const FILE: EntryType = EntryType::Regular;

    #[test]
    fn package_may_be_at_the_top_or_in_one_folder() {
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
    fn package_of_git_archive_is_read_as_the_server_reads_it() {
        let (_to, result) = unpacked(archive(&[
            ("pax_global_header", EntryType::XGlobalHeader, b"19 comment=0123456\n"),
            ("._hello", FILE, b"macOS"),
            ("hello/", EntryType::Directory, b""),
            ("empty/", EntryType::Directory, b""),
            ("hello/manifest.json", FILE, b"{}"),
            ("hello/app/main.py", EntryType::Continuous, b"print()"),
        ]));

        let folder = result.unwrap();
        assert!(folder.ends_with("hello"));
        assert_eq!(fs::read(folder.join("app/main.py")).unwrap(), b"print()");
    }

    #[test]
    fn entries_that_lead_outside_are_refused() {
        for name in ["/etc/cron.d/x", "../x", "app/../../x", "app/../manifest.json"] {
            let says = if name.starts_with('/') { "absolute" } else { "leads out" };
            assert_refused(&[(name, FILE, b"x")], says);
        }
    }

    #[test]
    fn links_and_devices_are_refused() {
        use EntryType as E;
        for (kind, says) in [
            (E::Symlink, "link"),
            (E::Link, "link"),
            (E::Char, "neither"),
            (E::Block, "neither"),
            (E::Fifo, "neither"),
            (E::GNUSparse, "sparse"),
        ] {
            assert_refused(&[("app", kind, b"")], says);
        }
    }

    #[test]
    fn archive_bombs_are_refused() {
        let many: Vec<Entry<'_>> = vec![("d", EntryType::Directory, b""); 11];
        assert_refused(&many, "more than 10 files");
        assert_refused(&[("a", FILE, &[0; 60]), ("b", FILE, &[0; 60])], "unpacks to more");
    }

    #[test]
    fn duplicate_name_is_refused() {
        assert_refused(&[("a", FILE, b"1"), ("a", FILE, b"2")], "twice");
        assert_refused(&[("a", FILE, b"1"), ("a/b", FILE, b"2")], "at once");
    }

    #[test]
    fn archive_that_is_no_package_is_refused() {
        let refused = |bytes: &[u8]| unpacked(file(bytes)).1.unwrap_err().to_string();

        assert!(refused(b"").contains("archive of nothing"));
        assert!(refused(&[7; 2000]).contains("not a tar archive"));
        assert_refused(&[("x", FILE, b"")], "no manifest.json");
    }

    #[test]
    fn executable_stays_one_and_setuid_is_removed() {
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
