//! The system calls that the standard library does not offer. All that is unsafe is here.

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_void};
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr;

pub const SIGKILL: c_int = 9;
pub const POLLIN: i16 = 1;
const SIGCHLD: u32 = 17;
const SIG_BLOCK: c_int = 0;
const CLOEXEC: c_int = 0o2_000_000;
const NONBLOCK: c_int = 0o4000;
const PR_SET_DUMPABLE: c_int = 4;
const PR_GET_DUMPABLE: c_int = 3;
const WNOHANG: c_int = 1;
const F_SETFL: c_int = 4;
const ESRCH: i32 = 3;
const EPERM: c_int = 1;
const EAGAIN: c_int = 11;
const ENOMEM: c_int = 12;
const SPAWN_SIGNAL_DEFAULTS: i16 = 0x04;
const SPAWN_SIGNAL_MASK: i16 = 0x08;
const SPAWN_SESSION: i16 = 0x80;
const RUSAGE_SELF: c_int = 0;
const RUSAGE_CHILDREN: c_int = -1;
const IPC_RMID: c_int = 0;
const LIMITS: usize = 16;
#[cfg(target_arch = "x86_64")]
const SCHED_GETATTR: c_long = 315;
#[cfg(not(target_arch = "x86_64"))]
const SCHED_GETATTR: c_long = 275;

/// A set of signals, as the C library has it.
type Signals = [u64; 16];

/// A value of the C library's own, which has at most 336 bytes.
#[repr(C, align(16))]
struct Opaque([u8; 512]);

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Poll {
    pub fd: c_int,
    pub events: i16,
    pub found: i16,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct Time {
    secs: c_long,
    fraction: c_long,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct RawUsage {
    user: Time,
    system: Time,
    peak_kib: c_long,
    others: [c_long; 13],
}

/// What processes used.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    pub cpu_ns: u64,
    pub peak_bytes: u64,
}

/// What another process of the same user could change of this one. Whatever of it is not as it
/// was, a task has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traits {
    limits: [[u64; 2]; LIMITS],
    scheduling: [u8; 56],
    processors: [u64; 128],
}

/// A child that has ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    pub process: c_int,
    pub status: c_int,
    pub usage: Usage,
}

/// Programs that are ready to be started: for each its path, words and variables.
pub type Program<'a> = (&'a CStr, &'a [*const c_char]);

unsafe extern "C" {
    fn posix_spawn(
        process: *mut c_int,
        path: *const c_char,
        actions: *const Opaque,
        attributes: *const Opaque,
        words: *const *const c_char,
        env: *const *const c_char,
    ) -> c_int;
    fn posix_spawn_file_actions_init(actions: *mut Opaque) -> c_int;
    fn posix_spawn_file_actions_adddup2(actions: *mut Opaque, from: c_int, to: c_int) -> c_int;
    fn posix_spawn_file_actions_destroy(actions: *mut Opaque) -> c_int;
    fn posix_spawnattr_init(attributes: *mut Opaque) -> c_int;
    fn posix_spawnattr_setflags(attributes: *mut Opaque, flags: i16) -> c_int;
    fn posix_spawnattr_setsigdefault(attributes: *mut Opaque, signals: *const Signals) -> c_int;
    fn posix_spawnattr_setsigmask(attributes: *mut Opaque, signals: *const Signals) -> c_int;
    fn posix_spawnattr_destroy(attributes: *mut Opaque) -> c_int;
    fn geteuid() -> u32;
    fn llistxattr(path: *const c_char, names: *mut c_void, bytes: usize) -> isize;
    fn pipe2(ends: *mut c_int, flags: c_int) -> c_int;
    fn fcntl(fd: c_int, command: c_int, flags: c_int) -> c_int;
    fn poll(fds: *mut Poll, count: usize, timeout_ms: c_int) -> c_int;
    fn signalfd(fd: c_int, signals: *const Signals, flags: c_int) -> c_int;
    fn sigprocmask(how: c_int, signals: *const Signals, before: *mut Signals) -> c_int;
    fn wait4(process: c_int, status: *mut c_int, options: c_int, usage: *mut RawUsage) -> c_int;
    fn kill(process: c_int, signal: c_int) -> c_int;
    fn clock_gettime(clock: c_int, time: *mut Time) -> c_int;
    fn getrusage(who: c_int, usage: *mut RawUsage) -> c_int;
    fn prctl(option: c_int, ...) -> c_int;
    fn getrlimit(which: c_int, limit: *mut [u64; 2]) -> c_int;
    fn sched_getaffinity(process: c_int, bytes: usize, set: *mut u64) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
    fn shmctl(id: c_int, command: c_int, buffer: *mut c_void) -> c_int;
    fn msgctl(id: c_int, command: c_int, buffer: *mut c_void) -> c_int;
    fn semctl(id: c_int, number: c_int, command: c_int, ...) -> c_int;
}

