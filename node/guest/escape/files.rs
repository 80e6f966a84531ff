//! Files of the host and of other containers, devices, and what the kernel shows as files.

use std::fs::{self, File, OpenOptions};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::calls::{self, refused};
use crate::{Held, Try};

/// Where a try may write; emptied after each.
pub const SCRATCH: &str = "/tmp/escape-kit";
/// The most files that a walk looks at.
const WALK_MAX: usize = 50_000;

pub const TRIES: &[Try] = &[
    ("write-root", || not_written("/")),
    ("write-programs", || not_written("/bin")),
    ("write-settings", || not_written("/etc")),
    ("write-package", write_package),
    ("write-shared-cache", write_shared_cache),
    ("write-beside-mounts", write_beside_mounts),
    ("write-devices", || not_written("/dev")),
    ("write-kernel-settings", || none_writable("/proc/sys")),
    ("write-system", || none_writable("/sys")),
    ("write-control-groups", || none_writable("/sys/fs/cgroup")),
    ("write-interrupts", || none_writable("/proc/irq")),
    ("write-buses", || none_writable("/proc/bus")),
    ("system-request", || not_opened_to_write("/proc/sysrq-trigger")),
    ("core-handler", || not_opened_to_write("/proc/sys/kernel/core_pattern")),
    ("module-loader", || not_opened_to_write("/proc/sys/kernel/modprobe")),
    ("memory-killer-exemption", || not_set("/proc/self/oom_score_adj", "-500")),
    ("kernel-memory", || empty("/proc/kcore")),
    ("kernel-keys", || empty("/proc/keys")),
    ("kernel-timers", || empty("/proc/timer_list")),
    ("kernel-scheduler", || empty("/proc/sched_debug")),
    ("kernel-log", || empty("/dev/kmsg")),
    ("kernel-addresses", kernel_addresses),
    ("firmware", || no_entries("/sys/firmware")),
    ("scsi", || no_entries("/proc/scsi")),
    ("debug-filesystem", || no_entries("/sys/kernel/debug")),
    ("trace-filesystem", || no_entries("/sys/kernel/tracing")),
    ("security-filesystem", || no_entries("/sys/kernel/security")),
    ("device-memory", || missing(&["/dev/mem", "/dev/kmem", "/dev/port"])),
    ("device-virtual-machines", || missing(&["/dev/kvm", "/dev/vsock", "/dev/vhost-vsock"])),
    ("device-disks", || missing(&["/dev/sda", "/dev/vda", "/dev/nvme0n1", "/dev/loop-control"])),
    ("device-fuse", || missing(&["/dev/fuse", "/dev/net/tun", "/dev/uinput"])),
    ("device-registers", || missing(&["/dev/cpu/0/msr", "/dev/cpu_dma_latency"])),
    ("device-any-other", devices),
    ("make-block-device", || make_device(0o060_600, 8 << 8)),
    ("make-memory-device", || make_device(0o020_600, 1 << 8 | 1)),
    ("terminal", || not_opened_to_write("/dev/tty")),
    ("container-engine", || missing(&ENGINE)),
    ("host-files", host_files),
    ("host-processes", host_processes),
    ("control-group-names", control_group_names),
    ("mounts-show-users", || mounts_show(&["/home/", "/root/", "/Users/"])),
    ("mounts-show-workspaces", mounts_show_workspaces),
    ("give-file-to-root", give_to_root),
    ("file-capabilities", file_capabilities),
    ("link-package-file", link_package),
    ("hidden-space", || hidden_space(1)),
    ("hidden-space-hole", || hidden_space(3)),
    ("hidden-space-high-bits", || hidden_space(1 << 32 | 1)),
];

const ENGINE: [&str; 6] = [
    "/run/docker.sock",
    "/var/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/run/podman/podman.sock",
    "/run/crio/crio.sock",
    "/run/systemd/private",
];
const HOST: [&str; 5] = [
    "/var/lib/docker",
    "/var/lib/containerd",
    "/proc/1/root/var/lib/docker",
    "/host",
    "/boot/vmlinuz",
];

