//! Who the container's processes are, and what they can become.

use std::fs;
use std::io::Write as _;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::process::Command;

use crate::calls::{self, call, refused};
use crate::{Held, Try};

pub const TRIES: &[Try] = &[
    ("identity-root", root),
    ("identity-capabilities", || status_is("CapEff", "0000000000000000")),
    ("identity-bounding-set", || status_is("CapBnd", "0000000000000000")),
    ("identity-new-privileges", || status_is("NoNewPrivs", "1")),
    ("identity-seccomp", || status_is("Seccomp", "2")),
    ("identity-groups", groups),
    ("become-root", || refused(calls::SETUID, [0; 6])),
    ("become-root-group", || refused(calls::SETGID, [0; 6])),
    ("become-member", || refused(calls::SETGROUPS, [1, (&raw const ROOT) as usize, 0, 0, 0, 0])),
    ("raise-capabilities", raise_capabilities),
    ("raise-ambient-capability", || refused(calls::PRCTL, [47, 2, 13, 0, 0, 0])),
    ("change-memory-map", || refused(calls::PRCTL, [35, 8, 0, 0, 0, 0])),
    ("execute-from-memory", execute_from_memory),
    ("loader-variables", loader_variables),
    ("gpu-variables", gpu_variables),
    ("secrets-of-the-host", host_variables),
];

static ROOT: u32 = 0;

fn status_line(field: &str) -> Result<String, String> {
    let status = fs::read_to_string("/proc/self/status")
        .map_err(|error| format!("could not be tried: {error}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    Ok(line.ok_or("could not be tried: the line is missing")?.trim().to_owned())
}

fn status_is(field: &str, expected: &str) -> Held {
    let value = status_line(field)?;
    if value == expected { Ok(()) } else { Err(format!("{field} is {value}")) }
}

fn root() -> Held {
    for field in ["Uid", "Gid"] {
        let ids = status_line(field)?;
        if ids.split_whitespace().any(|id| id == "0") {
            return Err(format!("{field} is {ids}"));
        }
    }
    Ok(())
}

/// Groups beside its own would be some of the host's.
fn groups() -> Held {
    let (groups, own) = (status_line("Groups")?, status_line("Gid")?);
    let own = own.split_whitespace().next().unwrap_or_default();
    if groups.split_whitespace().all(|group| group == own) {
        return Ok(());
    }
    Err(format!("is a member of {groups}"))
}

fn raise_capabilities() -> Held {
    const VERSION_3: u32 = 0x2008_0522;
    let header = [VERSION_3, 0];
    let all = [u32::MAX; 6];
    let (header, all) = ((&raw const header) as usize, (&raw const all) as usize);
    refused(calls::CAPSET, [header, all, 0, 0, 0, 0])
}

/// A program that is in no file is confined as its parent is.
fn execute_from_memory() -> Held {
    let name = c"fanfold";
    let made = call(calls::MEMFD_CREATE, [name.as_ptr() as usize, 0, 0, 0, 0, 0]);
    let Ok(made) = made.map(|fd| i32::try_from(fd).unwrap_or(-1)) else { return Ok(()) };
    // SAFETY: the kernel has just made it, and nothing else knows it.
    let file = fs::File::from(unsafe { OwnedFd::from_raw_fd(made) });
    let failed = |error: std::io::Error| format!("could not be tried: {error}");
    let program = fs::read("/proc/self/exe").map_err(failed)?;
    (&file).write_all(&program).map_err(failed)?;
    for name in ["identity-capabilities", "identity-new-privileges", "identity-seccomp"] {
        let output = Command::new(format!("/proc/self/fd/{made}")).arg(name).output();
        let output = output.map_err(failed)?;
        if !output.status.success() {
            return Err(format!("{name}: {}", String::from_utf8_lossy(&output.stdout).trim()));
        }
    }
    Ok(())
}

/// An image's variables for the loader reach programs that the host runs for a container.
fn loader_variables() -> Held {
    for name in ["LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "GLIBC_TUNABLES"] {
        match std::env::var(name) {
            Ok(value) if value.is_empty() => {}
            Ok(value) => return Err(format!("{name} is {value}")),
            Err(_) => return Err(format!("{name} is as the image wants it")),
        }
    }
    Ok(())
}

fn gpu_variables() -> Held {
    let devices = std::env::var("NVIDIA_VISIBLE_DEVICES").unwrap_or_default();
    if devices.is_empty() || devices.contains("all") {
        return Err(format!("NVIDIA_VISIBLE_DEVICES is {devices:?}"));
    }
    Ok(())
}

fn host_variables() -> Held {
    let of_the_host = ["FANFOLD", "DOCKER", "SSH_", "SUDO", "XDG_", "CARGO", "AWS_"];
    for (name, _) in std::env::vars() {
        if of_the_host.iter().any(|prefix| name.starts_with(prefix)) {
            return Err(format!("{name} is set"));
        }
    }
    Ok(())
}
