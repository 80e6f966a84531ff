//! What the files of a package were when it was unpacked, so that it is noticed when they are not
//! any more: after a power cut, a full disk, or because a disk has lost a bit.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use common::digest::{Digest, Digester};
use tokio::time::Instant;

/// How long files that nobody has written to are taken for what they were.
const TRUST: Duration = Duration::from_secs(3600);
const BUFFER_BYTES: usize = 64 * 1024;

/// A folder, and the file that says what was in it.
#[derive(Debug)]
pub struct Seal {
    folder: PathBuf,
    file: PathBuf,
    /// The marks of all files when their bytes were right, and when that was.
    seen: Mutex<Option<(Digest, Instant)>>,
}

impl Seal {
    pub fn new(folder: PathBuf, file: PathBuf) -> Self {
        Self { folder, file, seen: Mutex::default() }
    }

    /// Writes down what is in a folder.
    pub fn write(folder: &Path, file: &Path) -> io::Result<()> {
        fs::write(file, digest(folder, Of::Bytes)?.to_string())
    }

    /// Whether the folder is still what it was. All bytes are read the first time, and then each
    /// hour and when a file was written to: a tiny task must not wait for gigabytes.
    pub fn is_intact(&self) -> bool {
        // What cannot be read is not what it was.
        self.check().unwrap_or(false)
    }

    fn check(&self) -> io::Result<bool> {
        let now = Instant::now();
        let marks = digest(&self.folder, Of::Marks)?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.is_some_and(|(before, at)| before == marks && now - at < TRUST) {
            return Ok(true);
        }
        let sealed = fs::read_to_string(&self.file)?;
        let is_intact = sealed == digest(&self.folder, Of::Bytes)?.to_string();
        *seen = is_intact.then_some((marks, now));
        Ok(is_intact)
    }
}

/// What stands for a file beside its name and length.
#[derive(Debug, Clone, Copy)]
enum Of {
    Bytes,
    /// What changes when somebody writes to it; its mode and owner may change.
    Marks,
}

/// What stands for a folder: the names of all that is in it, and its files.
fn digest(top: &Path, of: Of) -> io::Result<Digest> {
    let mut digester = Digester::default();
    let mut folders = vec![top.to_owned()];
    while let Some(folder) = folders.pop() {
        let mut entries = fs::read_dir(&folder)?.collect::<Result<Vec<_>, _>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (path, meta) = (entry.path(), entry.metadata()?);
            let name = path.strip_prefix(top).unwrap_or(&path).as_os_str().as_encoded_bytes();
            digester.update(&(name.len() as u64).to_le_bytes());
            digester.update(name);
            digester.update(&[u8::from(meta.is_dir()), u8::from(meta.is_file())]);
            if meta.is_dir() {
                folders.push(path);
            } else if meta.is_file() {
                digester.update(&meta.len().to_le_bytes());
                match of {
                    Of::Bytes => read(&path, &mut digester)?,
                    Of::Marks => mark(&meta, &mut digester),
                }
            }
        }
    }
    Ok(digester.finish())
}

fn read(path: &Path, digester: &mut Digester) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok(());
        }
        digester.update(&buffer[..n]);
    }
}

fn mark(meta: &Metadata, digester: &mut Digester) {
    for mark in [meta.ino(), meta.mtime().cast_unsigned(), meta.mtime_nsec().cast_unsigned()] {
        digester.update(&mark.to_le_bytes());
    }
}
