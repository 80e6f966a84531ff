//! Image archives as tools save them: `docker save`, podman and skopeo, with links between layers
//! or without, and OCI layouts; as they are, or compressed with gzip or zstd.
//!
//! Whatever the form, one image is found in it: a configuration and layers. A node rewrites
//! these in one form and without names, so that an archive may bring an image but no name: it
//! could replace an image that other tasks run in.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};

use serde_json::{Value, json};

use super::archive::contents::plain_path;
use super::packing::{self, Opened, Packing};
use super::tarball::{self, Kind};
use super::unpacked::{self, Budget, Measured};
use crate::input::json;

mod index;
mod links;

use links::Links;

const ENTRIES_MAX: usize = 20_000;
/// The most bytes of a list or a configuration.
const DOCUMENT_BYTES_MAX: u64 = 1 << 20;
/// The most bytes of all of them, kept until the archive's end says which are needed.
const DOCUMENTS_BYTES_MAX: usize = 8 << 20;
const BUFFER_BYTES: usize = 64 * 1024;

/// The archive is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the image archive cannot be used: {0}")]
    Archive(tarball::Error),
    #[error("the image archive {0}")]
    Packing(#[from] packing::Unknown),
    #[error(transparent)]
    Layer(unpacked::Error),
    #[error("the image archive {0}")]
    Refused(String),
    #[error("the image archive cannot be read or written")]
    Io(#[source] io::Error),
}

impl From<tarball::Error> for Error {
    fn from(error: tarball::Error) -> Self {
        if let tarball::Error::Io(error) = error { Self::Io(error) } else { Self::Archive(error) }
    }
}

impl From<unpacked::Error> for Error {
    fn from(error: unpacked::Error) -> Self {
        if let unpacked::Error::Io(error) = error { Self::Io(error) } else { Self::Layer(error) }
    }
}

fn refused(problem: impl Into<String>) -> Error {
    Error::Refused(problem.into())
}

/// The one image of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// Paths in the archive.
    config: String,
    layers: Vec<String>,
    /// How the files among them are to be written.
    files: HashMap<String, Measured>,
    /// The bytes of the whole archive without compression.
    pub bytes: u64,
}

/// What is known of an archive at its end.
#[derive(Default)]
struct Seen {
    files: HashMap<String, Measured>,
    /// Files that are there more than once.
    twice: Vec<String>,
    documents: HashMap<String, Vec<u8>>,
    document_bytes: usize,
    links: Links,
}

impl Saved {
    /// Reads an archive to its end, and finds its image.
    ///
    /// # Errors
    /// With what is wrong, as soon as it is seen.
    pub fn read(archive: impl Read) -> Result<Self, Error> {
        let mut packed = Counted { reader: archive, bytes: 0 };
        let (mut seen, mut budget, mut entries) = (Seen::default(), Budget::default(), 0);
        let Opened { packing, bytes } = opened(&mut packed)?;
        tarball::each(bytes, |entry| {
            entries += 1;
            if entries > ENTRIES_MAX {
                return Err(refused(format!("has more than {ENTRIES_MAX} entries")));
            }
            seen.entry(entry, &mut budget)
        })?;
        let bytes = budget.used();
        if packing != Packing::Plain {
            budget.check_ratio(bytes, packed.bytes)?;
        }
        seen.image(bytes)
    }

    /// Writes the image to an archive of its own, in the form that every engine loads.
    ///
    /// # Errors
    /// When one of both cannot be read or written. The archive must be the one that was read.
    pub fn rewrite(&self, archive: impl Read, to: impl Write) -> Result<(), Error> {
        let mut out = tar::Builder::new(to);
        tarball::each(opened(archive)?.bytes, |entry| {
            let path = plain_path(entry.name).map_err(|problem| entry.refused(problem))?;
            let (Kind::File { .. }, Some(file)) = (&entry.kind, self.files.get(&path)) else {
                return Ok(());
            };
            // Not every engine knows zstd.
            if file.packing == Packing::Zstd {
                let packed = BufReader::with_capacity(BUFFER_BYTES, &mut *entry.bytes);
                append(&mut out, &path, file.bytes, Packing::Zstd.reader(packed))
            } else {
                append(&mut out, &path, entry.size, &mut *entry.bytes)
            }
        })?;
        let list = json!([{ "Config": self.config, "RepoTags": null, "Layers": self.layers }]);
        let list = list.to_string();
        append(&mut out, "manifest.json", list.len() as u64, list.as_bytes())?;
        let mut to = out.into_inner().map_err(Error::Io)?;
        to.flush().map_err(Error::Io)
    }
}

fn opened<'a>(archive: impl Read + 'a) -> Result<Opened<'a>, Error> {
    Ok(packing::opened(archive).map_err(tarball::failed)??)
}

fn append(
    out: &mut tar::Builder<impl Write>,
    path: &str,
    size: u64,
    bytes: impl Read,
) -> Result<(), Error> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_size(size);
    out.append_data(&mut header, path, bytes).map_err(Error::Io)
}

