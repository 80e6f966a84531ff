//! The machine that a test runs on: processes, disks, clocks and images.

pub mod busybox;
pub mod engine;
pub mod power;
pub mod process;
pub mod python;
pub mod test_clock;
pub mod tmpfs;
