//! The identity of a server or a node: an ed25519 key in a file that only its owner can read.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use libp2p::identity::Keypair;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is there and holds no key that can be read.
    #[error("the file holds no key that can be read")]
    Damaged,
    #[error("the key file cannot be read or written")]
    Io(#[from] io::Error),
}

/// Reads the key, or makes it where there is none. A file that is there and cannot be read is an
/// error: with a new key the others would not know this one any more.
pub fn load_or_make(path: &Path) -> Result<Keypair, Error> {
    match fs::read(path) {
        Ok(bytes) => Keypair::from_protobuf_encoding(&bytes).map_err(|_| Error::Damaged),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(path),
        Err(error) => Err(error.into()),
    }
}

/// Writes a new key beside its place and links it there: a kill at any instant leaves a whole key
/// or none, and of two processes that start at once both use the key of the first.
fn make(path: &Path) -> Result<Keypair, Error> {
    let key = Keypair::generate_ed25519();
    let bytes = key.to_protobuf_encoding().expect("an ed25519 key always encodes");
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = folder.join(name);

    let _ = fs::remove_file(&beside);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    let linked = fs::hard_link(&beside, path);
    fs::remove_file(&beside)?;
    fs::File::open(folder)?.sync_all()?;
    match linked {
        Ok(()) => Ok(key),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => load_or_make(path),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn key_is_made_once_and_readable_by_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/identity.key");

        let first = load_or_make(&path).unwrap();
        let second = load_or_make(&path).unwrap();

        assert_eq!(first.public(), second.public());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn damaged_key_is_an_error_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity.key");
        fs::write(&path, b"damaged").unwrap();

        assert!(matches!(load_or_make(&path), Err(Error::Damaged)));
        assert_eq!(fs::read(&path).unwrap(), b"damaged");
    }
}
