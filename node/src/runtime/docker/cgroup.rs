//! A control group around each container's own: its counters take in everything that the container
//! used, and they are still there when the engine has removed the container's. Nothing inside a
//! container can write to them.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bollard::models::{
    SystemInfo, SystemInfoCgroupDriverEnum as Driver, SystemInfoCgroupVersionEnum as Version,
};
use common::error_chain::chain;

use super::confinement::has_option;

const ROOT: &str = "/sys/fs/cgroup";
/// The controllers of the first version whose counters are read.
const COUNTED: [&str; 2] = ["cpuacct", "memory"];
/// Groups that could not be removed yet and are remembered.
const STALE_MAX: usize = 1024;

/// The control groups of one node's containers.
#[derive(Debug)]
pub struct Cgroups {
    layout: Option<Arc<Layout>>,
    /// The engine has been seen to run no container in such a group.
    broken: AtomicBool,
}

/// How this machine lays out control groups.
#[derive(Debug)]
struct Layout {
    root: PathBuf,
    /// The second version has one tree, the first one for each controller.
    is_unified: bool,
    /// systemd makes and removes groups, and names them its own way.
    by_systemd: bool,
    /// What this node's groups are called.
    node: String,
    stale: Mutex<Vec<String>>,
}

/// The control group around one container. It is removed when this is dropped, which must be after
/// the container.
#[derive(Debug)]
pub struct Group {
    layout: Arc<Layout>,
    name: String,
    /// Where the CPU time is read. It stays open: a short task reads it twice.
    cpu: OnceLock<File>,
    /// Where the most memory is read since it was last reset; `Some(None)` where it cannot be.
    peak: OnceLock<Option<File>>,
}

impl Cgroups {
    /// The groups of a node with this label, where the node may make and read them.
    pub fn of(info: &SystemInfo, label: &str) -> Self {
        let is_root = rustix::process::geteuid().is_root();
        let layout = Layout::of(info, label).filter(|_| is_root && !has_option(info, "rootless"));
        Self { layout: layout.map(Arc::new), broken: AtomicBool::new(false) }
    }

    /// A new group; `None` where containers have to go without.
    pub fn group(&self) -> Option<Group> {
        let layout = self.layout.as_ref().filter(|_| self.are_used())?;
        layout.forget_stale();
        let name = uuid::Uuid::new_v4().simple().to_string();
        let group = Group::new(layout, name);
        match layout.make(&group.name) {
            Ok(()) => Some(group),
            Err(error) => {
                tracing::debug!(error = %chain(&error), "no control group can be made");
                None
            }
        }
    }

    /// Whether containers get groups.
    pub fn are_used(&self) -> bool {
        self.layout.is_some() && !self.broken.load(Ordering::Relaxed)
    }

    /// Makes no more groups.
    pub fn give_up(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    /// Removes what an earlier process of the node has left, when its containers are gone.
    pub fn sweep(&self) {
        if let Some(layout) = &self.layout {
            layout.sweep();
        }
    }
}

impl Layout {
    fn of(info: &SystemInfo, label: &str) -> Option<Self> {
        let by_systemd = match info.cgroup_driver? {
            Driver::CGROUPFS => false,
            Driver::SYSTEMD => true,
            Driver::NONE | Driver::EMPTY => return None,
        };
        let is_unified = matches!(info.cgroup_version, Some(Version::_2));
        // It becomes a part of paths and of units' names.
        let node: String = label.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
        let stale = Mutex::default();
        Some(Self { root: ROOT.into(), is_unified, by_systemd, node, stale })
    }

    /// What the engine is told of a group.
    fn parent(&self, name: &str) -> String {
        if self.by_systemd { self.slice(name) } else { format!("/fanfold-{}/{name}", self.node) }
    }

    fn slice(&self, name: &str) -> String {
        format!("fanfold-{}-{name}.slice", self.node)
    }

