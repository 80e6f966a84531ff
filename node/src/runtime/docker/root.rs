//! A container's own root that can be written to, as it lies on the machine: whether it is what it
//! was when its container was started.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use bollard::query_parameters::InspectContainerOptions;

use super::{Docker, Error, Made, engine};
use crate::files::look::Look;

/// What is emptied after each task: it may be newer, but not otherwise different. The supervisor uses
/// no container again whose image has files there.
const EMPTIED: &str = "tmp";
/// With more of its own, a container is not looked through after each task.
const ENTRIES_MAX: usize = 1000;

/// The layer of one container alone, in which everything is that it has changed of its image.
#[derive(Debug)]
pub struct Root {
    layer: PathBuf,
    entries: BTreeMap<PathBuf, Entry>,
}

/// A file or a folder of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    /// With the time of its last change, which nobody can set.
    As { look: Look, changed: (i64, i64) },
    /// A folder that is emptied.
    Emptied(Look),
}

impl Docker {
    /// The root of a container that has been started and in which no task has run; `None` where
    /// the engine does not keep it so that this node can look into it.
    pub async fn root(&self, made: &Made) -> Result<Option<Root>, Error> {
        let found = self.client.inspect_container(&made.id, None::<InspectContainerOptions>).await;
        let driver = found.map_err(engine("describe a container"))?.graph_driver;
        let layer = driver.and_then(|driver| driver.data.get("UpperDir").map(PathBuf::from));
        let Some(layer) = layer.filter(|layer| layer.is_dir()) else { return Ok(None) };
        Ok(Some(Root { entries: entries(&layer)?, layer }))
    }
}

impl Root {
    /// # Errors
    /// It is not as it was, or cannot be looked through.
    pub fn check(&self) -> io::Result<()> {
        let same = entries(&self.layer)? == self.entries;
        if same { Ok(()) } else { Err(io::Error::other("the task has changed its root")) }
    }
}

impl Entry {
    fn of(path: &Path) -> io::Result<Self> {
        let meta = fs::symlink_metadata(path)?;
        Ok(Self::As { look: Look::of(path)?, changed: (meta.ctime(), meta.ctime_nsec()) })
    }
}

fn entries(layer: &Path) -> io::Result<BTreeMap<PathBuf, Entry>> {
    let mut entries = BTreeMap::from([(PathBuf::new(), Entry::of(layer)?)]);
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for found in fs::read_dir(layer.join(&folder))? {
            let name = folder.join(found?.file_name());
            let path = layer.join(&name);
            let meta = fs::symlink_metadata(&path)?;
            if folder == Path::new(EMPTIED) && is_removed(&meta) {
                continue;
            }
            let entry = match name == Path::new(EMPTIED) && meta.is_dir() {
                true => Entry::Emptied(Look::of(&path)?),
                false => Entry::of(&path)?,
            };
            if meta.is_dir() {
                folders.push(name.clone());
            }
            entries.insert(name, entry);
            if entries.len() > ENTRIES_MAX {
                return Err(io::Error::other("the container has too many files of its own"));
            }
        }
    }
    Ok(entries)
}

/// Some engines keep that a name was removed even where the image has none of that name.
fn is_removed(meta: &fs::Metadata) -> bool {
    meta.file_type().is_char_device() && meta.rdev() == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(layer: &Path) -> Root {
        Root { layer: layer.to_owned(), entries: entries(layer).unwrap() }
    }

    #[test]
    fn root_is_as_it_was_while_only_what_is_emptied_was_used() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("tmp")).unwrap();
        fs::create_dir_all(at("fanfold/results")).unwrap();
        let root = root(dir.path());

        fs::write(at("tmp/x"), "x").unwrap();
        assert!(root.check().is_err());
        fs::remove_file(at("tmp/x")).unwrap();

        root.check().unwrap();
    }

    #[test]
    fn root_with_anything_else_changed_is_not_as_it_was() {
        let changes: [fn(&Path) -> io::Result<()>; 6] = [
            |top| fs::write(top.join("planted"), "x"),
            |top| fs::create_dir(top.join("fanfold/planted")),
            |top| fs::write(top.join("kept"), "y"),
            |top| fs::remove_file(top.join("kept")),
            |top| {
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
                fs::set_permissions(top, mode)
            },
            |top| {
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o711);
                fs::set_permissions(top.join("tmp"), mode)
            },
        ];
        for change in changes {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir_all(dir.path().join("tmp")).unwrap();
            fs::create_dir_all(dir.path().join("fanfold")).unwrap();
            fs::write(dir.path().join("kept"), "x").unwrap();
            let root = root(dir.path());
            root.check().unwrap();

            change(dir.path()).unwrap();

            assert!(root.check().is_err());
        }
    }
}
