//! What a node and the supervisor of a container say to each other: frames of a kind, a length and
//! so many bytes, in both directions of one socket. `guest/supervise` is compiled with this very
//! file, so it knows nothing but the standard library.

use std::io::{self, Read};

/// What the supervisor says first, so that no other one is taken for it.
pub const GREETING: &[u8] = b"fanfold supervisor 1";
/// The most bytes of a task's commands and variables together.
pub const TASK_BYTES_MAX: usize = 16 << 20;
/// The most bytes of what a supervisor says at once.
pub const SAID_BYTES_MAX: usize = 64 << 10;
/// Of a frame before its bytes.
pub const HEAD_BYTES: usize = 5;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The supervisor is ready for its first task.
    Ready,
    /// From the node: a task to be run.
    Task,
    /// What the task wrote to its output, or to its error output.
    Output,
    Errors,
    /// The task has ended, and with it all that it started.
    Done,
    /// Nothing is left of the task, where the frame is empty; else what is left.
    Clean,
}

impl Kind {
    const ALL: [Self; 6] =
        [Self::Ready, Self::Task, Self::Output, Self::Errors, Self::Done, Self::Clean];

    const fn byte(self) -> u8 {
        match self {
            Self::Ready => b'R',
            Self::Task => b'T',
            Self::Output => b'O',
            Self::Errors => b'E',
            Self::Done => b'D',
            Self::Clean => b'C',
        }
    }

    fn of(byte: u8) -> io::Result<Self> {
        let found = Self::ALL.into_iter().find(|kind| kind.byte() == byte);
        found.ok_or_else(|| broken("a frame of an unknown kind"))
    }
}

/// A command that is to be run, as bytes: neither words nor variables need be text.
pub type Command = Vec<Vec<u8>>;

/// What a supervisor is asked to run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Task {
    /// Commands for the same thing; the next is tried where the one before cannot be started.
    pub commands: Vec<Command>,
    /// As `NAME=VALUE`; they take the place of the container's own of the same name.
    pub variables: Vec<Vec<u8>>,
}

/// How a task's program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Exited(i32),
    /// By this signal.
    Signalled(i32),
    /// None of its commands could be started: the error of the last one.
    NotStarted(i32),
}

/// What there is to say of a task that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    pub end: End,
    /// From the start of its program to that program's end.
    pub wall_ns: u64,
    /// What it and all that it waited for used of the processor.
    pub cpu_ns: u64,
    /// What the supervisor itself used meanwhile.
    pub own_cpu_ns: u64,
    /// The most memory of one of its processes.
    pub peak_bytes: u64,
    /// How many of its processes the kernel ended for lack of memory.
    pub oom_kills: u64,
}

/// The bytes before those of a frame.
fn head(kind: Kind, bytes: usize) -> [u8; HEAD_BYTES] {
    let length = u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
    [kind.byte(), length[0], length[1], length[2], length[3]]
}

/// The kind of a frame, and how many bytes follow. `most` is for the longest that may come.
pub fn read_head(head: [u8; HEAD_BYTES], most: usize) -> io::Result<(Kind, usize)> {
    let [kind, length @ ..] = head;
    let bytes = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if bytes > most {
        return Err(broken("a frame that is too long"));
    }
    Ok((Kind::of(kind)?, bytes))
}

/// Adds a frame to others that are to be sent.
pub fn put_frame(to: &mut Vec<u8>, kind: Kind, bytes: &[u8]) {
    to.extend(head(kind, bytes.len()));
    to.extend(bytes);
}

/// Reads a whole frame; `None` where the other side has gone.
pub fn read_frame(from: &mut impl Read, most: usize) -> io::Result<Option<(Kind, Vec<u8>)>> {
    let mut head = [0; HEAD_BYTES];
    match from.read_exact(&mut head) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let (kind, length) = read_head(head, most)?;
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(Some((kind, bytes)))
}

impl Task {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_count(&mut bytes, self.commands.len());
        self.commands.iter().for_each(|command| put_list(&mut bytes, command));
        put_list(&mut bytes, &self.variables);
        bytes
    }

    pub fn decode(mut bytes: &[u8]) -> io::Result<Self> {
        let from = &mut bytes;
        let commands = (0..take_count(from)?).map(|_| take_list(from)).collect::<Result<_, _>>()?;
        let variables = take_list(from)?;
        if from.is_empty() { Ok(Self { commands, variables }) } else { Err(broken("a task")) }
    }
}

impl Done {
    pub fn encode(&self) -> Vec<u8> {
        let (how, code) = match self.end {
            End::Exited(code) => (0, code),
            End::Signalled(signal) => (1, signal),
            End::NotStarted(error) => (2, error),
        };
        let mut bytes = vec![how];
        bytes.extend(code.to_le_bytes());
        for number in [self.wall_ns, self.cpu_ns, self.own_cpu_ns, self.peak_bytes, self.oom_kills]
        {
            bytes.extend(number.to_le_bytes());
        }
        bytes
    }

    pub fn decode(mut bytes: &[u8]) -> io::Result<Self> {
        let from = &mut bytes;
        let [how] = take(from)?;
        let code = i32::from_le_bytes(take(from)?);
        let end = match how {
            0 => End::Exited(code),
            1 => End::Signalled(code),
            2 => End::NotStarted(code),
            _ => return Err(broken("the end of a task")),
        };
        let mut number = || take(from).map(u64::from_le_bytes);
        Ok(Self {
            end,
            wall_ns: number()?,
            cpu_ns: number()?,
            own_cpu_ns: number()?,
            peak_bytes: number()?,
            oom_kills: number()?,
        })
    }
}

fn put_count(bytes: &mut Vec<u8>, count: usize) {
    bytes.extend(u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_list(bytes: &mut Vec<u8>, list: &[Vec<u8>]) {
    put_count(bytes, list.len());
    for text in list {
        put_count(bytes, text.len());
        bytes.extend(text);
    }
}

fn take<const N: usize>(from: &mut &[u8]) -> io::Result<[u8; N]> {
    let (taken, rest) = from.split_first_chunk().ok_or_else(|| broken("a frame that is cut"))?;
    *from = rest;
    Ok(*taken)
}

fn take_count(from: &mut &[u8]) -> io::Result<usize> {
    take(from).map(u32::from_le_bytes).map(|count| usize::try_from(count).unwrap_or(usize::MAX))
}

fn take_list(from: &mut &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let count = take_count(from)?;
    let mut list = Vec::new();
    for _ in 0..count {
        let length = take_count(from)?;
        let text = from.split_at_checked(length).ok_or_else(|| broken("a text that is cut"))?;
        list.push(text.0.to_vec());
        *from = text.1;
    }
    Ok(list)
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not of the protocol: {what}"))
}
