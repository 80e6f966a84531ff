//! What a folder itself is like, beside what is in it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The most bytes of the names of a folder's attributes that are looked at.
const NAMES_BYTES_MAX: usize = 4096;

/// What somebody who has a folder could change of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// A folder of the same name in its place is another one.
    inode: (u64, u64),
    mode: u32,
    owner: (u32, u32),
    /// Folders count in their parent.
    links: u64,
    attributes: Vec<u8>,
}

impl Look {
    pub fn of(folder: &Path) -> io::Result<Self> {
        let meta = fs::symlink_metadata(folder)?;
        let mut names = [0u8; NAMES_BYTES_MAX];
        let attributes = match rustix::fs::llistxattr(folder, &mut names) {
            Ok(count) => names[..count].to_vec(),
            // A file system without them.
            Err(rustix::io::Errno::NOTSUP) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            inode: (meta.dev(), meta.ino()),
            mode: meta.mode(),
            owner: (meta.uid(), meta.gid()),
            links: meta.nlink(),
            attributes,
        })
    }
}