    /// The folder of all groups of this node, in each tree.
    fn folder(&self) -> PathBuf {
        if self.by_systemd {
            Path::new("fanfold.slice").join(format!("fanfold-{}.slice", self.node))
        } else {
            format!("fanfold-{}", self.node).into()
        }
    }

    /// A group's folder, in each tree.
    fn path(&self, name: &str) -> PathBuf {
        let last = if self.by_systemd { self.slice(name) } else { name.to_owned() };
        self.folder().join(last)
    }

    fn file(&self, controller: &str, name: &str, file: &str) -> PathBuf {
        let tree = if self.is_unified { self.root.clone() } else { self.root.join(controller) };
        tree.join(self.path(name)).join(file)
    }

    /// Makes a group before the engine does, which shows that it can be made, read and removed.
    fn make(&self, name: &str) -> io::Result<()> {
        if self.by_systemd {
            return Ok(());
        }
        if self.is_unified {
            return fs::create_dir_all(self.root.join(self.path(name)));
        }
        for controller in COUNTED {
            let tree = self.root.join(controller);
            for folder in [tree.join(self.folder()), tree.join(self.path(name))] {
                if !folder.exists() {
                    fs::create_dir(&folder)?;
                }
                // Older kernels add up the memory of groups below only where they are told to.
                let switch = folder.join("memory.use_hierarchy");
                if fs::read_to_string(&switch).is_ok_and(|text| text.trim() == "0") {
                    fs::write(&switch, "1")?;
                }
            }
        }
        Ok(())
    }

    /// The tops of all trees.
    fn trees(&self) -> Vec<PathBuf> {
        if self.is_unified {
            return vec![self.root.clone()];
        }
        let trees = fs::read_dir(&self.root).into_iter().flatten();
        trees.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()).collect()
    }

    /// Removes a group; false where it is still in use.
    fn remove(&self, name: &str) -> bool {
        if self.by_systemd {
            let unit = self.slice(name);
            // It takes a while, and nobody waits for it.
            std::thread::spawn(move || {
                let stopped = Command::new("systemctl")
                    .args(["stop", "--quiet", &unit])
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .status();
                if !stopped.is_ok_and(|status| status.success()) {
                    tracing::debug!(unit, "a control group is left");
                }
            });
            return true;
        }
        let mut gone = true;
        for tree in self.trees() {
            let folder = tree.join(self.path(name));
            gone &= fs::remove_dir(&folder).is_ok() || !folder.exists();
        }
        gone
    }

    /// Tries again to remove what was in use before.
    fn forget_stale(&self) {
        let mut stale = self.stale.lock().unwrap_or_else(PoisonError::into_inner);
        stale.retain(|name| !self.remove(name));
        stale.truncate(STALE_MAX);
    }

    fn sweep(&self) {
        let trees = self.trees();
        let mut names: Vec<String> = Vec::new();
        for folder in trees.iter().map(|tree| tree.join(self.folder())) {
            let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
            let folders = entries.filter(|entry| entry.path().is_dir());
            names.extend(folders.filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                if !self.by_systemd {
                    return Some(name);
                }
                let start = format!("fanfold-{}-", self.node);
                Some(name.strip_prefix(&start)?.strip_suffix(".slice")?.to_owned())
            }));
        }
        names.sort_unstable();
        names.dedup();
        for name in names {
            self.remove(&name);
        }
        if !self.by_systemd {
            for tree in trees {
                let _ = fs::remove_dir(tree.join(self.folder()));
            }
        }
    }
}

impl Group {
    fn new(layout: &Arc<Layout>, name: String) -> Self {
        let (cpu, peak) = (OnceLock::new(), OnceLock::new());
        Self { layout: Arc::clone(layout), name, cpu, peak }
    }

    /// What the engine is told to put the container into.
    pub fn parent(&self) -> String {
        self.layout.parent(&self.name)
    }