/// Removes what a try has written.
pub fn clean() {
    let _ = fs::remove_dir_all(SCRATCH);
    for entry in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
        let _ = fs::remove_file(entry.path());
    }
    let _ = fs::remove_file(results().join("escape-kit"));
}

/// The folder for results. The kit runs as the node's own container and as anybody's job, which
/// have different folders: both have a variable for it.
pub fn results() -> PathBuf {
    named("RESULTS").unwrap_or_else(|| "/tmp".into())
}

/// The folder that a variable with this word in its name gives.
fn named(word: &str) -> Option<PathBuf> {
    let mut variables = std::env::vars().filter(|(_, value)| value.starts_with('/'));
    variables.find(|(name, _)| name.contains(word)).map(|(_, value)| value.into())
}

/// The folder that the kit was started from.
fn package() -> Result<PathBuf, String> {
    let program = fs::read_link("/proc/self/exe").map_err(|error| error.to_string())?;
    program.parent().map(Path::to_owned).ok_or_else(|| "could not be tried: no folder".to_owned())
}

fn write_package() -> Held {
    not_written(package()?)
}

fn write_beside_mounts() -> Held {
    let package = package()?;
    not_written(package.parent().unwrap_or(&package))
}

fn write_shared_cache() -> Held {
    not_written(named("SHARED").ok_or("could not be tried: no variable names it")?)
}

fn host_files() -> Held {
    missing(&HOST)?;
    let above = results().join("../../../../var/lib/docker");
    if above.exists() { Err(format!("{} is there", above.display())) } else { Ok(()) }
}

pub fn scratch_file() -> Result<PathBuf, String> {
    fs::create_dir_all(SCRATCH).map_err(|error| format!("could not be tried: {error}"))?;
    Ok(Path::new(SCRATCH).join("file"))
}

fn not_written(folder: impl AsRef<Path>) -> Held {
    let folder = folder.as_ref();
    let file = folder.join("fanfold-written");
    match File::create(&file) {
        Err(_) => Ok(()),
        Ok(_) => {
            let _ = fs::remove_file(&file);
            Err(format!("{} can be written to", folder.display()))
        }
    }
}

fn not_opened_to_write(file: &str) -> Held {
    match OpenOptions::new().write(true).open(file) {
        Err(_) => Ok(()),
        Ok(_) => Err(format!("{file} can be written to")),
    }
}

fn not_set(file: &str, value: &str) -> Held {
    match fs::write(file, value) {
        Err(_) => Ok(()),
        Ok(()) => Err(format!("{file} can be set to {value}")),
    }
}

