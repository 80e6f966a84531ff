//! What a task needs and a node has.

use serde::{Deserialize, Serialize};

/// An amount of machine: thousandths of a vCPU, mebibytes of memory and of disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    pub cpu_millis: u32,
    pub memory_mib: u32,
    /// For files of tasks: inputs and results.
    pub disk_mib: u32,
}

impl Resources {
    pub const NONE: Self = Self { cpu_millis: 0, memory_mib: 0, disk_mib: 0 };

    /// An amount without disk.
    pub const fn new(cpu_millis: u32, memory_mib: u32) -> Self {
        Self { cpu_millis, memory_mib, disk_mib: 0 }
    }

    #[must_use]
    pub const fn with_disk(self, disk_mib: u32) -> Self {
        Self { disk_mib, ..self }
    }

    pub const fn disk_bytes(self) -> u64 {
        (self.disk_mib as u64) << 20
    }

    pub const fn fits_in(self, free: Self) -> bool {
        self.cpu_millis <= free.cpu_millis
            && self.memory_mib <= free.memory_mib
            && self.disk_mib <= free.disk_mib
    }

    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            cpu_millis: self.cpu_millis.saturating_add(other.cpu_millis),
            memory_mib: self.memory_mib.saturating_add(other.memory_mib),
            disk_mib: self.disk_mib.saturating_add(other.disk_mib),
        }
    }

    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self {
            cpu_millis: self.cpu_millis.saturating_sub(other.cpu_millis),
            memory_mib: self.memory_mib.saturating_sub(other.memory_mib),
            disk_mib: self.disk_mib.saturating_sub(other.disk_mib),
        }
    }
}

/// What one attempt used, as metered by its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// CPU time in milliseconds, over all cores.
    pub cpu_ms: u64,
    /// Memory × time, in MiB·milliseconds.
    pub memory_mib_ms: u64,
    /// Time from the container's start to its end, in milliseconds.
    pub wall_ms: u64,
    /// The most memory that was in use at a time, as far as it was sampled.
    pub memory_peak_bytes: u64,
    /// What was fetched as the task's input, and stored as its results.
    pub input_bytes: u64,
    pub output_bytes: u64,
    /// What went over the container's own network, both ways.
    pub network_bytes: u64,
}

impl Usage {
    /// The most that `resources` can be used for in `wall_ms`.
    pub fn full(resources: Resources, wall_ms: u64) -> Self {
        Self {
            cpu_ms: wall_ms.saturating_mul(resources.cpu_millis.into()) / 1000,
            memory_mib_ms: wall_ms.saturating_mul(resources.memory_mib.into()),
            wall_ms,
            ..Self::default()
        }
    }

    /// Of both together; the peak is the higher one.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            cpu_ms: self.cpu_ms.saturating_add(other.cpu_ms),
            memory_mib_ms: self.memory_mib_ms.saturating_add(other.memory_mib_ms),
            wall_ms: self.wall_ms.saturating_add(other.wall_ms),
            memory_peak_bytes: self.memory_peak_bytes.max(other.memory_peak_bytes),
            input_bytes: self.input_bytes.saturating_add(other.input_bytes),
            output_bytes: self.output_bytes.saturating_add(other.output_bytes),
            network_bytes: self.network_bytes.saturating_add(other.network_bytes),
        }
    }

    /// Each figure that is paid for, but no more than the bound's: a node's word is not taken
    /// beyond what its lease allowed.
    #[must_use]
    pub fn at_most(self, bound: Self) -> Self {
        Self {
            cpu_ms: self.cpu_ms.min(bound.cpu_ms),
            memory_mib_ms: self.memory_mib_ms.min(bound.memory_mib_ms),
            wall_ms: self.wall_ms.min(bound.wall_ms),
            ..self
        }
    }
}