    /// The CPU time of everything that was ever in it, in nanoseconds.
    pub fn cpu_ns(&self) -> Option<u64> {
        let is_unified = self.layout.is_unified;
        let file = match self.cpu.get() {
            Some(file) => file,
            // The engine may not have made the group yet.
            None => {
                let name = if is_unified { "cpu.stat" } else { "cpuacct.usage" };
                let controller = if is_unified { "cpu" } else { "cpuacct" };
                let file = File::open(self.layout.file(controller, &self.name, name)).ok()?;
                self.cpu.get_or_init(|| file)
            }
        };
        let text = text_of(file)?;
        if is_unified {
            return Some(field(&text, "usage_usec")?.saturating_mul(1000));
        }
        text.trim().parse().ok()
    }

    /// The memory that is in use, without files that the kernel could forget.
    pub fn memory_bytes(&self) -> Option<u64> {
        let (now, cache) = match self.layout.is_unified {
            true => ("memory.current", "inactive_file"),
            false => ("memory.usage_in_bytes", "total_inactive_file"),
        };
        let bytes: u64 = self.number("memory", now)?;
        let stat = self.read("memory", "memory.stat");
        let cache = stat.and_then(|text| field(&text, cache)).unwrap_or(0);
        Some(bytes.saturating_sub(cache))
    }

    /// The most memory with such files, since the group was made or this was last reset; `None`
    /// where the kernel does not count it.
    pub fn peak_bytes(&self) -> Option<u64> {
        match self.peak.get() {
            None => self.number("memory", self.peak_file()),
            Some(begun) => text_of(begun.as_ref()?)?.trim().parse().ok(),
        }
    }

    fn peak_file(&self) -> &'static str {
        if self.layout.is_unified { "memory.peak" } else { "memory.max_usage_in_bytes" }
    }

    /// Resets the most memory, for the next program in the same container. Where the kernel
    /// cannot, it is not told from now on.
    pub fn begin_peak(&self) {
        let begun = self.peak.get_or_init(|| {
            let path = self.layout.file("memory", &self.name, self.peak_file());
            let file = OpenOptions::new().read(true).write(true).open(path).ok()?;
            file.write_at(b"0", 0).ok().map(|_| file)
        });
        if let Some(file) = begun {
            // It has been possible before.
            let _ = file.write_at(b"0", 0);
        }
    }

    /// Whether the kernel has ended something in it for lack of memory, where it tells.
    pub fn has_killed(&self) -> bool {
        self.layout.is_unified
            && self
                .read("memory", "memory.events")
                .and_then(|text| field(&text, "oom_kill"))
                .is_some_and(|kills| kills > 0)
    }

    /// The program that the container's first process is running.
    pub fn program(&self) -> Option<PathBuf> {
        let folder = self.layout.file("cpuacct", &self.name, "");
        let within = fs::read_dir(folder).ok()?.filter_map(Result::ok);
        let pid = within
            .filter_map(|entry| fs::read_to_string(entry.path().join("cgroup.procs")).ok())
            .find_map(|text| text.lines().next().and_then(|line| line.parse::<u32>().ok()))?;
        fs::read_link(format!("/proc/{pid}/exe")).ok()
    }

    fn number(&self, controller: &str, file: &str) -> Option<u64> {
        self.read(controller, file)?.trim().parse().ok()
    }

    fn read(&self, controller: &str, file: &str) -> Option<String> {
        fs::read_to_string(self.layout.file(controller, &self.name, file)).ok()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.layout.remove(&self.name) {
            let mut stale = self.layout.stale.lock().unwrap_or_else(PoisonError::into_inner);
            stale.push(self.name.clone());
        }
    }
}

/// What is in a short file of the kernel's, which is made each time it is read.
fn text_of(file: &File) -> Option<String> {
    let mut buffer = [0; 1024];
    let count = file.read_at(&mut buffer, 0).ok()?;
    Some(String::from_utf8_lossy(&buffer[..count]).into_owned())
}

