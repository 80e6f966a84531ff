//! The metrics that every process has, under the names that Prometheus' own libraries give them.
//! They are read from `/proc` at each scrape; where there is none they stay zero.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Builder, count, thousandths};

/// The kernel tells CPU time and starts in hundredths of a second, whatever its own clock is.
const TICKS_PER_SEC: u64 = 100;
const MS_PER_TICK: u64 = 1000 / TICKS_PER_SEC;

/// What `/proc` says of this process.
#[derive(Debug, Default, PartialEq, Eq)]
struct Process {
    cpu_ms: u64,
    /// Since the machine started.
    started_ticks: u64,
    threads: u64,
    virtual_bytes: u64,
}

pub fn add(builder: &mut Builder) {
    let cpu =
        builder.float_counter("process_cpu_seconds_total", "CPU time that the process has used");
    let started =
        builder.gauge("process_start_time_seconds", "When the process started, in Unix time");
    let threads = builder.gauge("process_threads", "Threads of the process");
    let resident =
        builder.gauge("process_resident_memory_bytes", "Memory that the process has in RAM");
    let virtual_bytes =
        builder.gauge("process_virtual_memory_bytes", "Address space of the process");
    let open = builder.gauge("process_open_fds", "Open files and connections of the process");
    let max = builder.gauge("process_max_fds", "Open files and connections that it may have");
    let counted_ms = AtomicU64::new(0);
    builder.0.before_scrape(move || {
        let now = stat(&text("/proc/self/stat")).unwrap_or_default();
        let before = counted_ms.fetch_max(now.cpu_ms, Ordering::Relaxed);
        cpu.inc_by(thousandths(now.cpu_ms.saturating_sub(before)));
        let booted = field(&text("/proc/stat"), "btime").unwrap_or(0);
        started.set(count(booted + now.started_ticks / TICKS_PER_SEC));
        threads.set(count(now.threads));
        virtual_bytes.set(count(now.virtual_bytes));
        let kib = field(&text("/proc/self/status"), "VmRSS:").unwrap_or(0);
        resident.set(count(kib << 10));
        open.set(fs::read_dir("/proc/self/fd").map_or(0, |entries| count(entries.count())));
        max.set(count(field(&text("/proc/self/limits"), "Max open files").unwrap_or(0)));
    });
}

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Reads `/proc/self/stat`. The name in it may have spaces and brackets, so the fields are counted
/// from the last bracket, after which the third is the first.
fn stat(text: &str) -> Option<Process> {
    let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_whitespace().collect();
    let number = |n: usize| fields.get(n - 3)?.parse::<u64>().ok();
    Some(Process {
        cpu_ms: (number(14)? + number(15)?) * MS_PER_TICK,
        threads: number(20)?,
        started_ticks: number(22)?,
        virtual_bytes: number(23)?,
    })
}

/// The number that follows the name of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_is_read_whatever_its_name_is() {
        let text = "7 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 150 50 13 14 15 16 9 18 4200 4096 21";

        let process = stat(text).unwrap();

        let expected =
            Process { cpu_ms: 2_000, threads: 9, started_ticks: 4_200, virtual_bytes: 4_096 };
        assert_eq!(process, expected);
        assert_eq!(stat("7 (a) S 1"), None);
    }

    #[test]
    fn line_of_proc_is_found_by_its_name() {
        let text = "VmPeak:  9 kB\nVmRSS:\t  12 kB\nMax open files  1024  4096 files\n";

        assert_eq!(field(text, "VmRSS:"), Some(12));
        assert_eq!(field(text, "Max open files"), Some(1024));
        assert_eq!(field(text, "btime"), None);
    }

    #[test]
    fn scrape_has_the_metrics_of_this_process() {
        let registry = Builder::new("x", "0").build();

        let text = registry.render();

        for name in ["process_resident_memory_bytes", "process_open_fds", "process_max_fds"] {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            assert!(line != format!("{name} 0"), "{line}");
        }
    }
}
