//! The folder of an attempt. One that no container has seen is emptied and used again: a file
//! system takes long for many folders that are made and removed one after the other.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::compute::container::Profile;
use common::ids::WorkspaceId;
use common::protocol::Work;

use crate::files::look::Look;
use crate::files::tree::{Scratch, dir_with_mode, remove_tree};
use crate::runtime::docker::Docker;

/// Folders that wait for an attempt: as many as a busy node holds tasks.
const WAITING_MAX: usize = 512;

/// What makes folders different while nothing is in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    /// Its user owns what containers can write to.
    workspace: WorkspaceId,
    profile: Profile,
    /// How many folders its containers share.
    shared: usize,
}

/// The folder of one attempt, with the folders that every attempt has.
#[derive(Debug)]
pub struct AttemptFolder {
    kind: Kind,
    scratch: Scratch,
    /// What each folder is like when it is empty.
    looks: Vec<(PathBuf, Look)>,
    /// A container has had it, which may have changed what no look shows.
    pub is_mounted: bool,
}

/// Folders that have been used and are empty again. They go with the node's process.
#[derive(Debug, Default)]
pub struct EmptyFolders(Mutex<VecDeque<AttemptFolder>>);

impl AttemptFolder {
    fn make(engine: &Docker, below: &Path, kind: Kind) -> io::Result<Self> {
        let scratch = Scratch::new(below)?;
        let mut folder = Self { kind, scratch, looks: Vec::new(), is_mounted: false };
        dir_with_mode(&folder.inputs(), 0o755)?;
        if kind.shared > 0 {
            dir_with_mode(&folder.shared(), 0o755)?;
        }
        let shared = (0..kind.shared).map(|n| folder.shared().join(n.to_string()));
        let writable: Vec<_> = [folder.results()].into_iter().chain(shared).collect();
        for path in &writable {
            engine.writable_dir(path, kind.workspace, kind.profile)?;
        }
        for path in [folder.inputs()].into_iter().chain(writable) {
            let look = Look::of(&path)?;
            folder.looks.push((path, look));
        }
        Ok(folder)
    }

    pub fn inputs(&self) -> PathBuf {
        self.scratch.0.join("inputs")
    }

    pub fn results(&self) -> PathBuf {
        self.scratch.0.join("results")
    }

    /// In which the folders lie that its containers share.
    pub fn shared(&self) -> PathBuf {
        self.scratch.0.join("shared")
    }

    /// An empty file for an input, where there is one: a new file takes the file system longer.
    pub fn spare(&self) -> PathBuf {
        self.scratch.0.join("spare")
    }

    /// Where the task's own files are written.
    pub fn files(&self) -> PathBuf {
        self.scratch.0.join("files")
    }

    /// Removes what an attempt has left. False where the folders are not as they were.
    fn is_emptied(&self) -> io::Result<bool> {
        remove_tree(&self.files())?;
        for (path, look) in &self.looks {
            for entry in fs::read_dir(path)? {
                let entry = entry?;
                match entry.file_type()?.is_dir() {
                    true => remove_tree(&entry.path())?,
                    false => fs::remove_file(entry.path())?,
                }
            }
            if Look::of(path)? != *look {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl EmptyFolders {
    /// A folder for an attempt: one that waits, or a new one in `below`.
    pub fn take(&self, engine: &Docker, below: &Path, work: &Work) -> io::Result<AttemptFolder> {
        let (workspace, spec) = (work.workspace, &work.container);
        let kind = Kind { workspace, profile: spec.profile, shared: spec.shared.len() };
        let waiting = {
            let mut all = self.lock();
            let at = all.iter().rposition(|folder| folder.kind == kind);
            at.and_then(|at| all.remove(at))
        };
        waiting.map_or_else(|| AttemptFolder::make(engine, below, kind), Ok)
    }

    /// Empties a folder, or removes it. It may take long.
    pub fn give(&self, folder: AttemptFolder) {
        // One that cannot be emptied is removed, which tells why that fails.
        if folder.is_mounted || !folder.is_emptied().unwrap_or(false) {
            return;
        }
        let _oldest = {
            let mut all = self.lock();
            all.push_back(folder);
            if all.len() > WAITING_MAX { all.pop_front() } else { None }
        };
    }

    /// Removes all that wait.
    pub fn clear(&self) {
        let _all = std::mem::take(&mut *self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<AttemptFolder>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