/// A number in lines of a name and a number.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(root: &Path, is_unified: bool, by_systemd: bool) -> Arc<Layout> {
        let stale = Mutex::default();
        let node = "0123abcd".to_owned();
        Arc::new(Layout { root: root.to_owned(), is_unified, by_systemd, node, stale })
    }

    fn group(layout: &Arc<Layout>) -> Group {
        Group::new(layout, "ff00".to_owned())
    }

    fn write(path: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(path).unwrap();
        for (name, text) in files {
            fs::write(path.join(name), text).unwrap();
        }
    }

    #[test]
    fn cgroup_v2_counters_are_read_below_systemd_slices() {
        let root = tempfile::tempdir().unwrap();
        let layout = layout(root.path(), true, true);
        let group = group(&layout);
        let path = "fanfold.slice/fanfold-0123abcd.slice/fanfold-0123abcd-ff00.slice";
        write(
            &root.path().join(path),
            &[
                ("cpu.stat", "usage_usec 1234\nuser_usec 1000\nsystem_usec 234\n"),
                ("memory.current", "5000\n"),
                ("memory.peak", "9000\n"),
                ("memory.stat", "anon 1\ninactive_file 2000\n"),
                ("memory.events", "low 0\noom 1\noom_kill 1\n"),
            ],
        );

        assert_eq!(group.parent(), "fanfold-0123abcd-ff00.slice");
        assert_eq!(group.cpu_ns(), Some(1_234_000));
        assert_eq!((group.memory_bytes(), group.peak_bytes()), (Some(3000), Some(9000)));
        assert!(group.has_killed());
        // The unit is no real one: nothing is to be stopped.
        std::mem::forget(group);
    }

    #[test]
    fn cgroup_v1_counters_are_read_in_their_own_trees() {
        let root = tempfile::tempdir().unwrap();
        let layout = layout(root.path(), false, false);
        for tree in ["cpuacct", "memory", "pids"] {
            fs::create_dir(root.path().join(tree)).unwrap();
        }
        layout.make("ff00").unwrap();
        let group = group(&layout);
        let path = Path::new("fanfold-0123abcd/ff00");
        write(&root.path().join("cpuacct").join(path), &[("cpuacct.usage", "77\n")]);
        let counters = [
            ("memory.usage_in_bytes", "10\n"),
            ("memory.max_usage_in_bytes", "30\n"),
            ("memory.stat", "inactive_file 1\ntotal_inactive_file 4\n"),
        ];
        write(&root.path().join("memory").join(path), &counters);

        assert_eq!(group.parent(), "/fanfold-0123abcd/ff00");
        assert_eq!(group.cpu_ns(), Some(77));
        assert_eq!((group.memory_bytes(), group.peak_bytes()), (Some(6), Some(30)));
        assert!(!group.has_killed());
    }

    #[test]
    fn cgroup_is_removed_with_its_value_and_leftovers_are_removed() {
        let root = tempfile::tempdir().unwrap();
        let layout = layout(root.path(), false, false);
        for tree in ["cpuacct", "memory"] {
            fs::create_dir(root.path().join(tree)).unwrap();
        }
        let folder = root.path().join("memory/fanfold-0123abcd/ff00");
        layout.make("ff00").unwrap();
        assert!(folder.exists());

        drop(group(&layout));
        assert!(!folder.exists());

        layout.make("ff01").unwrap();
        layout.sweep();
        assert!(!root.path().join("memory/fanfold-0123abcd").exists());
    }

    #[test]
    fn cgroup_in_use_is_removed_later() {
        let root = tempfile::tempdir().unwrap();
        let layout = layout(root.path(), true, false);
        layout.make("ff00").unwrap();
        let inside = root.path().join("fanfold-0123abcd/ff00/container");
        fs::create_dir(&inside).unwrap();

        drop(group(&layout));
        assert!(inside.exists());
        fs::remove_dir(&inside).unwrap();
        layout.forget_stale();

        assert!(!root.path().join("fanfold-0123abcd/ff00").exists());
    }
}
