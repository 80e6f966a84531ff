//! What the code says with which a container ended.

/// A process that a signal ended has this and the signal's number as its code.
const BY_SIGNAL: i64 = 128;

/// The codes of SIGKILL and of SIGTERM: what engines, kernels and service managers end a process
/// with.
pub const KILLED: [i64; 2] = [BY_SIGNAL + 9, BY_SIGNAL + 15];

/// The end in words, after "it": `ended with exit code 3`, `was ended by SIGSEGV (signal 11)`.
pub fn told(code: i64) -> String {
    match signal(code - BY_SIGNAL) {
        Some(name) => format!("was ended by {name} (signal {})", code - BY_SIGNAL),
        None => format!("ended with exit code {code}"),
    }
}

/// The name of a signal that ends processes, by Linux's numbers.
const fn signal(number: i64) -> Option<&'static str> {
    Some(match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        16 => "SIGSTKFLT",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        26 => "SIGVTALRM",
        27 => "SIGPROF",
        29 => "SIGIO",
        30 => "SIGPWR",
        31 => "SIGSYS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_code_names_its_signal() {
        for (code, text) in [
            (3, "ended with exit code 3"),
            (135, "was ended by SIGBUS (signal 7)"),
            (137, "was ended by SIGKILL (signal 9)"),
            (139, "was ended by SIGSEGV (signal 11)"),
            (128, "ended with exit code 128"),
            (255, "ended with exit code 255"),
            (-1, "ended with exit code -1"),
        ] {
            assert_eq!(told(code), text);
        }
    }
}
