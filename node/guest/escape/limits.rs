//! More of the machine than a container was given.

use std::fs::File;
use std::io::Write as _;
use std::process::{Child, Command};

use crate::calls::{self, call, refused};
use crate::files::{results, scratch_file};
use crate::{Held, Try};

const FILES: usize = 7;
const CORE: usize = 4;
const LOCKED: usize = 8;

/// More than any limit of the contract allows.
const PROCESSES_TRIED: usize = 1600;
const FILES_TRIED: usize = 5000;
const MEMORY_TRIED: usize = 1536 << 20;

pub const TRIES: &[Try] = &[
    ("limit-processes", processes),
    ("limit-open-files", open_files),
    ("limit-open-files-raise", || raise(FILES)),
    ("limit-locked-memory", locked_memory),
    ("limit-locked-memory-raise", || raise(LOCKED)),
    ("limit-file-size", file_size),
    ("limit-core-dumps", core_dumps),
    ("limit-core-dumps-raise", || raise(CORE)),
    ("limit-temporary-files", || fills(scratch_file()?.to_str().unwrap_or("/tmp/x"))),
    ("limit-shared-memory", || fills("/dev/shm/escape-kit")),
    ("limit-memory", memory),
    ("limit-watches-of-others", watches_of_others),
];

/// What tests and tries start beside them; these are no tries.
pub const HELPERS: &[Try] = &[("wait", wait), ("take-watches", take_watches)];

/// Is there until it is killed.
fn wait() -> Held {
    std::thread::sleep(std::time::Duration::from_secs(600));
    Ok(())
}

/// Takes all watches of its user, says so, and keeps them until it is killed.
fn take_watches() -> Held {
    let taken = std::iter::from_fn(|| call(calls::INOTIFY_INIT1, [0; 6]).ok()).count();
    println!("taken {taken}");
    wait()
}

/// The kernel counts watches by user: those of another tenant's container must not count here.
fn watches_of_others() -> Held {
    match call(calls::INOTIFY_INIT1, [0; 6]) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("others have taken all watches: error {error}")),
    }
}

fn processes() -> Held {
    let mut children: Vec<Child> = Vec::new();
    while children.len() < PROCESSES_TRIED {
        let mut waiting = Command::new("/proc/self/exe");
        match waiting.arg("wait").spawn() {
            Ok(child) => children.push(child),
            Err(_) => break,
        }
    }
    let started = children.len();
    for child in &mut children {
        let _ = child.kill();
        let _ = child.wait();
    }
    if started < PROCESSES_TRIED { Ok(()) } else { Err(format!("{started} processes run")) }
}

fn open_files() -> Held {
    let files: Vec<File> = (0..FILES_TRIED).map_while(|_| File::open("/dev/null").ok()).collect();
    if files.len() < FILES_TRIED { Ok(()) } else { Err(format!("{FILES_TRIED} files are open")) }
}

/// The soft and the hard limit of a resource.
fn limit(resource: usize) -> Result<[u64; 2], String> {
    let mut old = [0u64; 2];
    call(calls::PRLIMIT64, [0, resource, 0, (&raw mut old) as usize, 0, 0])
        .map_err(|error| format!("could not be tried: error {error}"))?;
    Ok(old)
}

fn raise(resource: usize) -> Held {
    let [_, hard] = limit(resource)?;
    let higher = [hard.saturating_add(1); 2];
    refused(calls::PRLIMIT64, [0, resource, (&raw const higher) as usize, 0, 0, 0])
}

fn locked_memory() -> Held {
    let bytes = vec![1u8; 16 << 20];
    match call(calls::MLOCK, [bytes.as_ptr() as usize, bytes.len(), 0, 0, 0, 0]) {
        Err(_) => Ok(()),
        Ok(_) => Err(format!("{} bytes are locked", bytes.len())),
    }
}

fn file_size() -> Held {
    let file = File::create(results().join("escape-kit"));
    let file = file.map_err(|error| format!("could not be tried: {error}"))?;
    match file.set_len(1 << 40) {
        Err(_) => Ok(()),
        Ok(()) => Err("a result of 1 TiB can be made".to_owned()),
    }
}

/// The kernel runs the host's handler of core dumps whatever the limit is, but for a limit of 1.
fn core_dumps() -> Held {
    match limit(CORE)? {
        [1, 1] => Ok(()),
        [soft, hard] => Err(format!("the limits are {soft} and {hard}")),
    }
}

fn fills(path: &str) -> Held {
    let mut file = File::create(path).map_err(|error| format!("could not be tried: {error}"))?;
    let piece = vec![1u8; 1 << 20];
    for _ in 0..MEMORY_TRIED / piece.len() {
        if file.write_all(&piece).is_err() {
            return Ok(());
        }
    }
    Err(format!("{path} takes {MEMORY_TRIED} bytes"))
}

fn memory() -> Held {
    let mut pieces = Vec::new();
    while pieces.len() < MEMORY_TRIED >> 20 {
        pieces.push(vec![1u8; 1 << 20]);
    }
    Err(format!("{} MiB are taken", pieces.len()))
}
