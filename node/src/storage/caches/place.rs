//! Where the caches of a workspace lie: a folder for each owner of its packages, and apart from
//! them the records of what was brought, which no container sees.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use common::digest::Digest;

use super::folder::{self, Folder};
use crate::files::tree::{dir_with_mode, private_dir};

/// The place of one workspace.
pub struct Place(pub PathBuf);

/// The bytes that were brought into the folders of a place.
#[derive(Debug, Clone, Copy, Default)]
pub struct Brought {
    pub all: u64,
    /// Of the folder with the most: the others have copies of the same files.
    pub largest: u64,
}

impl Brought {
    /// What does not count against the workspace: it uploaded these files once.
    const fn copies(self) -> u64 {
        self.all.saturating_sub(self.largest)
    }
}

impl Place {
    /// The folders of all owners of packages.
    pub fn files(&self) -> PathBuf {
        self.0.join("files")
    }

    fn records(&self) -> PathBuf {
        self.0.join("records")
    }

    /// Opens the folder for the packages of this owner, which is made where there is none. What
    /// stands for the owner is no id: containers can read the path.
    pub fn open(&self, owner: &Digest, mode: u32) -> io::Result<Folder> {
        private_dir(&self.files())?;
        private_dir(&self.records())?;
        let files = self.files().join(owner.to_string());
        if !files.exists() {
            dir_with_mode(&files, mode)?;
        }
        Folder::open(&files, &self.records().join(format!("{owner}.json")), mode)
    }

    /// Whether there is no folder for the packages of this owner yet.
    pub fn is_new(&self, owner: &Digest) -> bool {
        !self.files().join(owner.to_string()).exists()
    }

    /// How many owners of packages have a folder.
    pub fn owners(&self) -> io::Result<usize> {
        entries(&self.files()).map(|found| found.len())
    }

    /// The most bytes that the folders may have together: `user_bytes`, of which copies of uploads
    /// are no part.
    pub fn most(&self, user_bytes: u64) -> io::Result<u64> {
        Ok(user_bytes.saturating_add(self.brought()?.copies()))
    }

    pub fn brought(&self) -> io::Result<Brought> {
        let mut brought = Brought::default();
        for record in entries(&self.records())? {
            let bytes = folder::brought_bytes(&record)?;
            brought.all = brought.all.saturating_add(bytes);
            brought.largest = brought.largest.max(bytes);
        }
        Ok(brought)
    }
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(found) => found.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
