//! A package's tar archive, looked at before it is trusted: nodes will unpack it.

use std::collections::HashSet;
use std::io::Read;

use tar::EntryType;

use serde_json::Value;

use super::login;
use super::loose::Invalid;
use super::manifest::{Login, Manifest};
use super::schema::{SCHEMA_BYTES_MAX, Schema};
use crate::text::is_invisible;

/// The most bytes of an archive.
pub const ARCHIVE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// The most files and folders of an archive, folders without an entry included.
pub const ENTRIES_MAX: usize = 10_000;
const MANIFEST_BYTES_MAX: u64 = 256 * 1024;
const PATH_BYTES_MAX: usize = 1024;
const PART_BYTES_MAX: usize = 255;
const DEPTH_MAX: usize = 32;
/// Where a package keeps data to test it with.
const SAMPLES: &str = "test/source/";
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Why an archive is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("data: the archive is compressed; send a plain tar archive")]
    Compressed,
    #[error("data: the archive is larger than {} MiB", ARCHIVE_BYTES_MAX / 1024 / 1024)]
    TooLarge,
    #[error("data: the archive has more than {ENTRIES_MAX} files and folders")]
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
    Document(#[from] Invalid),
}

/// An archive that has been checked.
#[derive(Debug)]
pub struct Checked {
    pub manifest: Manifest,
    /// The JSON Schema of its params, where it has a `schema.json`.
    pub schema: Option<Value>,
    /// What opened its private image, and is not in the archive any more.
    pub login: Option<Login>,
    /// The archive in place of the one that was given, where there was a login in that.
    pub rewritten: Option<Vec<u8>>,
}

/// A file to test a package with.
#[derive(Debug, PartialEq, Eq)]
pub struct Sample {
    /// Its path below the package's folder.
    pub path: String,
    pub bytes: Vec<u8>,
}

/// Checks an archive that is pushed, and takes the login for its image out of it: whatever is kept
/// can be read by nodes.
pub fn check(archive: &[u8]) -> Result<Checked, Error> {
    let (manifest, login, schema) = look(archive)?;
    if login.is_none() {
        return Ok(Checked { manifest, schema, login, rewritten: None });
    }
    let rewritten = login::taken_out(archive).ok_or(Error::Login)?;
    match look(&rewritten)? {
        (again, None, _) if again.name == manifest.name => {
            Ok(Checked { manifest, schema, login, rewritten: Some(rewritten) })
        }
        _ => Err(Error::Login),
    }
}

/// Looks through an archive and gives its manifest, with the login that stands in it, and its
/// schema.
///
/// Refuses whatever could harm who unpacks it: paths that lead out, links, devices, sparse files,
/// a file twice, and too much of anything.
fn look(archive: &[u8]) -> Result<(Manifest, Option<Login>, Option<Value>), Error> {
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
    let schema = contents.document(&format!("{root}schema.json")).map(Schema::parse).transpose()?;
    Ok((manifest, login, schema))
}

/// The first file by name that a package carries in `test/source`, to be tested with.
pub fn sample(archive: &[u8]) -> Result<Option<Sample>, Error> {
    let contents = Contents::read(archive)?;
    let (root, _) = contents.manifest()?;
    let folder = format!("{root}{SAMPLES}");
    let Some(first) = contents.files.iter().filter(|file| file.starts_with(&folder)).min() else {
        return Ok(None);
    };
    let mut tar = tar::Archive::new(archive);
    for entry in tar.entries().map_err(Error::NotATar)? {
        let mut entry = entry.map_err(Error::NotATar)?;
        if plain_path(&entry.path_bytes()).as_deref() == Ok(first) {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(Error::NotATar)?;
            let path = first.strip_prefix(&root).unwrap_or(first).to_owned();
            return Ok(Some(Sample { path, bytes }));
        }
    }
    Ok(None)
}

/// What is in an archive: the paths of all files, and what the documents among them say.
#[derive(Default)]
struct Contents {
    files: HashSet<String>,
    folders: HashSet<String>,
    documents: Vec<(String, Vec<u8>)>,
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
        if let Some(most) = document_bytes_max(&path) {
            let size = entry.size();
            if size > most {
                return Err(refuse("is too large"));
            }
            let mut json = Vec::new();
            entry.read_to_end(&mut json).map_err(Error::NotATar)?;
            if json.len() as u64 != size {
                return Err(refuse("is cut off"));
            }
            self.documents.push((path.clone(), json));
        }
        if self.files.len() + self.folders.len() >= ENTRIES_MAX {
            return Err(Error::TooMany);
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

    fn document(&self, path: &str) -> Option<&[u8]> {
        self.documents.iter().find(|(at, _)| at == path).map(|(_, json)| json.as_slice())
    }

    /// The folder that the package is in (empty, or ending in `/`) and its manifest's text.
    fn manifest(&self) -> Result<(String, &[u8]), Error> {
        if let Some(json) = self.document("manifest.json") {
            return Ok((String::new(), json));
        }
        let mut manifests = self.documents.iter().filter(|(path, _)| is_manifest(path));
        let (Some((path, json)), None) = (manifests.next(), manifests.next()) else {
            return Err(Error::NoManifest);
        };
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
    is_called(path, "manifest.json")
}

/// How large a file may be that is read here; `None` for all others.
fn document_bytes_max(path: &str) -> Option<u64> {
    if is_manifest(path) {
        Some(MANIFEST_BYTES_MAX)
    } else if is_called(path, "schema.json") {
        Some(SCHEMA_BYTES_MAX)
    } else {
        None
    }
}

/// Whether the file is called so and lies at the top or one folder down.
fn is_called(path: &str, name: &str) -> bool {
    match path.split_once('/') {
        None => path == name,
        Some((_, rest)) => rest == name,
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

#[cfg(test)]
mod tests;
