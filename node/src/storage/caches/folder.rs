//! One cache on disk: the files that containers see, and beside them the record of what was
//! brought, which no container sees.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use common::protocol::{BlobRequest, Cache, CacheFile};
use common::run::task::Lease;
use serde::{Deserialize, Serialize};

use super::Error;
use crate::files::confined_dir::{ConfinedDir, Stamp};
use crate::files::tree::Scratch;
use crate::server_client::ServerClient;
use crate::server_client::transfer::{self, Expected};

#[derive(Debug)]
pub struct Folder {
    /// What containers see.
    pub path: PathBuf,
    record_file: PathBuf,
    files: ConfinedDir,
    record: BTreeMap<String, Brought>,
}

/// A file as it was when it was brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Brought {
    version: String,
    size: u64,
    stamp: Stamp,
}

/// How files are fetched.
pub struct Asking<'a, R> {
    pub remote: &'a R,
    pub lease: Lease,
    pub cache: Cache,
    pub temporary: &'a Path,
}

impl Folder {
    /// Opens the folder with the record of what was brought into it. Folders that are made in it
    /// get this mode.
    pub fn open(path: &Path, record_file: &Path, mode: u32) -> io::Result<Self> {
        let files = ConfinedDir::open(path, mode)?;
        let (path, record_file) = (path.to_owned(), record_file.to_owned());
        Ok(Self { record: read_record(&record_file)?, path, record_file, files })
    }

    /// Brings what is missing, has changed, or was changed by a container; removes what was brought
    /// and is no longer listed.
    pub async fn bring<R: ServerClient>(
        &mut self,
        asking: &Asking<'_, R>,
        files: &[CacheFile],
    ) -> Result<(), Error> {
        let mut changed = self.forget_all_but(files)?;
        for file in files {
            if !self.is_here(file)? {
                // What was brought before a failure is worth keeping.
                if let Err(error) = self.fetch(asking, file).await {
                    self.save(asking.temporary)?;
                    return Err(error);
                }
                changed = true;
            }
        }
        if changed {
            self.save(asking.temporary)?;
        }
        Ok(())
    }

    fn is_here(&self, file: &CacheFile) -> io::Result<bool> {
        let Some(brought) = self.record.get(&file.name) else { return Ok(false) };
        let same = brought.version == file.version && brought.size == file.size;
        Ok(same && self.files.stamp(&file.name)? == Some(brought.stamp))
    }

    fn forget_all_but(&mut self, files: &[CacheFile]) -> io::Result<bool> {
        let listed: std::collections::HashSet<&str> =
            files.iter().map(|file| file.name.as_str()).collect();
        let gone: Vec<String> =
            self.record.keys().filter(|name| !listed.contains(name.as_str())).cloned().collect();
        for name in &gone {
            let brought = self.record.remove(name).map(|brought| brought.stamp);
            // What a container has put in its place is the container's.
            if self.files.stamp(name)? == brought {
                self.files.remove(name)?;
            }
        }
        Ok(!gone.is_empty())
    }

    async fn fetch<R: ServerClient>(
        &mut self,
        asking: &Asking<'_, R>,
        file: &CacheFile,
    ) -> Result<(), Error> {
        let scratch = Scratch::new(asking.temporary)?;
        let to = scratch.0.join("file");
        let &Asking { remote, lease, cache, .. } = asking;
        let request = |from| BlobRequest::CacheFile {
            lease,
            cache,
            name: file.name.clone(),
            version: file.version.clone(),
            from,
        };
        let expected = Expected { bytes: Some(file.size), digest: None, bytes_max: file.size };
        transfer::fetch(remote, request, &to, expected).await?;
        fs::set_permissions(&to, Permissions::from_mode(0o644))?;
        // On the disk before it has its name: the record would vouch for what a power cut has lost.
        tokio::fs::File::open(&to).await?.sync_all().await?;
        let stamp = self.files.place(&to, &file.name).map_err(|error| in_the_way(file, error))?;
        tracing::info!(cache = ?cache, bytes = file.size, "a file was brought into a cache");
        let (version, size) = (file.version.clone(), file.size);
        self.record.insert(file.name.clone(), Brought { version, size, stamp });
        Ok(())
    }

    fn save(&self, temporary: &Path) -> io::Result<()> {
        let json = serde_json::to_vec(&self.record)?;
        let beside = temporary.join(uuid::Uuid::new_v4().to_string());
        fs::write(&beside, json)?;
        fs::File::open(&beside)?.sync_all()?;
        fs::rename(beside, &self.record_file)
    }
}

/// The bytes that were brought into a folder, by its record.
pub fn brought_bytes(record_file: &Path) -> io::Result<u64> {
    let record = read_record(record_file)?;
    Ok(record.values().fold(0, |sum, brought| sum.saturating_add(brought.size)))
}

fn read_record(file: &Path) -> io::Result<BTreeMap<String, Brought>> {
    match fs::read(file) {
        // A record that a crash has spoiled costs a download, and no more.
        Ok(json) => Ok(serde_json::from_slice(&json).unwrap_or_default()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error),
    }
}

fn in_the_way(file: &CacheFile, error: io::Error) -> Error {
    use io::ErrorKind as K;
    if matches!(error.kind(), K::DirectoryNotEmpty | K::PermissionDenied | K::NotADirectory) {
        return Error::Unusable(format!(
            "a folder that a container made, or another uploaded file, is in the way of {:?}",
            file.name
        ));
    }
    error.into()
}
