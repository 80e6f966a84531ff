//! Parts of the kernel that no container needs.

use std::fs::File;
use std::os::fd::AsRawFd as _;

use crate::calls::{self, call, refused, refused_with};
use crate::{Held, Try};

const NEW_USER: usize = 0x1000_0000;
const NEW_NET: usize = 0x4000_0000;
const NEW_MOUNTS: usize = 0x2_0000;
const NEW_TIME: usize = 0x80;
const CHILD_SIGNAL: usize = 17;
/// No flag that any version of the call knows.
const NO_FLAG: usize = 0x4000;
const NOWHERE: usize = usize::MAX;

pub const TRIES: &[Try] = &[
    ("io-uring", || refused(calls::IO_URING_SETUP, [0; 6])),
    ("asynchronous-io", io_setup),
    ("user-faults", || refused(calls::USERFAULTFD, [0; 6])),
    ("keys-list", || refused(calls::KEYCTL, [0, usize::MAX - 2, 0, 0, 0, 0])),
    ("keys-add", || refused(calls::ADD_KEY, [0; 6])),
    ("keys-request", || refused(calls::REQUEST_KEY, [0; 6])),
    ("bpf", || refused(calls::BPF, [NOWHERE, 0, 0, 0, 0, 0])),
    ("performance-events", || refused(calls::PERF_EVENT_OPEN, [0, 0, NOWHERE, NOWHERE, 0, 0])),
    ("trace-be-traced", || refused(calls::PTRACE, [0; 6])),
    ("trace-first-process", || refused(calls::PTRACE, [0x4206, 1, 0, 0, 0, 0])),
    ("memory-of-others-read", || refused(calls::PROCESS_VM_READV, [1, 0, 0, 0, 0, 0])),
    ("memory-of-others-write", || refused(calls::PROCESS_VM_WRITEV, [1, 0, 0, 0, 0, 0])),
    ("memory-of-others-move", || refused(calls::MOVE_PAGES, [1, 0, 0, 0, 0, 0])),
    ("files-of-others", || refused(calls::PIDFD_GETFD, [NOWHERE, 0, 0, 0, 0, 0])),
    ("compare-processes", || refused(calls::KCMP, [1, 1, 0, 0, 0, 0])),
    ("namespace-user", || refused(calls::UNSHARE, [NEW_USER, 0, 0, 0, 0, 0])),
    ("namespace-mounts", || refused(calls::UNSHARE, [NEW_MOUNTS, 0, 0, 0, 0, 0])),
    ("namespace-network", || refused(calls::UNSHARE, [NEW_NET, 0, 0, 0, 0, 0])),
    ("namespace-time", || refused(calls::UNSHARE, [NEW_TIME, 0, 0, 0, 0, 0])),
    ("namespace-of-a-child", clone_namespace),
    ("namespace-of-a-child-unfiltered", || refused(calls::CLONE3, [0; 6])),
    ("namespace-enter", enter_namespace),
    ("mount", mount),
    ("mount-open-filesystem", || refused(calls::FSOPEN, [0; 6])),
    ("mount-open-tree", || refused(calls::OPEN_TREE, [NOWHERE, 0, 0, 0, 0, 0])),
    ("mount-move", || refused(calls::MOVE_MOUNT, [NOWHERE, 0, NOWHERE, 0, 0, 0])),
    ("mount-attributes", || refused(calls::MOUNT_SETATTR, [NOWHERE, 0, 0, 0, 0, 0])),
    ("mount-list", || refused(calls::LISTMOUNT, [0; 6])),
    ("unmount", || refused(calls::UMOUNT2, [nowhere(), 2, 0, 0, 0, 0])),
    ("change-root", || refused(calls::CHROOT, [c"/tmp".as_ptr() as usize, 0, 0, 0, 0, 0])),
    ("pivot-root", || refused(calls::PIVOT_ROOT, [nowhere(), nowhere(), 0, 0, 0, 0])),
    ("modules-load", || refused(calls::INIT_MODULE, [0; 6])),
    ("modules-load-file", || refused(calls::FINIT_MODULE, [NOWHERE, 0, 0, 0, 0, 0])),
    ("modules-remove", || refused(calls::DELETE_MODULE, [nowhere(), 0o4000, 0, 0, 0, 0])),
    ("kernel-load", || refused(calls::KEXEC_LOAD, [0, 0, 0, NO_FLAG, 0, 0])),
    ("kernel-load-file", || refused(calls::KEXEC_FILE_LOAD, [NOWHERE, NOWHERE, 0, 0, NO_FLAG, 0])),
    ("reboot", || refused(calls::REBOOT, [0; 6])),
    ("swap-on", || refused(calls::SWAPON, [nowhere(), 0, 0, 0, 0, 0])),
    ("swap-off", || refused(calls::SWAPOFF, [nowhere(), 0, 0, 0, 0, 0])),
    ("accounting", || refused(calls::ACCT, [nowhere(), 0, 0, 0, 0, 0])),
    ("quota", || refused(calls::QUOTACTL, [0; 6])),
    ("kernel-messages", || refused(calls::SYSLOG, [10, 0, 0, 0, 0, 0])),
    ("clock-set", || refused(calls::CLOCK_SETTIME, [NOWHERE, 0, 0, 0, 0, 0])),
    ("clock-set-by-day", || refused(calls::SETTIMEOFDAY, [0; 6])),
    ("clock-adjust", || refused(calls::CLOCK_ADJTIME, [NOWHERE, 0, 0, 0, 0, 0])),
    ("host-name", || refused(calls::SETHOSTNAME, [0, NOWHERE, 0, 0, 0, 0])),
    ("domain-name", || refused(calls::SETDOMAINNAME, [0, NOWHERE, 0, 0, 0, 0])),
    ("file-events-of-all", || refused(calls::FANOTIFY_INIT, [0; 6])),
    ("file-handles-open", || refused(calls::OPEN_BY_HANDLE_AT, [NOWHERE, 0, 0, 0, 0, 0])),
    ("file-handles-name", file_handles),
    ("no-address-randomization", || refused(calls::PERSONALITY, [0x4_0000, 0, 0, 0, 0, 0])),
    ("hang-up-terminal", || refused(calls::VHANGUP, [0; 6])),
    ("realtime-scheduler", realtime),
    ("higher-priority", || refused(calls::SETPRIORITY, [0, 0, (-10isize) as usize, 0, 0, 0])),
    ("realtime-io", || refused(calls::IOPRIO_SET, [1, 0, 1 << 13, 0, 0, 0])),
    ("other-word-size", other_word_size),
    ("other-word-size-x32", x32),
];

