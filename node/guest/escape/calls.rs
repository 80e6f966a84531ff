//! System calls by number, for the standard library has none of these.

use std::ffi::c_long;
use std::io;

use crate::Held;

pub const EPERM: i32 = 1;
pub const EACCES: i32 = 13;
pub const ENOSYS: i32 = 38;
pub const ENOPROTOOPT: i32 = 92;
pub const EOPNOTSUPP: i32 = 95;
pub const EAFNOSUPPORT: i32 = 97;

/// How a call is refused that the container may not make.
const REFUSALS: [i32; 3] = [EPERM, EACCES, ENOSYS];

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
}

/// Makes a system call; the error is the kernel's number.
pub fn call(number: c_long, args: [usize; 6]) -> Result<usize, i32> {
    let [a, b, c, d, e, f] = args;
    // SAFETY: every caller gives numbers, null, or the address of a buffer that outlives the call
    // and is as large as the call says.
    let result = unsafe { syscall(number, a, b, c, d, e, f) };
    usize::try_from(result).map_err(|_| io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

/// The call is refused before anything else is said about its arguments.
pub fn refused(number: c_long, args: [usize; 6]) -> Held {
    refused_with(number, args, &REFUSALS)
}

/// The same where a refusal has other numbers, too.
pub fn refused_with(number: c_long, args: [usize; 6], refusals: &[i32]) -> Held {
    match call(number, args) {
        Err(error) if refusals.contains(&error) => Ok(()),
        Err(error) => {
            Err(format!("the call is looked at: {}", io::Error::from_raw_os_error(error)))
        }
        Ok(result) => Err(format!("the call is made, and gives {result}")),
    }
}

/// The numbers that differ between processors: that of x86-64, and that of AArch64.
macro_rules! numbers {
    ($($name:ident = $x86:literal, $arm:literal;)*) => {
        $(
            #[cfg(target_arch = "x86_64")]
            pub const $name: std::ffi::c_long = $x86;
            #[cfg(target_arch = "aarch64")]
            pub const $name: std::ffi::c_long = $arm;
        )*
    };
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("the escape kit knows the system calls of x86-64 and AArch64 only");

numbers! {
    ACCT = 163, 89;
    ADD_KEY = 248, 217;
    BPF = 321, 280;
    CAPSET = 126, 91;
    CHROOT = 161, 51;
    CLOCK_ADJTIME = 305, 266;
    CLOCK_SETTIME = 227, 112;
    CLONE = 56, 220;
    CLONE3 = 435, 435;
    DELETE_MODULE = 176, 106;
    EXIT = 60, 93;
    FALLOCATE = 285, 47;
    FANOTIFY_INIT = 300, 262;
    FINIT_MODULE = 313, 273;
    FSOPEN = 430, 430;
    INIT_MODULE = 175, 105;
    INOTIFY_INIT1 = 294, 26;
    IOPRIO_SET = 251, 30;
    IO_SETUP = 206, 0;
    IO_URING_SETUP = 425, 425;
    KCMP = 312, 272;
    KEXEC_FILE_LOAD = 320, 294;
    KEXEC_LOAD = 246, 104;
    KEYCTL = 250, 219;
    KILL = 62, 129;
    LISTMOUNT = 458, 458;
    MEMFD_CREATE = 319, 279;
    MKNODAT = 259, 33;
    MLOCK = 149, 228;
    MOUNT = 165, 40;
    MOUNT_SETATTR = 442, 442;
    MOVE_MOUNT = 429, 429;
    MOVE_PAGES = 279, 239;
    MQ_OPEN = 240, 180;
    MSGGET = 68, 186;
    NAME_TO_HANDLE_AT = 303, 264;
    OPEN_BY_HANDLE_AT = 304, 265;
    OPEN_TREE = 428, 428;
    PERF_EVENT_OPEN = 298, 241;
    PERSONALITY = 135, 92;
    PIDFD_GETFD = 438, 438;
    PIDFD_OPEN = 434, 434;
    PIVOT_ROOT = 155, 41;
    PRCTL = 157, 167;
    PRLIMIT64 = 302, 261;
    PROCESS_VM_READV = 310, 270;
    PROCESS_VM_WRITEV = 311, 271;
    PTRACE = 101, 117;
    QUOTACTL = 179, 60;
    REBOOT = 169, 142;
    REQUEST_KEY = 249, 218;
    SCHED_SETSCHEDULER = 144, 119;
    SEMGET = 64, 190;
    SETDOMAINNAME = 171, 162;
    SETGID = 106, 144;
    SETGROUPS = 116, 159;
    SETHOSTNAME = 170, 161;
    SETNS = 308, 268;
    SETPRIORITY = 141, 140;
    SETSOCKOPT = 54, 208;
    SETTIMEOFDAY = 164, 170;
    SETUID = 105, 146;
    SETXATTR = 188, 5;
    SHMGET = 29, 194;
    SOCKET = 41, 198;
    SWAPOFF = 168, 225;
    SWAPON = 167, 224;
    SYSLOG = 103, 116;
    UMOUNT2 = 166, 39;
    UNSHARE = 272, 97;
    USERFAULTFD = 323, 282;
    VHANGUP = 153, 58;
}
