//! The first process of a container that runs one task after the other. It starts each task's
//! program, passes on what that writes, tells how it ended, ends all that is left of it, empties
//! what it could write to, and proves that nothing remains; else it says so.
//!
//! It runs as the same user as the tasks, without capabilities. What keeps it from them: it is the
//! first process of its namespace, so that no signal of theirs reaches it; the kernel lets nobody
//! look into it; they do not inherit its socket; and whatever they can change of it by being the
//! same user is compared after each task.
//!
//! Its arguments are the path of the node's socket, and the folders that tasks can write to and
//! that are gone with their container.
#![no_main]

mod clean;
mod kept;
#[expect(dead_code, reason = "the node's half of it is not used here")]
#[path = "../../src/runtime/warm/protocol.rs"]
mod protocol;
mod sys;

use std::ffi::{CString, OsString, c_char, c_int};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::ptr;

use clean::Cleaner;
use protocol::{Command, Done, End, GREETING, Kind, SAID_BYTES_MAX, TASK_BYTES_MAX, Task};
use sys::{POLLIN, Poll};

/// The node has gone, or does not keep to the protocol.
const NODE_GONE: c_int = 80;
const NOT_READY: c_int = 81;
/// Where the kernel counts what it ended for lack of memory: of the second version of control
/// groups, and of the first.
const OOM_COUNTERS: [&str; 2] =
    ["/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"];
/// The errors of a program that is not there.
const ENOENT: i32 = 2;
/// How long to wait for the next process that has been killed.
const KILLED_MS: c_int = 5;
const EXECUTABLE: u32 = 0o111;

/// Not Rust's own start: it would install handlers of signals, which tasks could then send.
#[unsafe(no_mangle)]
extern "C" fn main() -> c_int {
    let words: Vec<_> = std::env::args_os().collect();
    let Ok(mut supervisor) = Supervisor::new(&words) else { return NOT_READY };
    // The end of a container's first process is the end of all its processes.
    if supervisor.serve().is_ok() { 0 } else { NODE_GONE }
}

struct Supervisor {
    node: UnixStream,
    children: File,
    nothing: File,
    oom_counter: Option<File>,
    cleaner: Cleaner,
    /// Frames that are sent with the next ones.
    unsent: Vec<u8>,
    buffer: Vec<u8>,
}

/// A task's program, and what can be read of it. A pipe that nobody can write to any more is `None`.
struct Running {
    process: c_int,
    pipes: [(Kind, Option<File>); 2],
}

impl Supervisor {
    fn new(words: &[OsString]) -> io::Result<Self> {
        sys::hide()?;
        let [_, socket, folders @ ..] = words else {
            return Err(io::Error::other("there is no path of a socket"));
        };
        let node = UnixStream::connect(Path::new(socket))?;
        let children = sys::watch_children()?;
        let nothing = File::open("/dev/null")?;
        let oom_counter = OOM_COUNTERS.iter().find_map(|path| File::open(path).ok());
        // Last: it keeps what this process is like.
        let cleaner = Cleaner::new(folders.iter().map(PathBuf::from).collect())?;
        let buffer = vec![0; SAID_BYTES_MAX];
        let children = File::from(children);
        let unsent = Vec::new();
        let mut supervisor = Self { node, children, nothing, oom_counter, cleaner, unsent, buffer };
        supervisor.say(Kind::Ready, GREETING);
        supervisor.send()?;
        Ok(supervisor)
    }

    /// Runs what the node asks for, until it closes the socket.
    fn serve(&mut self) -> io::Result<()> {
        loop {
            let Some((kind, bytes)) = protocol::read_frame(&mut self.node, TASK_BYTES_MAX)? else {
                return Ok(());
            };
            if kind != Kind::Task {
                return Err(io::Error::other("the node asks for no task"));
            }
            let task = Task::decode(&bytes)?;
            let left = if self.run(&task)? {
                let Self { node, unsent, cleaner, .. } = self;
                // The node need not wait for that to know how the task ended.
                let mut tell = || {
                    let _ = node.write_all(unsent);
                    unsent.clear();
                };
                cleaner.clean(&mut tell).err().unwrap_or_default()
            } else {
                "processes do not end, or keep a pipe open".to_owned()
            };
            self.say(Kind::Clean, left.as_bytes());
            self.send()?;
        }
    }

