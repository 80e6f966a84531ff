//! A package's tar archive, looked at before it is trusted: nodes will unpack it.

use std::collections::HashSet;
use std::io::Read;

use tar::EntryType;

use super::login;
use super::loose::Invalid;
use super::manifest::{Login, Manifest};

/// The most bytes of an archive.
pub const ARCHIVE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// The most entries of an archive.
pub const ENTRIES_MAX: usize = 10_000;
const MANIFEST_BYTES_MAX: u64 = 256 * 1024;
const PATH_BYTES_MAX: usize = 1024;
const PART_BYTES_MAX: usize = 255;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Why an archive is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("data: the archive is compressed; send a plain tar archive")]
    Compressed,
    #[error("data: the archive is larger than {} MiB", ARCHIVE_BYTES_MAX / 1024 / 1024)]
    TooLarge,
    #[error("data: the archive has more than {ENTRIES_MAX} entries")]
    TooMany,
    #[error("data: this is not a tar archive")]
    NotATar(#[source] std::io::Error),
    #[error("data: entry {entry:?} {problem}")]
    Entry { entry: String, problem: &'static str },
    #[error("data: there is no manifest.json, neither at the top nor in a single top folder")]
    NoManifest,
    #[error("data: the entrypoint {0:?} of manifest.json is not in the archive")]
    NoEntrypoint(String),
    #[error(
        "manifest.json: the username and token of the private image cannot be taken out of the \
         archive; pack it again with another tool"
    )]
    Login,
    #[error(transparent)]
    Manifest(#[from] Invalid),
}

/// An archive that has been checked.
#[derive(Debug)]
pub struct Checked {
    pub manifest: Manifest,
    /// What opened its private image, and is not in the archive any more.
    pub login: Option<Login>,
    /// The archive in place of the one that was given, where there was a login in that.
    pub rewritten: Option<Vec<u8>>,
}

/// Checks an archive that is pushed, and takes the login for its image out of it: whatever is kept
/// can be read by nodes.
pub fn check(archive: &[u8]) -> Result<Checked, Error> {
    let (manifest, login) = look(archive)?;
    if login.is_none() {
        return Ok(Checked { manifest, login, rewritten: None });
    }
    let rewritten = login::taken_out(archive).ok_or(Error::Login)?;
    match look(&rewritten)? {
        (again, None) if again.name == manifest.name => {
            Ok(Checked { manifest, login, rewritten: Some(rewritten) })
        }
        _ => Err(Error::Login),
    }
}

/// Looks through an archive and gives its manifest, with the login that stands in it.
///
/// Refuses whatever could harm who unpacks it: paths that lead out, links, devices, sparse files,
/// a file twice, and too much of anything.
fn look(archive: &[u8]) -> Result<(Manifest, Option<Login>), Error> {
    if archive.starts_with(&GZIP_MAGIC) {
        return Err(Error::Compressed);
    }
    if archive.len() as u64 > ARCHIVE_BYTES_MAX {
        return Err(Error::TooLarge);
    }
    let contents = Contents::read(archive)?;
    let (root, json) = contents.manifest()?;
    let (manifest, login) = Manifest::parse(json)?;
    let entrypoint = format!("{root}app/{}", manifest.entrypoint);
    if !contents.files.contains(&entrypoint) {
        return Err(Error::NoEntrypoint(entrypoint));
    }
    Ok((manifest, login))
}

/// What is in an archive: the paths of all files, and the manifests among them.
#[derive(Default)]
struct Contents {
    files: HashSet<String>,
    folders: HashSet<String>,
    manifests: Vec<(String, Vec<u8>)>,
    entries: usize,
}

impl Contents {
    fn read(archive: &[u8]) -> Result<Self, Error> {
        let mut contents = Self::default();
        let mut tar = tar::Archive::new(archive);
        for entry in tar.entries().map_err(Error::NotATar)? {
            contents.entry(entry.map_err(Error::NotATar)?)?;
        }
        Ok(contents)
    }

    fn entry(&mut self, mut entry: tar::Entry<'_, &[u8]>) -> Result<(), Error> {
        self.entries += 1;
        if self.entries > ENTRIES_MAX {
            return Err(Error::TooMany);
        }
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            return Ok(());
        }
        let raw = entry.path_bytes().into_owned();
        let shown = String::from_utf8_lossy(&raw).chars().take(200).collect();
        let refuse = |problem| Error::Entry { entry: shown, problem };
        let path = match plain_path(&raw) {
            Ok(path) => path,
            Err(problem) => return Err(refuse(problem)),
        };
        #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else there is, is refused")]
        match kind {
            EntryType::Directory => return self.folder(&path).map_err(refuse),
            EntryType::Regular | EntryType::Continuous => {}
            EntryType::Symlink | EntryType::Link => {
                return Err(refuse("is a link; put the file itself in its place"));
            }
            EntryType::GNUSparse => return Err(refuse("is a sparse file")),
            _ => return Err(refuse("is neither a file nor a folder")),
        }
        if path.is_empty() {
            return Err(refuse("has no name"));
        }
        if is_manifest(&path) {
            let mut json = Vec::new();
            let size = entry.size();
            if size > MANIFEST_BYTES_MAX {
                return Err(refuse("is too large for a manifest"));
            }
            entry.read_to_end(&mut json).map_err(Error::NotATar)?;
            if json.len() as u64 != size {
                return Err(refuse("is cut off"));
            }
            self.manifests.push((path.clone(), json));
        }
        self.file(path).map_err(refuse)
    }

    fn file(&mut self, path: String) -> Result<(), &'static str> {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.folder(parent)?;
        }
        if self.folders.contains(&path) {
            return Err("is a file and a folder at once");
        }
        if !self.files.insert(path) {
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

    /// The folder that the package is in (empty, or ending in `/`) and its manifest's text.
    fn manifest(&self) -> Result<(String, &[u8]), Error> {
        if let Some((_, json)) = self.manifests.iter().find(|(path, _)| path == "manifest.json") {
            return Ok((String::new(), json));
        }
        let [(path, json)] = self.manifests.as_slice() else { return Err(Error::NoManifest) };
        let root = path.strip_suffix("manifest.json").unwrap_or_default();
        match self.files.iter().find(|file| !file.starts_with(root)) {
            None => Ok((root.to_owned(), json)),
            Some(other) => Err(Error::Entry {
                entry: other.clone(),
                problem: "lies outside the folder that manifest.json is in",
            }),
        }
    }
}