/// A path at which nothing is.
fn nowhere() -> usize {
    c"/fanfold-nowhere".as_ptr() as usize
}

fn io_setup() -> Held {
    let mut context = 0usize;
    refused(calls::IO_SETUP, [1, (&raw mut context) as usize, 0, 0, 0, 0])
}

fn clone_namespace() -> Held {
    let made = call(calls::CLONE, [NEW_USER | CHILD_SIGNAL, 0, 0, 0, 0, 0]);
    match made {
        Err(calls::EPERM | calls::ENOSYS) => Ok(()),
        Err(error) => Err(format!("the call is looked at: error {error}")),
        Ok(0) => {
            let _ = call(calls::EXIT, [0; 6]);
            Ok(())
        }
        Ok(child) => Err(format!("process {child} has a user namespace of its own")),
    }
}

fn enter_namespace() -> Held {
    let own = File::open("/proc/self/ns/net").map_err(|error| error.to_string())?;
    let own = usize::try_from(own.as_raw_fd()).map_err(|error| error.to_string())?;
    refused(calls::SETNS, [own, 0, 0, 0, 0, 0])
}

fn mount() -> Held {
    let (kind, at) = (c"tmpfs".as_ptr() as usize, c"/tmp".as_ptr() as usize);
    refused(calls::MOUNT, [kind, at, kind, 0, 0, 0])
}

fn file_handles() -> Held {
    let refusals = [calls::EPERM, calls::ENOSYS, calls::EOPNOTSUPP];
    refused_with(calls::NAME_TO_HANDLE_AT, [NOWHERE, 0, 0, 0, 0, 0], &refusals)
}

fn realtime() -> Held {
    let priority = 1u32;
    refused(calls::SCHED_SETSCHEDULER, [0, 1, (&raw const priority) as usize, 0, 0, 0])
}

/// The calls of 32-bit programs have other numbers, which a filter for 64 bits does not see.
#[cfg(target_arch = "x86_64")]
fn other_word_size() -> Held {
    const GET_PROCESS_ID: i64 = 20;
    let result: i64;
    // SAFETY: the call takes no arguments and changes no memory.
    unsafe {
        std::arch::asm!("int 0x80", inlateout("rax") GET_PROCESS_ID => result,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    }
    if result > 0 { Err(format!("a 32-bit call gives {result}")) } else { Ok(()) }
}

#[cfg(target_arch = "aarch64")]
fn other_word_size() -> Held {
    // A 64-bit program cannot make such a call on this processor.
    Ok(())
}

#[cfg(target_arch = "x86_64")]
fn x32() -> Held {
    const GET_PROCESS_ID: i64 = 0x4000_0000 | 39;
    refused(GET_PROCESS_ID, [0; 6])
}

#[cfg(target_arch = "aarch64")]
fn x32() -> Held {
    Ok(())
}