    /// Runs a task to its end, and ends all that it left. False where that does not end.
    fn run(&mut self, task: &Task) -> io::Result<bool> {
        let ooms = self.oom_kills();
        let (own, before) = sys::usages();
        let (started, start_ns) = self.start(task)?;
        let (mut running, mut ended) = match started {
            Ok(running) => (Some(running), None),
            Err(error) => (None, Some(End::NotStarted(error))),
        };
        let (mut peak_bytes, mut end_ns) = (0, start_ns);
        while let (Some(running), None) = (&mut running, ended) {
            self.pass_on(running)?;
            while let Some(child) = sys::reap() {
                peak_bytes = peak_bytes.max(child.usage.peak_bytes);
                if child.process == running.process {
                    (ended, end_ns) = (Some(end(child.status)), sys::now_ns());
                }
            }
        }
        let mut killed = clean::kill_all(|| {
            let _ = sys::wait_for(&mut [polled(&self.children)], KILLED_MS);
            let _ = (&self.children).read(&mut self.buffer);
        });
        for (kind, pipe) in running.into_iter().flat_map(|running| running.pipes) {
            killed &= self.pass_on_rest(kind, pipe)?;
        }
        let (own_now, now) = sys::usages();
        let done = Done {
            end: ended.ok_or_else(|| io::Error::other("a program has no end"))?,
            wall_ns: end_ns - start_ns,
            cpu_ns: now.cpu_ns.saturating_sub(before.cpu_ns),
            own_cpu_ns: own_now.cpu_ns.saturating_sub(own.cpu_ns),
            peak_bytes,
            oom_kills: self.oom_kills().saturating_sub(ooms),
        };
        self.say(Kind::Done, &done.encode());
        Ok(killed)
    }

    /// Starts the task's program, and gives when; the error is that of its last one where none can
    /// be started.
    fn start(&self, task: &Task) -> io::Result<(Result<Running, c_int>, u64)> {
        let variables = laid_over(&task.variables);
        let path = variables.iter().rev().find_map(|text| text.strip_prefix(b"PATH="));
        let found: Vec<_> = task
            .commands
            .iter()
            .filter_map(|command| Some((program(command, path.unwrap_or_default())?, command)))
            .collect();
        if found.is_empty() {
            return Ok((Err(ENOENT), sys::now_ns()));
        }
        let variables = texts(&variables)?;
        let mut programs = Vec::with_capacity(found.len());
        for (program, command) in found {
            programs.push((CString::new(program)?, texts(command)?));
        }
        let words: Vec<_> = programs.iter().map(|(_, words)| pointers(words)).collect();
        let programs: Vec<sys::Program<'_>> =
            programs.iter().zip(&words).map(|((path, _), words)| (&**path, &words[..])).collect();
        let (output, to_output) = sys::pipe()?;
        let (errors, to_errors) = sys::pipe()?;
        let ends = [self.nothing.as_raw_fd(), to_output.as_raw_fd(), to_errors.as_raw_fd()];
        let start_ns = sys::now_ns();
        let started = sys::start(&programs, &pointers(&variables), ends)?;
        let pipe = |kind, end: OwnedFd| (kind, Some(File::from(end)));
        let pipes = [pipe(Kind::Output, output), pipe(Kind::Errors, errors)];
        Ok((started.map(|process| Running { process, pipes }), start_ns))
    }

    /// Waits until there is something to read or a child has ended, and passes on what was read.
    fn pass_on(&mut self, running: &mut Running) -> io::Result<()> {
        self.send()?;
        let mut fds = vec![polled(&self.node), polled(&self.children)];
        fds.extend(running.pipes.iter().filter_map(|(_, pipe)| Some(polled(pipe.as_ref()?))));
        sys::wait_for(&mut fds, -1)?;
        if fds[0].found != 0 {
            return Err(io::Error::other("the node has gone, or is too early"));
        }
        let _ = (&self.children).read(&mut self.buffer);
        let mut found = fds[2..].iter().map(|fd| fd.found != 0);
        for (kind, pipe) in &mut running.pipes {
            let is_found = pipe.is_some() && found.next() == Some(true);
            if let Some(open) = pipe.as_mut().filter(|_| is_found)
                && let Some(0) = read(open, &mut self.buffer, *kind, &mut self.unsent)?
            {
                *pipe = None;
            }
        }
        Ok(())
    }