/// No file below a folder can be opened to write.
fn none_writable(folder: &str) -> Held {
    let mut looked_at = 0;
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            looked_at += 1;
            if looked_at > WALK_MAX {
                return Ok(());
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() => {
                    if OpenOptions::new().write(true).open(entry.path()).is_ok() {
                        return Err(format!("{} can be written to", entry.path().display()));
                    }
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn empty(file: &str) -> Held {
    let mut byte = [0];
    match File::open(file).and_then(|mut file| file.read(&mut byte)) {
        Err(_) | Ok(0) => Ok(()),
        Ok(_) => Err(format!("{file} can be read")),
    }
}

fn no_entries(folder: &str) -> Held {
    match fs::read_dir(folder).into_iter().flatten().flatten().next() {
        None => Ok(()),
        Some(entry) => Err(format!("{} is there", entry.path().display())),
    }
}

fn missing(paths: &[&str]) -> Held {
    match paths.iter().find(|path| fs::symlink_metadata(path).is_ok()) {
        None => Ok(()),
        Some(path) => Err(format!("{path} is there")),
    }
}

fn kernel_addresses() -> Held {
    let symbols = fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    let shown = symbols.lines().find(|line| !line.starts_with("0000000000000000"));
    shown.map_or(Ok(()), |line| Err(format!("an address is shown: {line}")))
}

/// Nothing is in /dev but what every container has, and GPUs where one was given.
fn devices() -> Held {
    const USUAL: [&str; 15] = [
        "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin",
        "stdout", "tty", "urandom", "zero",
    ];
    for entry in fs::read_dir("/dev").map_err(|error| error.to_string())?.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !USUAL.contains(&&*name) && !name.starts_with("nvidia") {
            return Err(format!("/dev/{name} is there"));
        }
    }
    Ok(())
}

fn make_device(mode: usize, device: usize) -> Held {
    const HERE: usize = (-100isize) as usize;
    scratch_file()?;
    let path = c"/tmp/escape-kit/device".as_ptr() as usize;
    refused(calls::MKNODAT, [HERE, path, mode, device, 0, 0])
}

fn host_processes() -> Held {
    let names = fs::read_dir("/proc").map_err(|error| error.to_string())?.flatten();
    let processes =
        names.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok());
    for process in processes {
        let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        if ["kthreadd", "systemd", "dockerd", "containerd", "fanfold"].contains(&name.trim()) {
            return Err(format!("the host's process {} is seen", name.trim()));
        }
    }
    Ok(())
}

fn control_group_names() -> Held {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = |line: &str| line.splitn(3, ':').nth(2).unwrap_or("/").to_owned();
    match groups.lines().map(path).find(|path| path != "/") {
        None => Ok(()),
        Some(path) => Err(format!("the host's name for the container is shown: {path}")),
    }
}

/// The folders of the host that are mounted, by their paths there.
fn mounted() -> Result<Vec<String>, String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|error| error.to_string())?;
    Ok(mounts.lines().filter_map(|line| line.split(' ').nth(3).map(str::to_owned)).collect())
}

fn mounts_show(words: &[&str]) -> Held {
    let found = mounted()?.into_iter().find(|path| words.iter().any(|word| path.contains(word)));
    found.map_or(Ok(()), |path| Err(format!("a path of the host is shown: {path}")))
}

/// A workspace's id is a UUID of version 7 behind a prefix.
fn mounts_show_workspaces() -> Held {
    let is_id = |part: &str| {
        let groups: Vec<_> = part.split('-').collect();
        groups.len() >= 5 && groups[groups.len() - 3].starts_with('7')
    };
    let found = mounted()?.into_iter().find(|path| path.split('/').any(is_id));
    found.map_or(Ok(()), |path| Err(format!("an id is shown: {path}")))
}

fn give_to_root() -> Held {
    let file = scratch_file()?;
    File::create(&file).map_err(|error| format!("could not be tried: {error}"))?;
    match std::os::unix::fs::chown(&file, Some(0), Some(0)) {
        Err(_) => Ok(()),
        Ok(()) => Err("a file of root's can be made".to_owned()),
    }
}

fn file_capabilities() -> Held {
    let file = scratch_file()?;
    File::create(&file).map_err(|error| format!("could not be tried: {error}"))?;
    // Version 2, in force, with every capability.
    let value = [0x0200_0001u32.to_le(), u32::MAX, 0, u32::MAX, 0];
    let (path, name) = (c"/tmp/escape-kit/file".as_ptr(), c"security.capability".as_ptr());
    let value = (&raw const value) as usize;
    refused(calls::SETXATTR, [path as usize, name as usize, value, 20, 0, 0])
}

/// A second name for a read-only file, in a folder that can be written to.
fn link_package() -> Held {
    let program = fs::read_link("/proc/self/exe").map_err(|error| error.to_string())?;
    let link = results().join("escape-kit");
    match fs::hard_link(program, &link) {
        Err(_) => Ok(()),
        Ok(()) => Err(format!("{} is the package's own file", link.display())),
    }
}

/// Space that a file's length does not show.
fn hidden_space(mode: usize) -> Held {
    use std::os::fd::AsRawFd as _;
    let file = File::create(results().join("escape-kit"));
    let file = file.map_err(|error| format!("could not be tried: {error}"))?;
    let number = usize::try_from(file.as_raw_fd()).map_err(|error| error.to_string())?;
    let refusals = [calls::EPERM, calls::EOPNOTSUPP];
    calls::refused_with(calls::FALLOCATE, [number, mode, 0, 1 << 20, 0, 0], &refusals)
}
