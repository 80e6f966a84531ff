//! The programs of `guest/`, which `build.rs` compiles: static executables that the node runs in
//! containers of its own.

/// Tries to get out of its container; see `guest/escape.rs`.
pub const ESCAPE_KIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/escape"));
/// Ends with [`PROBE_CODE`]; see `guest/probe.rs`.
pub const PROBE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/probe"));
pub const PROBE_CODE: i64 = 42;
/// Runs one task after the other as a container's first process; see `guest/supervise`.
pub const SUPERVISOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/supervise"));
/// Ends at once; see `guest/nothing.rs`.
pub const NOTHING: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/nothing"));
/// Waits until it is killed; see `guest/hold.rs`.
pub const HOLD: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hold"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_programs_need_no_loader() {
        const PROGRAM_INTERPRETER: u32 = 3;
        let word = |at: usize| u64::from_le_bytes(ESCAPE_KIT[at..at + 8].try_into().unwrap());
        let half = |at: usize| u16::from_le_bytes(ESCAPE_KIT[at..at + 2].try_into().unwrap());
        let headers = usize::try_from(word(32)).unwrap();
        let (bytes, count) = (usize::from(half(54)), usize::from(half(56)));

        assert_eq!(&ESCAPE_KIT[..4], b"\x7fELF");
        for number in 0..count {
            let at = headers + number * bytes;
            let kind = u32::from_le_bytes(ESCAPE_KIT[at..at + 4].try_into().unwrap());
            assert_ne!(kind, PROGRAM_INTERPRETER);
        }
    }
}
