//! Paths of containers and packages, checked: no `..`, no empty part, no NUL.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The most bytes of a path.
pub const PATH_BYTES_MAX: usize = 4095;

/// Folders that the engine fills itself. Nothing is mounted at, below or above them.
pub const SYSTEM_DIRS: [&str; 3] = ["/proc", "/sys", "/dev"];
/// Files that the engine writes into each container.
pub const ENGINE_FILES: [&str; 3] = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];
/// The scratch folder: in memory, for each container, and never a mount.
pub const TMP: &str = "/tmp";

/// A text that is no path of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a plain path")]
pub struct InvalidPath;

/// An absolute path inside a container, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerPath(String);

impl ContainerPath {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path of something below this one.
    #[must_use]
    pub fn join(&self, path: &RelativePath) -> Self {
        Self(format!("{}/{}", self.0, path.0))
    }

    /// Whether this is the path itself or lies below it.
    pub fn is_within(&self, path: &str) -> bool {
        is_within(&self.0, path)
    }

    /// Whether something can be mounted here: the path hides nothing that a container needs, and
    /// is not part of what an engine fills.
    pub fn is_mountable(&self) -> bool {
        let is_engines = SYSTEM_DIRS.into_iter().chain(ENGINE_FILES).any(|dir| self.is_within(dir));
        let hides = |path: &str| is_within(path, &self.0);
        !is_engines && !SYSTEM_DIRS.into_iter().chain(ENGINE_FILES).chain([TMP]).any(hides)
    }
}

/// Whether an absolute path is `dir` or lies below it.
pub fn is_within(path: &str, dir: &str) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A path below a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RelativePath(String);

impl RelativePath {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands behind the last dot of the file's name.
    pub fn suffix(&self) -> Option<&str> {
        let name = self.0.rsplit('/').next()?;
        let (stem, suffix) = name.rsplit_once('.')?;
        (!stem.is_empty()).then_some(suffix)
    }
}

fn is_plain(path: &str) -> bool {
    path.len() < PATH_BYTES_MAX
        && !path.contains('\0')
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

impl TryFrom<String> for ContainerPath {
    type Error = InvalidPath;

    fn try_from(path: String) -> Result<Self, InvalidPath> {
        let is_fine = path.strip_prefix('/').is_some_and(is_plain);
        if is_fine { Ok(Self(path)) } else { Err(InvalidPath) }
    }
}

impl TryFrom<String> for RelativePath {
    type Error = InvalidPath;

    fn try_from(path: String) -> Result<Self, InvalidPath> {
        if is_plain(&path) { Ok(Self(path)) } else { Err(InvalidPath) }
    }
}

impl FromStr for ContainerPath {
    type Err = InvalidPath;

    fn from_str(path: &str) -> Result<Self, InvalidPath> {
        path.to_owned().try_into()
    }
}

impl FromStr for RelativePath {
    type Err = InvalidPath;

    fn from_str(path: &str) -> Result<Self, InvalidPath> {
        path.to_owned().try_into()
    }
}

impl From<ContainerPath> for String {
    fn from(path: ContainerPath) -> Self {
        path.0
    }
}

impl From<RelativePath> for String {
    fn from(path: RelativePath) -> Self {
        path.0
    }
}

impl fmt::Display for ContainerPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_of_a_container_is_absolute_and_plain() {
        for path in ["/a", "/opt/x y/ä.txt", "/a/.hidden", "/..."] {
            assert_eq!(path.parse::<ContainerPath>().unwrap().as_str(), path);
        }
        let long = format!("/{}", "x".repeat(PATH_BYTES_MAX));
        for path in ["", "/", "a", "//a", "/a/", "/a//b", "/a/.", "/a/../b", "/a\0", &long] {
            assert_eq!(path.parse::<ContainerPath>(), Err(InvalidPath), "{path}");
        }
    }

    #[test]
    fn path_below_a_folder_does_not_leave_it() {
        for path in ["a", "a/b.py", ".hidden"] {
            assert_eq!(path.parse::<RelativePath>().unwrap().as_str(), path);
        }
        for path in ["", "/a", "..", "../a", "a/../../b", "a/", ".", "a\0b"] {
            assert_eq!(path.parse::<RelativePath>(), Err(InvalidPath), "{path}");
        }
    }

    #[test]
    fn path_has_the_suffix_of_its_file() {
        for (path, suffix) in
            [("main.py", Some("py")), ("a.b/run", None), (".py", None), ("a/b.tar.sh", Some("sh"))]
        {
            assert_eq!(path.parse::<RelativePath>().unwrap().suffix(), suffix, "{path}");
        }
    }

    #[test]
    fn path_of_the_engine_is_not_mountable() {
        for path in ["/proc", "/proc/x", "/sys/fs", "/dev/shm", "/etc", "/etc/hosts", "/tmp"] {
            assert!(!path.parse::<ContainerPath>().unwrap().is_mountable(), "{path}");
        }
        for path in ["/opt/x", "/process", "/tmp/x", "/etc/own", "/home"] {
            assert!(path.parse::<ContainerPath>().unwrap().is_mountable(), "{path}");
        }
    }
}
