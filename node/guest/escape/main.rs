//! The escape kit: tries to get out of the container that it runs in, and prints for each try
//! `held NAME`, or `out NAME WHY` where something gave way.
//!
//! Each try is a process of its own, so that one that is killed ends no other. No try does damage
//! where it gets through: it asks for what would be refused first, with arguments that do nothing,
//! and takes no more than a bounded amount of anything.

mod calls;
mod files;
mod identity;
mod kernel;
mod limits;
mod network;
mod supervisor;

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitCode};

/// What a try found out: `Err` says what it got.
type Held = Result<(), String>;

/// A name, and what is tried under it.
type Try = (&'static str, fn() -> Held);

const FAMILIES: [&[Try]; 6] = [
    identity::TRIES,
    kernel::TRIES,
    files::TRIES,
    network::TRIES,
    limits::TRIES,
    supervisor::TRIES,
];

/// What containers of the profile `plain` may do: these are no ways out of them. `/tmp` lies in
/// their root there, which is counted as what they write: who fills it is ended, and the kit with
/// it.
const PLAIN: [&str; 12] = [
    "identity-root",
    "become-root",
    "become-root-group",
    "write-root",
    "write-programs",
    "write-settings",
    "write-beside-mounts",
    "write-devices",
    "give-file-to-root",
    "limit-temporary-files",
    // Of a first process that cannot be looked into, these belong to root: the numbers say nothing,
    // and the process compares the settings.
    "supervisor-descriptor-list",
    "supervisor-settings",
];

/// Signals that end a try because something held: bad system call, kill, file size.
const HOLDING_SIGNALS: [i32; 3] = [31, 9, 25];
/// A kernel without calls of another word size answers them so.
const SEGMENTATION_FAULT: i32 = 11;

fn main() -> ExitCode {
    if let Some(name) = std::env::args().nth(1) {
        return run_one(&name);
    }
    let is_plain = std::env::var("PROFILE").is_ok_and(|profile| profile == "plain");
    // The container's first process is the node's, and not this one.
    let is_supervised = std::os::unix::process::parent_id() == 1;
    let mut all_held = true;
    for (name, _) in FAMILIES.into_iter().flatten() {
        let is_other = !is_supervised && name.starts_with("supervisor-");
        if is_other || (is_plain && PLAIN.contains(name)) {
            continue;
        }
        match run_apart(name) {
            Ok(()) => println!("held {name}"),
            Err(why) => {
                all_held = false;
                println!("out {name} {why}");
            }
        }
        files::clean();
    }
    if all_held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one try in a process of its own.
fn run_apart(name: &str) -> Held {
    let output = Command::new("/proc/self/exe").arg(name).output();
    let output = output.map_err(|error| format!("could not be tried: {error}"))?;
    match (output.status.code(), output.status.signal()) {
        (Some(0), _) => Ok(()),
        (_, Some(signal)) if HOLDING_SIGNALS.contains(&signal) => Ok(()),
        (_, Some(SEGMENTATION_FAULT)) if name.starts_with("other-word-size") => Ok(()),
        (_, Some(signal)) => Err(format!("could not be tried: it ended by signal {signal}")),
        (_, None) => Err(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
    }
}

fn run_one(name: &str) -> ExitCode {
    // Where memory runs out, the try ends and not the kit.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    let helpers = limits::HELPERS.iter().chain(supervisor::HELPERS);
    let all = FAMILIES.into_iter().flatten().chain(helpers);
    let held = match all.into_iter().find(|(known, _)| *known == name) {
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
