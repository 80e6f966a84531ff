//! The server's own keys: random bytes in files that only their owner can read.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::durable;
use crate::secrets::seal::{MasterKey, Sealer};

/// The file of the master keys.
pub const MASTER_KEYS: &str = "master.keys";

/// What the server signs and seals with.
pub struct Keys {
    /// Seals secrets.
    pub master: MasterKeys,
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
            master: MasterKeys::load_or_make(folder)?,
            token: load_or_make(&folder.join("token.key"))?,
            link: load_or_make(&folder.join("link.key"))?,
        })
    }
}

/// The keys that secrets lie under: one, and while it is being changed an old one.
///
/// In the file each is a line: its number, and its bytes in hex. The first is the newest.
pub struct MasterKeys {
    path: PathBuf,
    current: MasterKey,
    old: Vec<MasterKey>,
}

impl MasterKeys {
    pub fn load_or_make(folder: &Path) -> io::Result<Self> {
        let path = folder.join(MASTER_KEYS);
        match fs::read_to_string(&path) {
            Ok(text) => Self::read(&path, &text).ok_or_else(|| {
                damaged(&path, "each line must be a key's number and its 32 bytes in hex")
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let current = MasterKey { id: 1, bytes: rand::random() };
                let made = Self { path, current, old: Vec::new() };
                made.write()?;
                Ok(made)
            }
            Err(error) => Err(error),
        }
    }

    fn read(path: &Path, text: &str) -> Option<Self> {
        let key = |line: &str| {
            let (id, bytes) = line.split_once(' ')?;
            let bytes = hex::decode(bytes).ok()?.try_into().ok()?;
            Some(MasterKey { id: id.parse().ok()?, bytes })
        };
        let mut keys = text.lines().map(key).collect::<Option<Vec<_>>>()?.into_iter();
        Some(Self { path: path.to_owned(), current: keys.next()?, old: keys.collect() })
    }

    pub fn sealer(&self) -> Sealer {
        Sealer::new(&self.current, &self.old)
    }

    /// Puts a new key before the others, unless a change is under way already.
    pub fn begin_change(&mut self) -> io::Result<()> {
        if !self.old.is_empty() {
            return Ok(());
        }
        let new = MasterKey { id: self.current.id + 1, bytes: rand::random() };
        let old = std::mem::replace(&mut self.current, new);
        self.old.push(old);
        self.write()
    }

    /// Forgets the old keys: nothing may lie under them any more.
    pub fn end_change(&mut self) -> io::Result<()> {
        self.old.clear();
        self.write()
    }

    fn write(&self) -> io::Result<()> {
        let line = |key: &MasterKey| format!("{} {}\n", key.id, hex::encode(key.bytes));
        let text: String = std::iter::once(&self.current).chain(&self.old).map(line).collect();
        durable::write(&self.path, text.as_bytes())
    }
}

/// A key that is there but cannot be read is an error: a new one would make what it protects
/// unreadable. What is sealed next must not outlive its key.
fn load_or_make(path: &Path) -> io::Result<[u8; 32]> {
    match fs::read(path) {
        Ok(bytes) => bytes.try_into().map_err(|_| damaged(path, "it must hold 32 bytes")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key: [u8; 32] = rand::random();
            durable::write(path, &key)?;
            Ok(key)
        }
        Err(error) => Err(error),
    }
}

fn damaged(path: &Path, how: &str) -> io::Error {
    let text = format!("{} is damaged: {how}", path.display());
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn master_keys_stay_the_same_and_damaged_ones_are_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let first = Keys::load_or_make(folder.path()).unwrap();

        let again = Keys::load_or_make(folder.path()).unwrap();
        assert!(again.token == first.token && again.master.current == first.master.current);

        for (name, text) in [("master.keys", "1 short"), ("master.keys", ""), ("token.key", "x")] {
            fs::write(folder.path().join(name), text).unwrap();
            assert!(Keys::load_or_make(folder.path()).is_err());
        }
    }

    #[test]
    fn master_key_rotation_begins_once_and_survives_a_crash() {
        let folder = tempfile::tempdir().unwrap();
        let load = || MasterKeys::load_or_make(folder.path()).unwrap();
        let first = load().current;
        load().begin_change().unwrap();

        let mut again = load();
        let second = again.current.clone();
        again.begin_change().unwrap();

        assert!(again.current == second && again.old == [first] && second.id == 2);
        again.end_change().unwrap();
        assert!(load().current == second && load().old.is_empty());
    }
}