/// `manifest.json` at the top or one folder down.
pub(super) fn is_manifest(path: &str) -> bool {
    match path.split_once('/') {
        None => path == "manifest.json",
        Some((_, rest)) => rest == "manifest.json",
    }
}

/// The path without `.` parts and final slashes, or why it may not be unpacked.
pub(super) fn plain_path(raw: &[u8]) -> Result<String, &'static str> {
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
    let parts: Vec<_> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return Err("leads out of the archive");
    }
    if parts.iter().any(|part| part.len() > PART_BYTES_MAX) {
        return Err("has a name that is too long");
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tar::Header;

    use super::*;

    const MANIFEST: &str =
        r#"{"name": "a", "version": "0.1", "platform_config": {"container": "python:3"}}"#;

    /// An archive of entries; names are written as they are, hostile ones included.
    fn archive(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, kind, bytes) in entries {
            let mut header = Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            if matches!(kind, EntryType::Symlink | EntryType::Link) {
                header.set_link_name("/etc/passwd").unwrap();
            }
            header.set_cksum();
            builder.append(&header, *bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn file<'a>(name: &'a str, text: &'a str) -> (&'a str, EntryType, &'a [u8]) {
        (name, EntryType::Regular, text.as_bytes())
    }

    #[test]
    fn a_package_is_read_at_the_top_or_in_one_folder() {
        for root in ["", "./", "pkg/", "./pkg/"] {
            let (manifest, main) = (format!("{root}manifest.json"), format!("{root}app/main.py"));
            let bytes = archive(&[file(&manifest, MANIFEST), file(&main, "print()")]);

            assert_eq!(check(&bytes).unwrap().manifest.name, "a", "{root}");
        }
    }

    #[test]
    fn hostile_entries_are_refused_by_name() {
        for (entry, says) in [
            (file("../evil", ""), "leads out"),
            (file("app/../../evil", ""), "leads out"),
            (file("/etc/cron.d/evil", ""), "absolute"),
            (file("app\\..\\evil", ""), "backslashes"),
            (file("app/main.py", ""), "twice"),
            (file("app/main.py/x", ""), "at once"),
            (file("app", ""), "at once"),
            (("app/l", EntryType::Symlink, &b""[..]), "link"),
            (("app/h", EntryType::Link, &b""[..]), "link"),
            (("app/c", EntryType::Char, &b""[..]), "neither"),
            (("app/b", EntryType::Block, &b""[..]), "neither"),
            (("app/f", EntryType::Fifo, &b""[..]), "neither"),
            (("app/s", EntryType::GNUSparse, &b""[..]), ""),
        ] {
            let bytes = archive(&[file("manifest.json", MANIFEST), file("app/main.py", ""), entry]);

            let refused = check(&bytes).unwrap_err().to_string();
            assert!(refused.contains(says), "{refused}");
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        let said = |entries: &[_]| check(&archive(entries)).unwrap_err().to_string();

        assert!(said(&[file("app/main.py", "")]).contains("no manifest.json"));
        assert!(said(&[file("manifest.json", MANIFEST)]).contains("app/main.py"));
        assert!(said(&[file("manifest.json", "{")]).contains("is not JSON"));
        assert!(
            said(&[file("a/manifest.json", MANIFEST), file("b/manifest.json", MANIFEST)])
                .contains("no manifest.json")
        );
        assert!(
            said(&[file("a/manifest.json", MANIFEST), file("a/app/main.py", ""), file("b/x", "")])
                .contains("outside")
        );
    }

    #[test]
    fn too_much_is_refused() {
        let many: Vec<String> = (0..=ENTRIES_MAX).map(|i| format!("app/{i}")).collect();
        let many: Vec<_> = many.iter().map(|name| file(name, "")).collect();
        let huge = vec![0; usize::try_from(ARCHIVE_BYTES_MAX).unwrap() + 1];

        assert!(matches!(check(&archive(&many)), Err(Error::TooMany)));
        assert!(matches!(check(&huge), Err(Error::TooLarge)));
        assert!(matches!(check(&[0x1f, 0x8b, 8, 0]), Err(Error::Compressed)));
    }

    #[test]
    fn a_header_that_promises_more_than_follows_is_refused() {
        let mut bytes = archive(&[file("manifest.json", MANIFEST), file("app/main.py", "x")]);
        bytes.truncate(512 + 40);

        assert!(check(&bytes).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
            let _ = check(&bytes);
        }

        #[test]
        fn no_damage_panics(at in 0usize..3000, with: u8) {
            let mut bytes = archive(&[file("manifest.json", MANIFEST), file("app/main.py", "x")]);
            let at = at % bytes.len();
            bytes[at] = with;
            let _ = check(&bytes);
        }
    }
}
