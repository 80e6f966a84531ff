//! What a task can do to the first process of its container, where that is the node's: it is the
//! same user, and runs the next task.

use std::fs::{self, File, OpenOptions};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::calls::{self, call, refused};
use crate::{Held, Try};

pub const TRIES: &[Try] = &[
    ("supervisor-memory", memory),
    ("supervisor-descriptors", descriptors),
    ("supervisor-descriptor-list", descriptor_list),
    ("supervisor-descriptor-taken", descriptor_taken),
    ("supervisor-entries", entries),
    ("supervisor-settings", settings),
    ("supervisor-trace", || refused(calls::PTRACE, [16, 1, 0, 0, 0, 0])),
    ("supervisor-memory-by-call", || refused(calls::PROCESS_VM_READV, [1, 0, 0, 0, 0, 0])),
    ("supervisor-signals", signals),
    ("supervisor-folder", folder),
    ("supervisor-socket", socket),
];

/// What tests start: these do what cannot be refused, and what the supervisor must find.
pub const HELPERS: &[Try] = &[
    ("leave-shared", leave_shared),
    ("lower-supervisors-limit", || limit(NOFILE, 64)),
    ("starve-supervisor", || limit(ADDRESS_SPACE, 0)),
    ("hurry-supervisor", || limit(CPU, 0)),
    ("renice-supervisor", || made(calls::SETPRIORITY, [0, 1, 19, 0, 0, 0])),
];

const FOLDER: &str = "/.fanfold";
const NOFILE: usize = 7;
const CPU: usize = 0;
const ADDRESS_SPACE: usize = 9;
/// Makes what is not there.
const CREATE: usize = 0o1000;

fn memory() -> Held {
    for (write, path) in [(false, "/proc/1/mem"), (true, "/proc/1/mem"), (false, "/proc/1/maps")] {
        if OpenOptions::new().read(true).write(write).open(path).is_ok() {
            return Err(format!("{path} can be opened"));
        }
    }
    Ok(())
}

fn descriptor_list() -> Held {
    if fs::read_dir("/proc/1/fd").is_ok() || fs::read_dir("/proc/1/map_files").is_ok() {
        return Err("they are listed".to_owned());
    }
    Ok(())
}

fn descriptors() -> Held {
    let maps = fs::read_dir("/proc/1/map_files");
    if maps.is_ok_and(|mut all| all.next().is_some_and(|entry| entry.is_ok())) {
        return Err("its mapped files are listed".to_owned());
    }
    for fd in 0..64 {
        let path = format!("/proc/1/fd/{fd}");
        if File::open(&path).is_ok() || fs::read_link(&path).is_ok() {
            return Err(format!("{path} can be opened"));
        }
    }
    Ok(())
}

fn descriptor_taken() -> Held {
    let Ok(process) = call(calls::PIDFD_OPEN, [1, 0, 0, 0, 0, 0]) else { return Ok(()) };
    (0..16).try_for_each(|fd| refused(calls::PIDFD_GETFD, [process, fd, 0, 0, 0, 0]))
}

fn entries() -> Held {
    for name in ["environ", "auxv", "stack", "syscall", "io", "personality"] {
        if fs::read(format!("/proc/1/{name}")).is_ok_and(|bytes| !bytes.is_empty()) {
            return Err(format!("/proc/1/{name} can be read"));
        }
    }
    for name in ["exe", "cwd", "root"] {
        if fs::read_link(format!("/proc/1/{name}")).is_ok() {
            return Err(format!("/proc/1/{name} can be followed"));
        }
    }
    Ok(())
}

fn settings() -> Held {
    for name in ["oom_score_adj", "oom_adj", "coredump_filter", "autogroup", "timerslack_ns"] {
        let path = format!("/proc/1/{name}");
        if Path::new(&path).exists() && fs::write(&path, "1").is_ok() {
            return Err(format!("{path} can be written to"));
        }
    }
    Ok(())
}

/// Every signal there is, to a process that goes on.
fn signals() -> Held {
    for signal in 1..=64 {
        let _ = call(calls::KILL, [1, signal, 0, 0, 0, 0]);
    }
    let stat = fs::read_to_string("/proc/1/stat").map_err(|error| error.to_string())?;
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    if matches!(state, Some('S' | 'R' | 'D')) {
        return Ok(());
    }
    Err(format!("it is in the state {state:?}"))
}

fn folder() -> Held {
    let program = format!("{FOLDER}/supervise");
    let tried = [
        fs::rename(FOLDER, "/.other"),
        fs::rename(FOLDER, "/tmp/other"),
        fs::rename(&program, format!("{FOLDER}/other")),
        fs::remove_file(&program),
        fs::write(format!("{FOLDER}/node"), "").map(drop),
        OpenOptions::new().write(true).open(&program).map(drop),
        std::os::unix::fs::symlink("/tmp", format!("{FOLDER}/link")),
    ];
    match tried.iter().position(Result::is_ok) {
        Some(n) => Err(format!("try {n} changes it")),
        None => Ok(()),
    }
}

fn socket() -> Held {
    match UnixStream::connect(format!("{FOLDER}/node")) {
        Ok(_) => Err("its socket takes another".to_owned()),
        Err(_) => Ok(()),
    }
}

/// Memory, semaphores and queues that last longer than their makers.
fn leave_shared() -> Held {
    made(calls::SHMGET, [77, 4096, CREATE | 0o600, 0, 0, 0])?;
    made(calls::SEMGET, [77, 1, CREATE | 0o600, 0, 0, 0])?;
    made(calls::MSGGET, [77, CREATE | 0o600, 0, 0, 0, 0])?;
    let name = c"left";
    made(calls::MQ_OPEN, [name.as_ptr() as usize, 0o100 | 2, 0o600, 0, 0, 0])
}

fn limit(which: usize, most: u64) -> Held {
    let limits = [most, most];
    made(calls::PRLIMIT64, [1, which, (&raw const limits) as usize, 0, 0, 0])
}

fn made(number: std::ffi::c_long, args: [usize; 6]) -> Held {
    call(number, args).map(drop).map_err(|error| format!("could not be tried: error {error}"))
}
