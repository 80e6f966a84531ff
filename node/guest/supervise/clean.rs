//! Makes sure that nothing is left of a task: no process, no file, nothing that processes share,
//! and nothing that it has changed of the supervisor.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::kept::Kept;
use crate::sys::{self, Traits};
use crate::text;

/// With more files or deeper folders, a new container is cheaper.
const ENTRIES_MAX: usize = 20_000;
const DEPTH_MAX: usize = 64;
/// What processes share by numbers, each with a list of its own.
const SHARED: [&str; 3] = ["shm", "sem", "msg"];
/// How often a list is read until it is empty.
const LISTS_READ_MAX: usize = 1000;
/// How long processes may take to end that have been killed.
const PATIENCE_NS: u64 = 2_000_000_000;

/// What is known of a container in which nothing has run yet.
pub struct Cleaner {
    folders: Vec<PathBuf>,
    shared: Vec<(&'static str, File)>,
    sockets: Option<File>,
    traits: Traits,
    /// The image has no files where tasks write to.
    was_empty: bool,
    /// Only root could change anything of it.
    kept: Option<Kept>,
}

impl Cleaner {
    /// `folders` are those that tasks can write to and that are gone with their container.
    pub fn new(folders: Vec<PathBuf>) -> io::Result<Self> {
        // What lies in the container's own root is then as it is after each later task.
        folders.iter().for_each(|folder| touch(folder));
        let has_files =
            |folder: &PathBuf| fs::read_dir(folder).is_ok_and(|mut all| all.next().is_some());
        let was_empty = !folders.iter().any(has_files);
        let kept = sys::is_root().then(|| Kept::new(&folders)).transpose()?;
        let shared = SHARED
            .into_iter()
            .filter_map(|kind| Some((kind, File::open(format!("/proc/sysvipc/{kind}")).ok()?)));
        Ok(Self {
            folders,
            shared: shared.collect(),
            sockets: File::open("/proc/net/sockstat").ok(),
            traits: sys::traits()?,
            was_empty,
            kept,
        })
    }

    /// Empties what tasks can write to; `Err` says what is left. `begins` is called before the
    /// first file is removed, which may be one of many.
    pub fn clean(&self, begins: &mut dyn FnMut()) -> Result<(), String> {
        if !self.was_empty {
            return Err("the image has files where tasks write to".to_owned());
        }
        let mut entries = 0;
        for folder in &self.folders {
            empty(folder, 0, &mut entries, begins)
                .map_err(|error| format!("{} cannot be emptied: {error}", folder.display()))?;
        }
        for (kind, list) in &self.shared {
            remove_shared(kind, list)?;
        }
        if let Some(sockets) = &self.sockets {
            no_connections(&text(sockets).map_err(unreadable)?)?;
        }
        match sys::traits() {
            Ok(traits) if traits == self.traits => {}
            Ok(_) => return Err("the supervisor's own limits have been changed".to_owned()),
            Err(error) => return Err(format!("the supervisor cannot look at itself: {error}")),
        }
        if let Some(kept) = &self.kept
            && !kept.is_same().map_err(unreadable)?
        {
            return Err("what belongs to the container has been changed".to_owned());
        }
        if sys::signal_all(0) { Err("a process is left".to_owned()) } else { Ok(()) }
    }
}

/// Makes a file and removes it. Where that is not allowed, tasks are not allowed to either.
fn touch(folder: &Path) {
    let file = folder.join(".fanfold");
    if File::create_new(&file).is_ok() {
        let _ = fs::remove_file(file);
    }
}

/// Kills every process but the supervisor and takes all of them in. `wait` is given a moment in
/// which one of them may end. False where some do not end.
pub fn kill_all(mut wait: impl FnMut()) -> bool {
    let until = sys::now_ns() + PATIENCE_NS;
    while sys::signal_all(sys::SIGKILL) {
        while sys::reap().is_some() {}
        if !sys::signal_all(0) {
            return true;
        }
        if sys::now_ns() > until {
            return false;
        }
        wait();
    }
    true
}

/// Removes all that is in a folder, whose modes may be anything.
fn empty(
    folder: &Path,
    depth: usize,
    entries: &mut usize,
    begins: &mut dyn FnMut(),
) -> io::Result<()> {
    if depth > DEPTH_MAX {
        return Err(io::Error::other("folders lie too deep"));
    }
    let found = match fs::read_dir(folder) {
        Ok(found) => found,
        // Not every image or engine has each of them.
        Err(error) if depth == 0 && error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if depth > 0 && error.kind() == io::ErrorKind::PermissionDenied => {
            fs::set_permissions(folder, Permissions::from_mode(0o700))?;
            fs::read_dir(folder)?
        }
        Err(error) => return Err(error),
    };
    let mut is_open = depth == 0;
    for entry in found {
        let entry = entry?;
        if *entries == 0 {
            begins();
        }
        *entries += 1;
        if *entries > ENTRIES_MAX {
            return Err(io::Error::other("there are too many files"));
        }
        if !is_open {
            fs::set_permissions(folder, Permissions::from_mode(0o700))?;
            is_open = true;
        }
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            empty(&path, depth + 1, entries, begins)?;
            fs::remove_dir(&path)?;
        } else {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Removes all that a list of `/proc/sysvipc` has. A part of a long list is read at a time.
fn remove_shared(kind: &str, list: &File) -> Result<(), String> {
    for _ in 0..LISTS_READ_MAX {
        let text = text(list).map_err(unreadable)?;
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let ids = whole.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1));
        let ids: Vec<i32> = ids.filter_map(|id| id.parse().ok()).collect();
        if ids.is_empty() {
            return Ok(());
        }
        ids.into_iter().for_each(|id| sys::remove_shared(kind, id));
    }
    Err(format!("{kind} that processes shared cannot be removed"))
}

/// Connections that their processes have left are still in the way of a later task's.
fn no_connections(statistics: &str) -> Result<(), String> {
    for line in statistics.lines().filter(|line| line.starts_with("TCP: ")) {
        let words: Vec<_> = line.split_whitespace().collect();
        for name in ["inuse", "tw"] {
            let value =
                words.iter().position(|word| *word == name).and_then(|at| words.get(at + 1));
            if value.is_some_and(|value| *value != "0") {
                return Err("connections are left".to_owned());
            }
        }
    }
    Ok(())
}

fn unreadable(error: io::Error) -> String {
    format!("a file of the kernel's cannot be read: {error}")
}
