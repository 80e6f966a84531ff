//! The server's own keys: random bytes in files that only their owner can read.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// What the server signs and seals with.
pub struct Keys {
    /// Seals secrets.
    pub master: [u8; 32],
    /// Signs access tokens.
    pub token: [u8; 32],
    /// Signs links to the bucket.
    pub link: [u8; 32],
}

impl Keys {
    /// Reads the keys from the folder; makes those that are missing.
    pub fn load_or_make(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self {
            master: load_or_make(&folder.join("master.key"))?,
            token: load_or_make(&folder.join("token.key"))?,
            link: load_or_make(&folder.join("link.key"))?,
        })
    }
}

/// A key that is there but cannot be read is an error: a new one would make what it protects
/// unreadable.
fn load_or_make(path: &Path) -> io::Result<[u8; 32]> {
    match fs::read(path) {
        Ok(bytes) => bytes.try_into().map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{} is damaged: it must hold 32 bytes", path.display()),
            )
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(path),
        Err(error) => Err(error),
    }
}

fn make(path: &Path) -> io::Result<[u8; 32]> {
    let key: [u8; 32] = rand::random();
    let part = path.with_extension("part");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    file.write_all(&key)?;
    file.sync_all()?;
    fs::rename(&part, path)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_the_same_and_damaged_ones_are_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let first = Keys::load_or_make(folder.path()).unwrap();

        assert_eq!(Keys::load_or_make(folder.path()).unwrap().master, first.master);

        fs::write(folder.path().join("master.key"), "short").unwrap();
        assert!(Keys::load_or_make(folder.path()).is_err());
    }
}