impl Seen {
    fn entry(&mut self, entry: &mut tarball::Entry<'_>, budget: &mut Budget) -> Result<(), Error> {
        let path = plain_path(entry.name).map_err(|problem| entry.refused(problem))?;
        match &entry.kind {
            Kind::Folder => {}
            Kind::Symlink(target) => self.links.symlink(path, target),
            Kind::HardLink(target) => self.links.hard_link(path, target),
            Kind::File { .. } => {
                let mut file = BufReader::with_capacity(BUFFER_BYTES, &mut *entry.bytes);
                let start = file.fill_buf().map_err(tarball::failed)?;
                let is_document =
                    is_list(&path) || (entry.size <= DOCUMENT_BYTES_MAX && start.starts_with(b"{"));
                let measured = if is_document {
                    self.document(&path, entry.size, file, budget)?
                } else {
                    budget.measure(entry.size, file)?
                };
                if self.files.insert(path.clone(), measured).is_some() {
                    self.twice.push(path);
                }
            }
        }
        Ok(())
    }

    fn document(
        &mut self,
        path: &str,
        size: u64,
        file: impl Read,
        budget: &mut Budget,
    ) -> Result<Measured, Error> {
        if size > DOCUMENT_BYTES_MAX {
            return Err(refused(format!("has a {path} that is too large")));
        }
        let mut text = Vec::new();
        file.take(DOCUMENT_BYTES_MAX).read_to_end(&mut text).map_err(tarball::failed)?;
        self.document_bytes += text.len();
        if self.document_bytes > DOCUMENTS_BYTES_MAX {
            return Err(refused("has too many lists and configurations"));
        }
        let measured = budget.measure(size, &text[..])?;
        self.documents.insert(path.to_owned(), text);
        Ok(measured)
    }

    fn image(self, bytes: u64) -> Result<Saved, Error> {
        let (config, layers) = match (self.json("manifest.json"), self.json("index.json")) {
            (Some(list), _) => named(&list?)?,
            (None, Some(index)) => index::only_image(&index?, |path| self.json(path))?,
            (None, None) => {
                return Err(refused(
                    "has neither manifest.json nor index.json: save one image with `docker save` \
                     or `podman save`",
                ));
            }
        };
        let config = self.file(&config)?;
        let configuration =
            self.json(&config).ok_or_else(|| refused("has a configuration that is no JSON"))??;
        let layers: Vec<_> =
            layers.iter().map(|layer| self.file(layer)).collect::<Result<_, _>>()?;
        if let Some(layer) = layers.iter().find(|layer| !self.files[*layer].is_tar) {
            return Err(refused(format!("has a layer that is no tar archive: {layer}")));
        }
        let diffs = configuration["rootfs"]["diff_ids"].as_array().map_or(0, Vec::len);
        if diffs != layers.len() {
            let n = layers.len();
            return Err(refused(format!("has {n} layers, and a configuration for {diffs}")));
        }
        let Self { mut files, .. } = self;
        files.retain(|path, _| *path == config || layers.contains(path));
        Ok(Saved { config, layers, files, bytes })
    }

    /// The file that a path leads to.
    fn file(&self, path: &str) -> Result<String, Error> {
        let missing = || refused(format!("is not whole: it has no {path}"));
        let path = plain_path(path.as_bytes()).map_err(|_| missing())?;
        let found = self.links.follow(path, |path| self.files.contains_key(path));
        let found = found.ok_or_else(missing)?;
        if self.twice.contains(&found) {
            return Err(refused(format!("has {found} twice")));
        }
        Ok(found)
    }

    fn json(&self, path: &str) -> Option<Result<Value, Error>> {
        let text = self.documents.get(path)?;
        if self.twice.iter().any(|twice| twice == path) {
            return Some(Err(refused(format!("has {path} twice"))));
        }
        let read = json::read("", text);
        Some(read.map_err(|_| refused(format!("has a {path} that is no JSON"))))
    }
}

fn is_list(path: &str) -> bool {
    matches!(path, "manifest.json" | "index.json")
}

/// The image that the engine's own list names.
fn named(list: &Value) -> Result<(String, Vec<String>), Error> {
    let image = match list.as_array().map(Vec::as_slice) {
        Some([image]) => image,
        Some([_, _, ..]) => return Err(refused("holds several images: save one alone")),
        Some([]) | None => return Err(refused("holds no image")),
    };
    let odd = || refused("has a manifest.json that names no configuration and layers");
    let config = image["Config"].as_str().ok_or_else(odd)?.to_owned();
    let none = Vec::new();
    // An image of no layers has none, or null.
    let layers = if image["Layers"].is_null() {
        &none
    } else {
        image["Layers"].as_array().ok_or_else(odd)?
    };
    let layers = layers.iter().map(|layer| layer.as_str().map(str::to_owned).ok_or_else(odd));
    Ok((config, layers.collect::<Result<_, _>>()?))
}

/// Counts the bytes that are read.
struct Counted<R> {
    reader: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        self.bytes = self.bytes.saturating_add(n as u64);
        Ok(n)
    }
}

#[cfg(test)]
mod tests;
