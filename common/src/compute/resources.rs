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

    /// With room on the disk for an input of this many bytes beside, in whole MiB.
    #[must_use]
    pub fn with_input(self, bytes: u64) -> Self {
        let mib = u32::try_from(bytes >> 20).unwrap_or(u32::MAX);
        self.with_disk(self.disk_mib.saturating_add(mib))
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

/// How the figures of a usage are known; the least exact first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metering {
    /// Nothing could be measured but the time: the figures are a lower bound.
    #[default]
    Floor,
    /// From samples while the container ran.
    Samples,
    /// From the kernel's counters of the container, read after its end.
    Counters,
}

impl Metering {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Samples => "samples",
            Self::Counters => "counters",
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
    /// The most memory that was in use at a time, as far as it is known.
    pub memory_peak_bytes: u64,
    /// What was fetched as the task's input, and stored as its results.
    pub input_bytes: u64,
    pub output_bytes: u64,
    /// What went over the container's own network, both ways.
    pub network_bytes: u64,
    /// How CPU time and memory are known.
    pub metering: Metering,
}

/// The cores and the memory that count for a container of which nothing was measured: those of a
/// small program with one thread.
const FLOOR: Resources = Resources::new(1000, 64);

impl Usage {
    /// What counts for a container that ran for `wall_ms` and of which nothing else was measured:
    /// a lower bound, and no more than what it could use.
    pub fn floor(resources: Resources, wall_ms: u64) -> Self {
        Self::full(FLOOR, wall_ms).at_most(Self::full(resources, wall_ms))
    }

    /// The most that `resources` can be used for in `wall_ms`.
    pub fn full(resources: Resources, wall_ms: u64) -> Self {
        Self {
            cpu_ms: wall_ms.saturating_mul(resources.cpu_millis.into()) / 1000,
            memory_mib_ms: wall_ms.saturating_mul(resources.memory_mib.into()),
            wall_ms,
            ..Self::default()
        }
    }

    /// Of both together; the peak is the higher one, and the whole is known as well as the part
    /// that is known less.
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
            metering: self.metering.min(other.metering),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resource_floor_is_small_and_at_most_the_reservation() {
        let large = Usage::floor(Resources::new(16_000, 32 << 10), 10);
        assert_eq!((large.cpu_ms, large.memory_mib_ms, large.wall_ms), (10, 640, 10));

        let small = Resources::new(250, 32);
        assert_eq!(Usage::floor(small, 1000), Usage::full(small, 1000));
    }
}