    /// Passes on what is left in a pipe. False where something still has its other end.
    fn pass_on_rest(&mut self, kind: Kind, pipe: Option<File>) -> io::Result<bool> {
        let Some(mut pipe) = pipe else { return Ok(true) };
        loop {
            match read(&mut pipe, &mut self.buffer, kind, &mut self.unsent)? {
                Some(0) => return Ok(true),
                Some(_) if self.unsent.len() > SAID_BYTES_MAX => self.send()?,
                Some(_) => {}
                None => return Ok(false),
            }
        }
    }

    fn say(&mut self, kind: Kind, bytes: &[u8]) {
        protocol::put_frame(&mut self.unsent, kind, bytes);
    }

    fn send(&mut self) -> io::Result<()> {
        if !self.unsent.is_empty() {
            self.node.write_all(&self.unsent)?;
            self.unsent.clear();
        }
        Ok(())
    }

    /// How many processes the kernel has ended for lack of memory in this container.
    fn oom_kills(&self) -> u64 {
        let text = self.oom_counter.as_ref().and_then(|file| text(file).ok()).unwrap_or_default();
        let value = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
    }
}

/// Reads once, and puts it into a frame. `None` where there is nothing now, 0 where there never
/// will be anything.
fn read(
    pipe: &mut File,
    buffer: &mut [u8],
    kind: Kind,
    frames: &mut Vec<u8>,
) -> io::Result<Option<usize>> {
    match pipe.read(buffer) {
        Ok(0) => Ok(Some(0)),
        Ok(count) => {
            protocol::put_frame(frames, kind, &buffer[..count]);
            Ok(Some(count))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

fn end(status: c_int) -> End {
    match status & 0x7f {
        0 => End::Exited(status >> 8 & 0xff),
        signal => End::Signalled(signal),
    }
}

fn polled(file: &impl std::os::fd::AsRawFd) -> Poll {
    Poll { fd: file.as_raw_fd(), events: POLLIN, found: 0 }
}

/// The first of a file of the kernel's that is made each time it is read.
fn text(file: &File) -> io::Result<String> {
    let mut buffer = [0; 4096];
    let count = file.read_at(&mut buffer, 0)?;
    Ok(String::from_utf8_lossy(&buffer[..count]).into_owned())
}

/// The container's own variables, with those of a task in their place.
fn laid_over(variables: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let name = |text: &[u8]| text.split(|byte| *byte == b'=').next().map(<[u8]>::to_vec);
    let names: Vec<_> = variables.iter().map(|text| name(text)).collect();
    let own = std::env::vars_os().map(|(name, value)| {
        let mut text = name.into_vec();
        text.push(b'=');
        text.extend(value.into_vec());
        text
    });
    let own = own.filter(|text| !names.contains(&name(text)));
    own.chain(variables.iter().cloned()).collect()
}

/// The file of a command's program: as it is named, or the first that can be run in a folder of
/// the path.
fn program(command: &Command, path: &[u8]) -> Option<Vec<u8>> {
    let name = command.first().filter(|name| !name.is_empty())?;
    if name.contains(&b'/') {
        return Some(name.clone());
    }
    let folders = path.split(|byte| *byte == b':');
    let files = folders.map(|folder| if folder.is_empty() { &b"."[..] } else { folder });
    files.map(|folder| [folder, &b"/"[..], name].concat()).find(|file| {
        let meta = fs::metadata(Path::new(&OsString::from_vec(file.clone())));
        meta.is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & EXECUTABLE != 0)
    })
}

fn texts(list: &[Vec<u8>]) -> io::Result<Vec<CString>> {
    list.iter().map(|text| Ok(CString::new(text.clone())?)).collect()
}

/// A list as programs get it: it ends with a null pointer.
fn pointers(list: &[CString]) -> Vec<*const c_char> {
    list.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
}
