//! What the nodes of one machine offer, so that none offers what another does.
//!
//! Each running node holds a locked file in a folder of the machine; the lock ends with its
//! process, however that ends.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use common::compute::resources::Resources;
use common::digest::Digest;

/// Where root's nodes tell each other.
const OF_ROOT: &str = "/run/fanfold";
/// The suffix of a node's file.
const OFFER: &str = "offer";

/// A node's place among those of its machine; given up when it is dropped.
#[derive(Debug)]
pub struct Offer {
    capacity: Resources,
    others: Others,
    _held: File,
}

/// What the other nodes of this machine offer together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Others {
    pub nodes: usize,
    pub capacity: Resources,
}

/// The node cannot offer anything.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{} cannot be used: name another with --runtime-dir", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "{nodes} other nodes on this machine offer all of it already: start them with less \
         (--cpus, --memory), or say with both what this one offers"
    )]
    NothingLeft { nodes: usize },
}

/// What a node wants to offer.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    /// What its owner says.
    pub cpu_millis: Option<u32>,
    pub memory_mib: Option<u32>,
    /// Nodes of one owner that all offer the same CPUs, which the kernel shares out among them.
    pub cpu_sharers: u16,
    /// What there is for it where its owner says nothing.
    pub machine: Resources,
}

impl Offer {
    /// Takes a place for the node of this folder. What its owner does not say is what the others
    /// leave.
    pub fn take(runtime_dir: &Path, data_dir: &Path, wish: Wish) -> Result<Self, Error> {
        let failed = |source| Error::Io { path: runtime_dir.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(runtime_dir).map_err(failed)?;
        // One node after the other looks and takes its place.
        let turn = open(&runtime_dir.join("lock")).map_err(failed)?;
        turn.lock().map_err(failed)?;
        let others = others(runtime_dir).map_err(failed)?;
        let capacity = wish.beside(others)?;
        let name = Digest::of(data_dir.as_os_str().as_encoded_bytes()).to_string();
        let mut held = open(&runtime_dir.join(name).with_extension(OFFER)).map_err(failed)?;
        // The folder's own lock lets one node run in it, so nobody else has this file for long.
        held.lock().map_err(failed)?;
        let cpu_millis = capacity.cpu_millis / u32::from(wish.cpu_sharers.max(1));
        write(&mut held, Resources::new(cpu_millis, capacity.memory_mib)).map_err(failed)?;
        Ok(Self { capacity, others, _held: held })
    }

    pub const fn capacity(&self) -> Resources {
        self.capacity
    }

    /// The others, where they and this node offer more than there is.
    pub fn conflict(&self, machine: Resources) -> Option<Others> {
        let together = self.others.capacity.plus(self.capacity);
        (self.others.nodes > 0 && !together.fits_in(machine)).then_some(self.others)
    }
}

impl Wish {
    fn beside(self, others: Others) -> Result<Resources, Error> {
        let left = |all: u32, taken: u32| {
            Some(all.saturating_sub(taken))
                .filter(|left| *left > 0)
                .ok_or(Error::NothingLeft { nodes: others.nodes })
        };
        let cpu_millis = match self.cpu_millis {
            Some(cpu_millis) => cpu_millis,
            None => left(self.machine.cpu_millis, others.capacity.cpu_millis)?,
        };
        let memory_mib = match self.memory_mib {
            Some(memory_mib) => memory_mib,
            None => left(self.machine.memory_mib, others.capacity.memory_mib)?,
        };
        Ok(Resources::new(cpu_millis, memory_mib))
    }
}

/// Where the nodes of this user tell each other what they offer.
pub fn runtime_dir() -> PathBuf {
    let user = rustix::process::geteuid();
    if user.is_root() {
        return OF_ROOT.into();
    }
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path).join("fanfold"),
        None => std::env::temp_dir().join(format!("fanfold-{}", user.as_raw())),
    }
}

fn others(runtime_dir: &Path) -> io::Result<Others> {
    let mut others = Others::default();
    for entry in fs::read_dir(runtime_dir)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != OFFER) {
            continue;
        }
        let mut file = open(&path)?;
        match file.try_lock() {
            // Its node has ended.
            Ok(()) => fs::remove_file(&path)?,
            Err(TryLockError::WouldBlock) => {
                others.nodes += 1;
                others.capacity = others.capacity.plus(read(&mut file)?);
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(others)
}

fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).open(path)
}

fn write(file: &mut File, capacity: Resources) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "{} {}", capacity.cpu_millis, capacity.memory_mib)
}

/// What a node offers; nothing where it has not said it whole.
fn read(file: &mut File) -> io::Result<Resources> {
    let mut text = String::new();
    file.take(64).read_to_string(&mut text)?;
    let number = |text: Option<&str>| text.and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut words = text.split_whitespace();
    Ok(Resources::new(number(words.next()), number(words.next())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: Resources = Resources::new(4000, 8000);

    fn wish(cpu_millis: Option<u32>, memory_mib: Option<u32>) -> Wish {
        Wish { cpu_millis, memory_mib, cpu_sharers: 1, machine: MACHINE }
    }

    #[test]
    fn offers_of_two_nodes_never_exceed_the_machine() {
        let dir = tempfile::tempdir().unwrap();
        let take = |name: &str, wish| Offer::take(dir.path(), Path::new(name), wish);

        let first = take("a", wish(Some(1000), Some(3000))).unwrap();
        let second = take("b", wish(None, None)).unwrap();

        assert_eq!(second.capacity(), Resources::new(3000, 5000));
        assert_eq!((first.conflict(MACHINE), second.conflict(MACHINE)), (None, None));
        let refused = take("c", wish(None, Some(1))).unwrap_err();
        assert!(matches!(refused, Error::NothingLeft { nodes: 2 }), "{refused}");
        // What its owner says is done, and told.
        let third = take("c", wish(Some(1000), Some(1000))).unwrap();
        assert_eq!(third.conflict(MACHINE).map(|others| others.nodes), Some(2));
    }

    #[test]
    fn offer_ends_with_its_node() {
        let dir = tempfile::tempdir().unwrap();
        let take = |name: &str| Offer::take(dir.path(), Path::new(name), wish(None, None));
        let first = take("a").unwrap();
        assert!(take("b").is_err());

        drop(first);

        assert_eq!(take("b").unwrap().capacity(), MACHINE);
    }
}