fn checked(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Keeps other processes of the same user from this one's memory, descriptors and `/proc` entries.
pub fn hide() -> io::Result<()> {
    // SAFETY: only this process's own flag is changed and read.
    let dumpable = unsafe {
        checked(prctl(PR_SET_DUMPABLE, 0usize, 0usize, 0usize, 0usize))?;
        prctl(PR_GET_DUMPABLE, 0usize, 0usize, 0usize, 0usize)
    };
    if dumpable == 0 { Ok(()) } else { Err(io::Error::other("it can be looked into")) }
}

/// Holds the ends of children back, and gives what tells of them.
pub fn watch_children() -> io::Result<OwnedFd> {
    let mut signals: Signals = [0; 16];
    signals[0] = 1 << (SIGCHLD - 1);
    // SAFETY: the set is a valid one, and the descriptor is new and nobody else's.
    unsafe {
        checked(sigprocmask(SIG_BLOCK, &raw const signals, ptr::null_mut()))?;
        let made = checked(signalfd(-1, &raw const signals, CLOEXEC | NONBLOCK))?;
        Ok(OwnedFd::from_raw_fd(made))
    }
}

/// A pipe whose first end, for reading, does not block.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: there is room for both ends, which are new and nobody else's.
    unsafe {
        checked(pipe2(ends.as_mut_ptr(), CLOEXEC))?;
        let ends = (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]));
        checked(fcntl(ends.0.as_raw_fd(), F_SETFL, NONBLOCK))?;
        Ok(ends)
    }
}

/// Waits until there is something of these, at most so long; -1 is without end.
pub fn wait_for(fds: &mut [Poll], timeout_ms: c_int) -> io::Result<()> {
    // SAFETY: the list is as long as is said.
    match checked(unsafe { poll(fds.as_mut_ptr(), fds.len(), timeout_ms) }) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        waited => waited.map(drop),
    }
}

