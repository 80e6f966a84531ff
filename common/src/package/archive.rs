//! A package's tar archive, looked at before it is trusted: nodes will unpack it.

use std::borrow::Cow;
use std::io::{self, Read as _};

use serde_json::Value;

use super::login;
use super::loose::Invalid;
use super::manifest::{Login, Manifest};
use super::packing::{self, Packing};
use super::schema::{SCHEMA_BYTES_MAX, Schema};
use super::tarball;
use contents::{Contents, Item, Limits, is_called};

pub mod contents;

/// The most bytes of an archive, packed and unpacked.
pub const ARCHIVE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// The most files and folders of an archive, folders without an entry included.
pub const ENTRIES_MAX: usize = 10_000;
const MANIFEST_BYTES_MAX: u64 = 256 * 1024;
/// Where a package keeps data to test it with.
const SAMPLES: &str = "test/source/";
/// Where a package has what runs.
const APP: &str = "app";
/// What a package may hold.
pub const LIMITS: Limits = Limits { entries: ENTRIES_MAX, bytes: ARCHIVE_BYTES_MAX };

/// Why an archive is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the archive {0}")]
    Packing(#[from] packing::Unknown),
    #[error("the archive cannot be unpacked; it is damaged or cut off ({0})")]
    Damaged(#[source] io::Error),
    #[error("the archive is larger than {} MiB", ARCHIVE_BYTES_MAX / 1024 / 1024)]
    TooLarge,
    #[error("{0}")]
    Contents(#[from] contents::Error),
    #[error("the entrypoint {0:?} of manifest.json is not in the archive")]
    NoEntrypoint(String),
    #[error("the entrypoint {0:?} of manifest.json is an empty file")]
    EmptyEntrypoint(String),
    #[error(
        "manifest.json: the username and token of the private image cannot be taken out of the \
         archive; pack it again with another tool"
    )]
    Login,
    #[error(transparent)]
    Document(#[from] Invalid),
}

impl From<tarball::Error> for Error {
    fn from(error: tarball::Error) -> Self {
        Self::Contents(error.into())
    }
}

/// An archive that has been checked.
#[derive(Debug)]
pub struct Checked {
    pub manifest: Manifest,
    /// The JSON Schema of its params, where it has a `schema.json`.
    pub schema: Option<Value>,
    /// What opened its private image, and is not in the archive any more.
    pub login: Option<Login>,
    /// The archive in place of the one that was given, where that was compressed or had a login.
    pub rewritten: Option<Vec<u8>>,
}

/// A file to test a package with.
#[derive(Debug, PartialEq, Eq)]
pub struct Sample {
    /// Its path below the package's folder.
    pub path: String,
    pub bytes: Vec<u8>,
}

/// Checks an archive that is pushed, which may be compressed, and takes the login for its image out
/// of it: whatever is kept can be read by nodes.
pub fn check(archive: &[u8]) -> Result<Checked, Error> {
    let plain = plain(archive)?;
    let (manifest, login, schema) = look(&plain)?;
    if login.is_none() {
        let rewritten = match plain {
            Cow::Borrowed(_) => None,
            Cow::Owned(plain) => Some(plain),
        };
        return Ok(Checked { manifest, schema, login, rewritten });
    }
    let rewritten = login::taken_out(&plain).ok_or(Error::Login)?;
    match look(&rewritten)? {
        (again, None, _) if again.name == manifest.name => {
            Ok(Checked { manifest, schema, login, rewritten: Some(rewritten) })
        }
        _ => Err(Error::Login),
    }
}

/// The archive without compression. What is kept has none, so that all read the same bytes.
fn plain(archive: &[u8]) -> Result<Cow<'_, [u8]>, Error> {
    if archive.len() as u64 > ARCHIVE_BYTES_MAX {
        return Err(Error::TooLarge);
    }
    let packing = Packing::of(archive)?;
    if packing == Packing::Plain {
        return Ok(Cow::Borrowed(archive));
    }
    let mut plain = Vec::new();
    let mut reader = packing.reader(archive).take(ARCHIVE_BYTES_MAX + 1);
    reader.read_to_end(&mut plain).map_err(Error::Damaged)?;
    if plain.len() as u64 > ARCHIVE_BYTES_MAX {
        return Err(contents::Error::TooLarge(ARCHIVE_BYTES_MAX).into());
    }
    Ok(Cow::Owned(plain))
}

/// Looks through an archive and gives its manifest, with the login that stands in it, and its
/// schema.
///
/// Refuses whatever could harm who unpacks it: paths that lead out, links, devices, sparse files,
/// a file twice, and too much of anything.
fn look(archive: &[u8]) -> Result<(Manifest, Option<Login>, Option<Value>), Error> {
    let (mut documents, mut empty) = (Vec::new(), Vec::new());
    let contents = contents::walk(archive, LIMITS, |item| {
        let Item::File { path, bytes, .. } = item else { return Ok(()) };
        if let Some(most) = document_bytes_max(path) {
            let document = contents::read(&mut bytes.take(most + 1))?;
            if document.len() as u64 > most {
                let (entry, problem) = (path.to_owned(), "is too large");
                return Err(Error::from(tarball::Error::Entry { entry, problem }));
            }
            documents.push((path.to_owned(), document));
        } else if io::copy(&mut bytes.take(1), &mut io::sink()).map_err(contents::unreadable)? == 0
        {
            empty.push(path.to_owned());
        }
        Ok(())
    })?;
    let root = contents.root()?;
    let document = |name: &str| {
        let path = format!("{root}{name}");
        documents.iter().find(|(at, _)| *at == path).map(|(_, text)| text.as_slice())
    };
    let json = document("manifest.json").ok_or(contents::Error::NoManifest)?;
    let (manifest, login) = Manifest::parse(json)?;
    let entrypoint = format!("{root}{APP}/{}", manifest.entrypoint);
    if !contents.files.contains(&entrypoint) {
        return Err(Error::NoEntrypoint(entrypoint));
    }
    if empty.contains(&entrypoint) {
        return Err(Error::EmptyEntrypoint(entrypoint));
    }
    let schema = document("schema.json").map(Schema::parse).transpose()?;
    Ok((manifest, login, schema))
}

/// The first file by name that a package carries in `test/source`, to be tested with.
pub fn sample(archive: &[u8]) -> Result<Option<Sample>, Error> {
    let contents = walk_names(archive)?;
    let root = contents.root()?;
    let folder = format!("{root}{SAMPLES}");
    let Some(first) = contents.files.iter().filter(|file| file.starts_with(&folder)).min() else {
        return Ok(None);
    };
    let mut sample = None;
    contents::walk(archive, LIMITS, |item| {
        if let Item::File { path, bytes, .. } = item
            && path == first
        {
            sample = Some(contents::read(bytes)?);
        }
        Ok::<_, Error>(())
    })?;
    let path = first.strip_prefix(&root).unwrap_or(first).to_owned();
    Ok(sample.map(|bytes| Sample { path, bytes }))
}

fn walk_names(archive: &[u8]) -> Result<Contents, Error> {
    contents::walk(archive, LIMITS, |_| Ok(()))
}

/// How large a file may be that is read here; `None` for all others.
fn document_bytes_max(path: &str) -> Option<u64> {
    if is_called(path, "manifest.json") {
        Some(MANIFEST_BYTES_MAX)
    } else if is_called(path, "schema.json") {
        Some(SCHEMA_BYTES_MAX)
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
