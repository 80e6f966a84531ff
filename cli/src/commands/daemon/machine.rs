//! What this machine has, for nodes that share it.

use common::compute::resources::Resources;

/// A part of the memory is left to the system and the server.
const MEMORY_PERCENT: u64 = 75;

/// What each of `nodes` nodes on this machine may use: all cores, which the kernel shares out
/// fairly, but only its part of the memory, which cannot be had twice. `None` where the machine
/// does not say; a node then looks for itself.
pub fn share(nodes: u16) -> Option<Resources> {
    let cores = std::thread::available_parallelism().ok()?.get();
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let cpu_millis = u32::try_from(cores).ok()?.checked_mul(1000)?;
    Some(Resources::new(cpu_millis, share_mib(&meminfo, nodes)?))
}

fn share_mib(meminfo: &str, nodes: u16) -> Option<u32> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    u32::try_from(kib / 1024 * MEMORY_PERCENT / 100 / u64::from(nodes.max(1))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_offer_leaves_a_part_to_the_machine() {
        let meminfo = "MemTotal:        8388608 kB\nMemFree:          100000 kB\n";

        assert_eq!(share_mib(meminfo, 2), Some(3072));
        assert_eq!(share_mib("MemFree: 1 kB", 2), None);
    }
}
