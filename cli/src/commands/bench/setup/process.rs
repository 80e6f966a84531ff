//! What the kernel says a process has used.

use std::fs;
use std::time::Duration;

use crate::client::failure::Failure;

/// The kernel counts a process's time in hundredths of a second, whatever its own clock does.
const TICK: Duration = Duration::from_millis(10);

/// What a process has used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub cpu: Duration,
    /// Resident memory now, in bytes.
    pub memory: u64,
    /// The most that it ever was.
    pub memory_peak: u64,
}

pub fn usage(pid: u32) -> Result<Usage, Failure> {
    let read = |file: &str| {
        let path = format!("/proc/{pid}/{file}");
        fs::read_to_string(&path)
            .map_err(|error| Failure::local(format!("cannot read {path}"), error))
    };
    let (stat, status) = (read("stat")?, read("status")?);
    let parsed = cpu(&stat).zip(kib(&status, "VmRSS:").zip(kib(&status, "VmHWM:")));
    let (cpu, (memory, peak)) = parsed.ok_or_else(|| {
        Failure::local("cannot read what a process used", "the kernel's text is not as expected")
    })?;
    Ok(Usage { cpu, memory: memory << 10, memory_peak: peak << 10 })
}

/// User and system time: fields 14 and 15. The second field, the name, may hold spaces.
fn cpu(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    let (user, system) = (ticks()?, ticks()?);
    Some(TICK * user.checked_add(system)?)
}

fn kib(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_name_with_brackets_is_parsed() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 1";

        assert_eq!(cpu(stat), Some(Duration::from_secs(3)));
        assert_eq!(cpu("7 (x"), None);
    }

    #[test]
    fn own_process_uses_memory() {
        let usage = usage(std::process::id()).unwrap();

        assert!(usage.memory > 0 && usage.memory_peak >= usage.memory);
    }
}