/// Starts the first of these programs that can be started, in a session of its own and with all
/// signals as they are by default, and gives its process; `Ok(Err(_))` is the error of the last one
/// where none can. Nothing of this process is copied for it.
///
/// # Errors
/// No process can be made. What the library holds of it then goes with this process.
pub fn start(
    programs: &[Program<'_>],
    variables: &[*const c_char],
    [input, output, errors]: [RawFd; 3],
) -> io::Result<Result<c_int, c_int>> {
    // Without being told, the library ignores two signals that it has for its own use.
    let (none, all): (Signals, Signals) = ([0; 16], [u64::MAX; 16]);
    let flags = SPAWN_SIGNAL_DEFAULTS | SPAWN_SIGNAL_MASK | SPAWN_SESSION;
    let (mut actions, mut attributes) = (Opaque([0; 512]), Opaque([0; 512]));
    let (actions, attributes) = (&raw mut actions, &raw mut attributes);
    let mut started = Err(0);
    // SAFETY: there is room for both values, which are made before they are used; the lists end with
    // a null pointer. The child runs in this process's memory until its program begins, on a stack
    // of its own, and this process stands still meanwhile.
    unsafe {
        made(posix_spawn_file_actions_init(actions))?;
        for (from, to) in [(input, 0), (output, 1), (errors, 2)] {
            made(posix_spawn_file_actions_adddup2(actions, from, to))?;
        }
        made(posix_spawnattr_init(attributes))?;
        made(posix_spawnattr_setflags(attributes, flags))?;
        made(posix_spawnattr_setsigdefault(attributes, &raw const all))?;
        made(posix_spawnattr_setsigmask(attributes, &raw const none))?;
        for (path, words) in programs {
            let (path, words, env) = (path.as_ptr(), words.as_ptr(), variables.as_ptr());
            let mut process = 0;
            match posix_spawn(&raw mut process, path, actions, attributes, words, env) {
                0 => {
                    started = Ok(process);
                    break;
                }
                error => started = Err(error),
            }
        }
        posix_spawnattr_destroy(attributes);
        posix_spawn_file_actions_destroy(actions);
    }
    match started {
        // There is no room for a process, whichever program it runs, or the engine's rules do not
        // let the library make one: that is the node's fault, never the program's.
        Err(error @ (EPERM | EAGAIN | ENOMEM)) => Err(io::Error::from_raw_os_error(error)),
        started => Ok(started),
    }
}

/// What of the C library gives its error as the result.
fn made(error: c_int) -> io::Result<()> {
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// Takes in a child that has ended, if there is one.
pub fn reap() -> Option<Ended> {
    let (mut status, mut usage) = (0, RawUsage::default());
    // SAFETY: both are written to while they are borrowed.
    let process = unsafe { wait4(-1, &raw mut status, WNOHANG, &raw mut usage) };
    (process > 0).then(|| Ended { process, status, usage: usage.read() })
}

/// Sends a signal to every other process of the container; 0 only looks. Gives whether there is
/// any: one that has ended and was not taken in counts, too.
pub fn signal_all(signal: c_int) -> bool {
    // SAFETY: the first process of a container does not reach beyond it, and not itself.
    let found = unsafe { kill(-1, signal) };
    found == 0 || io::Error::last_os_error().raw_os_error() != Some(ESRCH)
}

pub fn now_ns() -> u64 {
    const MONOTONIC: c_int = 1;
    let mut time = Time::default();
    // SAFETY: it is written to while it is borrowed.
    unsafe { clock_gettime(MONOTONIC, &raw mut time) };
    nanoseconds(time.secs, time.fraction)
}

/// What this process has used until now, and what all children have that were taken in.
pub fn usages() -> (Usage, Usage) {
    let of = |who| {
        let mut usage = RawUsage::default();
        // SAFETY: it is written to while it is borrowed.
        unsafe { getrusage(who, &raw mut usage) };
        usage.read()
    };
    (of(RUSAGE_SELF), of(RUSAGE_CHILDREN))
}

/// What another process could have changed of this one.
pub fn traits() -> io::Result<Traits> {
    let mut traits = Traits { limits: [[0; 2]; LIMITS], scheduling: [0; 56], processors: [0; 128] };
    let bytes = size_of_val(&traits.processors);
    // SAFETY: each buffer is as large as is said, and written to while it is borrowed.
    unsafe {
        for (limit, which) in traits.limits.iter_mut().zip(0..) {
            checked(getrlimit(which, limit))?;
        }
        checked(sched_getaffinity(0, bytes, traits.processors.as_mut_ptr()))?;
        let (size, buffer) = (traits.scheduling.len(), traits.scheduling.as_mut_ptr());
        if syscall(SCHED_GETATTR, 0usize, buffer, size, 0usize) < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(traits)
}

/// Whether this process is root in its container.
pub fn is_root() -> bool {
    // SAFETY: it only reads.
    unsafe { geteuid() == 0 }
}

/// The bytes of the names of a file's attributes; links are not followed.
pub fn attributes(path: &Path) -> io::Result<usize> {
    const UNSUPPORTED: i32 = 95;
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the path ends with a zero, and nothing is written where there is room for nothing.
    let bytes = unsafe { llistxattr(path.as_ptr(), ptr::null_mut(), 0) };
    match usize::try_from(bytes) {
        Ok(bytes) => Ok(bytes),
        Err(_) => {
            let error = io::Error::last_os_error();
            if error.raw_os_error() == Some(UNSUPPORTED) { Ok(0) } else { Err(error) }
        }
    }
}

/// Removes a piece of memory, a queue or semaphores that processes shared by a number.
pub fn remove_shared(kind: &str, id: c_int) {
    // SAFETY: nothing is read or written with this command.
    unsafe {
        match kind {
            "shm" => shmctl(id, IPC_RMID, ptr::null_mut()),
            "msg" => msgctl(id, IPC_RMID, ptr::null_mut()),
            _ => semctl(id, 0, IPC_RMID),
        };
    }
}

impl RawUsage {
    fn read(&self) -> Usage {
        let time = |time: Time| nanoseconds(time.secs, time.fraction.saturating_mul(1000));
        let peak_bytes = u64::try_from(self.peak_kib).unwrap_or(0).saturating_mul(1024);
        let _ = self.others;
        Usage { cpu_ns: time(self.user) + time(self.system), peak_bytes }
    }
}

fn nanoseconds(secs: c_long, rest: c_long) -> u64 {
    u64::try_from(secs).unwrap_or(0) * 1_000_000_000 + u64::try_from(rest).unwrap_or(0)
}
