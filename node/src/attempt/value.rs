//! The value of a task: the text of one file that its containers may write.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use common::compute::container::ContainerSpec;
use common::protocol::{Failure, VALUE_BYTES_MAX};
use rustix::fs::OFlags;

use super::stopped::Stopped;
use crate::runtime::launch::Folders;

/// Where a task writes its value; `None` where it gives none.
pub(super) fn file(spec: &ContainerSpec, folders: Folders<'_>) -> Option<PathBuf> {
    let (folder, name) = spec.value_file()?;
    Some(folders.shared_dir(folder).join(name))
}

/// Reads the value; `None` where there is none. What is written there is a stranger's: it is opened
/// only where it is a plain file.
pub(super) fn read(path: Option<&Path>) -> Result<Option<String>, Stopped> {
    let Some(path) = path else { return Ok(None) };
    let open = OpenOptions::new()
        .read(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(path);
    let file = match open {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(_) => return Err(refused("is no file that can be read")),
    };
    if !file.metadata()?.is_file() {
        return Err(refused("is no plain file"));
    }
    let mut bytes = Vec::new();
    file.take(VALUE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > VALUE_BYTES_MAX {
        return Err(refused(&format!("has more than {VALUE_BYTES_MAX} bytes")));
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

fn refused(what: &str) -> Stopped {
    let message = format!("the file for the value of the task {what}");
    Stopped::Failed { failure: Failure::Results, message }
}

#[cfg(test)]
mod tests {
    use common::compute::container::{ContainerPath, Parts};

    use super::*;
    use crate::testing;

    fn spec() -> ContainerSpec {
        let path = |text: &str| text.parse::<ContainerPath>().unwrap();
        let shared = vec![path("/other"), path("/give")];
        ContainerSpec::new(Parts { shared, value: Some(path("/give/it")), ..testing::parts() })
            .unwrap()
    }

    fn read_from(dir: &Path) -> Result<Option<String>, Stopped> {
        let folders =
            Folders { app: None, inputs: dir, results: dir, files: dir, shared: dir, caches: None };
        read(file(&spec(), folders).as_deref())
    }

    #[test]
    fn value_is_the_text_of_a_plain_file_of_limited_size() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("1");
        std::fs::create_dir(&folder).unwrap();
        let file = folder.join("it");
        assert!(matches!(read_from(dir.path()), Ok(None)));

        std::fs::write(&file, b"one\ntwo \xff").unwrap();
        assert_eq!(read_from(dir.path()).ok().flatten().as_deref(), Some("one\ntwo \u{fffd}"));
        std::fs::write(&file, vec![b'x'; VALUE_BYTES_MAX + 1]).unwrap();
        assert!(read_from(dir.path()).is_err());
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
        assert!(read_from(dir.path()).is_err());
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        assert!(read_from(dir.path()).is_err());
    }
}
