//! The escape kit: tries to get out of the container that it runs in, and prints for each try
//! `held NAME`, or `out NAME WHY` where something gave way.
//!
//! Each try is a process of its own, so that one that is killed ends no other. No try does damage
//! where it gets through: it asks for what would be refused first, with arguments that do nothing.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitCode};

/// What a try found out: `Err` says what it got.
type Held = Result<(), String>;
/// A name, and what is tried under it.
type Try = (&'static str, fn() -> Held);

/// Signals that end a try because a limit held: bad system call, kill, and file size.
const LIMIT_SIGNALS: [i32; 3] = [31, 9, 25];

const TRIES: &[Try] = &[
    ("identity-root", identity_root),
    ("identity-capabilities", || status_is("CapEff", "0000000000000000")),
    ("identity-bounding-set", || status_is("CapBnd", "0000000000000000")),
    ("identity-new-privileges", || status_is("NoNewPrivs", "1")),
    ("identity-seccomp", || status_is("Seccomp", "2")),
];

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    if let Some(name) = args.next() {
        return run_one(&name);
    }
    let mut all_held = true;
    for (name, _) in TRIES {
        match run_apart(name) {
            Ok(()) => println!("held {name}"),
            Err(why) => {
                all_held = false;
                println!("out {name} {why}");
            }
        }
    }
    if all_held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one try in a process of its own.
fn run_apart(name: &str) -> Held {
    let output = Command::new("/proc/self/exe").arg(name).output();
    let output = output.map_err(|error| format!("could not be tried: {error}"))?;
    match (output.status.code(), output.status.signal()) {
        (Some(0), _) => Ok(()),
        (_, Some(signal)) if LIMIT_SIGNALS.contains(&signal) => Ok(()),
        (_, Some(signal)) => Err(format!("could not be tried: it ended by signal {signal}")),
        (_, None) => Err(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
    }
}

fn run_one(name: &str) -> ExitCode {
    let held = match TRIES.iter().find(|(known, _)| *known == name) {
        Some((_, attempt)) => attempt(),
        None => Err("no try has this name".to_owned()),
    };
    match held {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("{}", why.replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

fn identity_root() -> Held {
    let status = read("/proc/self/status")?;
    let ids = status.lines().filter(|line| line.starts_with("Uid:") || line.starts_with("Gid:"));
    for line in ids {
        if line.split_whitespace().skip(1).any(|id| id == "0") {
            return Err(format!("runs as root: {line}"));
        }
    }
    Ok(())
}

/// A line of the process's own status has this value.
fn status_is(field: &str, expected: &str) -> Held {
    let status = read("/proc/self/status")?;
    let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    match value.map(str::trim) {
        Some(value) if value == expected => Ok(()),
        value => Err(format!("{field} is {}", value.unwrap_or("not there"))),
    }
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("could not be tried: {path}: {error}"))
}
